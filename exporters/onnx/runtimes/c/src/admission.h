/* Who may be scored: signals of the model, tap and profile the guard was fitted on. */
#ifndef SRI_ADMISSION_H
#define SRI_ADMISSION_H

#include "fail.h"
#include "json.h"
#include "manifest.h"

enum { SOFT_FIELDS = 5 };
static const char *const SOFT[SOFT_FIELDS] = {"dtype", "adapter", "torch", "transformers", "system_prompt"};

/* The raw text of a value, for messages; long ones are cut. */
static int shown(const struct json *doc, uint32_t node, const char **text) {
    if (!node) {
        *text = "nothing";
        return 7;
    }
    const struct json_node *n = &doc->nodes[node];
    uint32_t length = n->end - n->start;
    *text = doc->text + n->start;
    return (int)(n->kind == JSON_TEXT && length == 64 ? 12 : length > 120 ? 120 : length);
}

/* Beside `hard` and `soft`, a fingerprint may say with which anchors, tau, eps and request map the signals were made.
 */
static int check_made_with(const struct manifest *m, const struct json *given, sri_error *error) {
    static const char *const names[] = {"anchors", "tau", "eps", "request_map"};
    uint32_t anchors = json_get(&m->json, 0, "anchors");
    for (size_t i = 0; i < (m->sizes.prompt ? 4 : 3); i++) {
        const char *left, *right;
        uint32_t found = json_get(given, 0, names[i]), own = json_get(&m->json, 0, names[i]);
        if (i == 0) own = json_get(&m->json, anchors, "sha256");
        if (i == 3) own = json_get(&m->json, json_get(&m->json, anchors, "request"), "sha256");
        if (!found || json_same(given, found, &m->json, own)) continue;
        int one = shown(given, found, &left), two = shown(&m->json, own, &right);
        return fail(error,
                    "signals: made with %s %.*s, the guard was calibrated with %.*s. Compute the signals again with "
                    "the guard's own anchors and settings.",
                    names[i], one, left, two, right);
    }
    return SRI_OK;
}

/* Hard fields must be equal; soft ones must be equal or accepted by name. */
static int check_fields(const struct manifest *m, const struct json *given, const sri_options *options,
                        unsigned *accepted, sri_error *error) {
    static const char *const parts[] = {"hard", "soft"};
    uint32_t print = json_get(&m->json, 0, "fingerprint");
    for (int soft = 0; soft < 2; soft++) {
        uint32_t own = json_get(&m->json, print, parts[soft]), other = json_get(given, 0, parts[soft]);
        for (uint32_t at = own + 1; at < m->json.nodes[own].next; at = m->json.nodes[at + 1].next) {
            const char *name, *left, *right;
            uint32_t found = json_find(given, other, &m->json, at);
            if (found && json_same(given, found, &m->json, at + 1)) continue;
            unsigned bit = 0;
            for (unsigned i = 0; i < SOFT_FIELDS && soft; i++)
                if (json_is(&m->json, at, SOFT[i])) bit = 1u << i;
            for (size_t i = 0; i < options->accept_count; i++)
                if (bit && json_is(&m->json, at, options->accept[i])) *accepted |= bit;
            if (*accepted & bit) continue;
            int own_name = shown(&m->json, at, &name);
            int one = shown(given, found, &left), two = shown(&m->json, at + 1, &right);
            return fail(error, "signals: %.*s is %.*s, the guard was fitted on %.*s. %s", own_name, name, one, left,
                        two, right,
                        bit ? "If that is intended, accept it by name."
                            : "Anchors and thresholds do not carry over; use the "
                              "guard of this model and profile.");
        }
    }
    return SRI_OK;
}

static int admit(const struct manifest *m, const sri_options *options, unsigned *accepted, sri_error *error) {
    *accepted = 0;
    for (size_t i = 0; i < options->accept_count; i++) {
        bool known = false;
        for (int k = 0; k < SOFT_FIELDS; k++) known = known || !strcmp(options->accept[i], SOFT[k]);
        if (!known)
            return fail(error,
                        "accept: %s is not a soft field; allowed: dtype, adapter, torch, transformers, system_prompt. "
                        "Hard fields cannot be accepted: fit a guard for that model.",
                        options->accept[i]);
    }
    if (!options->fingerprint) {
        *accepted = SRI_UNVERIFIED;
        return options->unverified
                   ? SRI_OK
                   : fail(error, "signals: no fingerprint says what made them, so they may belong to "
                                 "another model. Give one, or score them at your own risk as unverified.");
    }
    struct json given;
    bool read = json_read(&given, options->fingerprint, strlen(options->fingerprint), true);
    int refused = SRI_OK;
    if (!read || given.nodes[0].kind != JSON_OBJECT || given.nodes[json_get(&given, 0, "hard")].kind != JSON_OBJECT ||
        given.nodes[json_get(&given, 0, "soft")].kind != JSON_OBJECT || !json_get(&given, 0, "hard") ||
        !json_get(&given, 0, "soft"))
        refused = fail(error, "fingerprint: expected an object with `hard` and `soft`. Compute the signals again.");
    if (!refused) refused = check_made_with(m, &given, error);
    if (!refused) refused = check_fields(m, &given, options, accepted, error);
    json_free(&given);
    return refused;
}

#endif
