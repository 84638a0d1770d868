/* `manifest.json`, format 1: checked against its own digest, then key by key. Unknown keys are another format. */
#ifndef SRI_MANIFEST_H
#define SRI_MANIFEST_H

#include "digest.h"
#include "folder.h"
#include "graphs.h"
#include "listing.h"
#include "other_parts.h"
#include "reader.h"

struct rule {
    double value;  /* flagged when score > value */
    float *scores; /* [n] calibration scores, smallest first */
    size_t n;
};

struct manifest {
    char *text; /* all of manifest.json; `json` points into it */
    struct json json;
    char digest[65];
    struct sizes sizes;
    bool logit;           /* the domain; false = sigma */
    float low, high;      /* a cell must lie between them */
    struct rule rules[2]; /* by enum sri_rule */
    struct golden golden[GRAPHS];
    const sri_file *graphs[GRAPHS]; /* in the caller's files */
    int64_t budget, grid_cells;     /* of a grid that counts steps, else 0 */
};

/* -- the parts -------------------------------------------------------------------------------------------- */

static void read_signal(struct reader *r, struct manifest *m) {
    uint32_t signal = value_of(r, 0, "", "signal", JSON_OBJECT);
    exactly(r, signal, "signal", "cells domain hidden_size high layers low");
    m->sizes = (struct sizes){
        .cells = whole_of(r, value_of(r, signal, "signal", "cells", JSON_NUMBER), "signal.cells", MOST_CELLS),
        .layers = whole_of(r, value_of(r, signal, "signal", "layers", JSON_NUMBER), "signal.layers", MOST_LAYERS),
        .width = whole_of(r, value_of(r, signal, "signal", "hidden_size", JSON_NUMBER), "signal.hidden_size", WIDEST),
    };
    check(r, m->sizes.cells && m->sizes.layers && m->sizes.width, "signal", "no cells, layers or width");
    double low = number_of(r, signal, "signal", "low"), high = number_of(r, signal, "signal", "high");
    check(r, low < high, "signal", "an empty range");
    uint32_t domain = value_of(r, signal, "signal", "domain", JSON_TEXT);
    if (r->refused) return;
    check(r, json_is(r->json, domain, "sigma") || json_is(r->json, domain, "logit"), "signal.domain",
          "neither sigma nor logit");
    m->low = narrowed(low);
    m->high = narrowed(high);
    m->logit = json_is(r->json, domain, "logit");
}

static void read_grid(struct reader *r, struct manifest *m) {
    uint32_t grid = value_of(r, 0, "", "grid", JSON_ANY);
    uint32_t mapping = r->refused ? 0 : json_get(r->json, grid, "mapping");
    if (!mapping || !json_is(r->json, mapping, "step")) return;
    m->budget = (int64_t)whole_of(r, value_of(r, grid, "grid", "budget", JSON_NUMBER), "grid.budget", INT32_MAX);
    m->grid_cells = (int64_t)whole_of(r, value_of(r, grid, "grid", "cells", JSON_NUMBER), "grid.cells", INT32_MAX);
    check(r, m->budget && m->grid_cells, "grid", "no steps, or no cells");
}

static void check_share(struct reader *r, uint32_t object, const char *where, const char *key) {
    double value = number_of(r, object, where, key);
    check(r, value > 0 && value < 1, where, "a share that is not between 0 and 1");
}

static void read_rule(struct reader *r, const char *name, struct rule *rule) {
    char where[32];
    snprintf(where, sizeof where, "rules.%s", name);
    uint32_t entry = value_of(r, value_of(r, 0, "", "rules", JSON_OBJECT), "rules", name, JSON_OBJECT);
    exactly(r, entry, where, "alpha delta n rank scores tolerance value");
    uint32_t delta = value_of(r, entry, where, "delta", JSON_NUMBER | JSON_NULL);
    if (!r->refused && r->json->nodes[delta].kind == JSON_NUMBER) check_share(r, entry, where, "delta");
    check_share(r, entry, where, "alpha");
    check(r, number_of(r, entry, where, "tolerance") >= 0, where, "a tolerance below 0");
    rule->value = number_of(r, entry, where, "value");
    check(r, rule->value < 3e38, where, "a threshold above invalid_score");
    rule->n = rows_of(r, value_of(r, entry, where, "scores", JSON_OBJECT), where, MOST_NUMBERS);
    size_t n = whole_of(r, value_of(r, entry, where, "n", JSON_NUMBER), where, MOST_NUMBERS);
    size_t rank = whole_of(r, value_of(r, entry, where, "rank", JSON_NUMBER), where, MOST_NUMBERS);
    check(r, n == rule->n && rank >= 1 && rank <= n, where, "scores are not n numbers");
    rule->scores = unpack(r, entry, where, "scores", "float32", sizeof(float), 1, &rule->n);
    for (size_t i = 0; !r->refused && i < rule->n;
         i++) /* A binary search in anything else would find a wrong p-value. */
        check(r, isfinite(rule->scores[i]) && (!i || rule->scores[i - 1] <= rule->scores[i]), where,
              "scores are not finite numbers in order");
}

/* -- all of it -------------------------------------------------------------------------------------------- */

static void manifest_free(struct manifest *m) {
    json_free(&m->json);
    free(m->text);
    for (int i = 0; i < 2; i++) free(m->rules[i].scores);
    for (int i = 0; i < GRAPHS; i++) golden_free(&m->golden[i]);
    memset(m, 0, sizeof *m);
}

/* Checks format and digest before anything else is believed. */
static int read_head(struct reader *r, struct manifest *m) {
    uint32_t format = json_get(r->json, 0, "format"), digest = json_get(r->json, 0, "digest");
    if (!format || !digest)
        return fail(r->error, "%s: not a bundle manifest (no format, or no digest). Export the guard again.",
                    r->source);
    const struct json_node *n = &r->json->nodes[format];
    if (n->kind != JSON_NUMBER || n->end - n->start != 1 || r->json->text[n->start] != '1')
        return fail(r->error,
                    "%s: manifest format %.*s, this reader knows 1. Export the guard again, or use a newer reader.",
                    r->source, n->end - n->start > 20 ? 20 : (int)(n->end - n->start), r->json->text + n->start);
    char own[65];
    uint32_t at = r->json->nodes[digest].start;
    if (hex_of(r->json, digest, own) && r->json->nodes[digest].end - at == 64) { /* No escapes: it is hashed as written. */
        digest_of(r->json->text, r->json->size, at, m->digest);
        if (!strcmp(m->digest, own)) return SRI_OK;
    }
    return fail(r->error, "%s: the manifest does not match its own digest. Copy the bundle again.", r->source);
}

/* Reads and checks. `files` are all files but the manifest, `MOST_FILES` at most. manifest_free in either case. */
static int manifest_read(struct manifest *m, const sri_file *own, const char *subject, const sri_file *files,
                         size_t count, sri_error *error) {
    char source[512];
    memset(m, 0, sizeof *m);
    snprintf(source, sizeof source, "%s/" MANIFEST, subject);
    if (!(m->text = malloc(own->size + 1))) return out_of_memory(error, source);
    memcpy(m->text, own->bytes, own->size);
    struct reader r = {.json = &m->json, .source = source, .error = error};
    if (!json_read(&m->json, m->text, own->size, false))
        return fail(error, "%s: not a bundle manifest (%s, at byte %zu). Export the guard again.", source,
                    m->json.problem, m->json.at);
    if (read_head(&r, m)) return SRI_REFUSED;
    exactly(&r, 0, "",
            "anchors detector digest eps files fingerprint fingerprint_digest format golden graphs grid "
            "invalid_score pooling producer rates rules sensitive signal tau");
    if (r.refused || check_files(&r, subject, files, count)) return SRI_REFUSED;
    read_rest(&r);
    read_signal(&r, m);
    read_grid(&r, m);
    exactly(&r, value_of(&r, 0, "", "rules", JSON_OBJECT), "rules", "final online");
    read_rule(&r, "final", &m->rules[SRI_FINAL]);
    read_rule(&r, "online", &m->rules[SRI_ONLINE]);
    read_graphs(&r, &m->sizes, m->golden, files, count, m->graphs);
    return r.refused ? SRI_REFUSED : SRI_OK;
}

#endif
