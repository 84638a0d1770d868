/* Signals as JSON lines, as `sri score` reads them:
 *
 *     {"sri_signals": 1, "fingerprint": {...}}                        optional first line
 *     {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}       a number per cell; a list per cell where C > 1
 *
 * The form the bundle reads, `sigma` or `logit`, must be there. `null` and NaN mean "not finite". Without `length` the
 * generation is finished.
 */
#ifndef SRI_SIGNALS_H
#define SRI_SIGNALS_H

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/fail.h"
#include "../src/json.h"

struct signals {
    size_t count, room;
    char **ids;
    float *cells; /* [count, T, C] */
    int64_t *lengths;
    char *fingerprint; /* JSON text; NULL = none */
};

static void signals_free(struct signals *s) {
    for (size_t i = 0; i < s->count; i++) free(s->ids[i]);
    free(s->ids), free(s->cells), free(s->lengths), free(s->fingerprint);
}

static bool signals_grow(struct signals *s, size_t size) {
    if (s->count < s->room) return true;
    size_t room = s->room ? 2 * s->room : 64;
    if (room > SIZE_MAX / size / sizeof(float)) return false;
    char **ids = realloc(s->ids, room * sizeof *ids);
    if (ids) s->ids = ids;
    float *cells = realloc(s->cells, room * size * sizeof *cells);
    if (cells) s->cells = cells;
    int64_t *lengths = realloc(s->lengths, room * sizeof *lengths);
    if (lengths) s->lengths = lengths;
    if (!ids || !cells || !lengths) return false;
    s->room = room;
    return true;
}

static bool signals_number(const struct json *doc, uint32_t node, float *cell) {
    if (!(doc->nodes[node].kind & (JSON_NUMBER | JSON_NULL))) return false;
    double value = doc->nodes[node].kind == JSON_NULL ? (double)NAN : json_number(doc, node);
    *cell = fabs(value) > FLT_MAX ? copysignf(INFINITY, (float)copysign(1, value)) : (float)value;
    return true;
}

/* A list of T numbers, or of T lists of C numbers. */
static bool signals_cells(const struct json *doc, uint32_t list, size_t T, size_t C, float *cells) {
    if (doc->nodes[list].kind != JSON_ARRAY || doc->nodes[list].count != T) return false;
    size_t at = 0;
    for (uint32_t node = list + 1; node < doc->nodes[list].next; node = doc->nodes[node].next) {
        if (doc->nodes[node].kind != JSON_ARRAY) {
            if (C != 1 || !signals_number(doc, node, &cells[at++])) return false;
            continue;
        }
        if (doc->nodes[node].count != C) return false;
        for (uint32_t inner = node + 1; inner < doc->nodes[node].next; inner = doc->nodes[inner].next)
            if (!signals_number(doc, inner, &cells[at++])) return false;
    }
    return true;
}

static int signals_head(struct signals *s, const struct json *doc, const char *where, sri_error *error) {
    uint32_t format = json_get(doc, 0, "sri_signals"), print = json_get(doc, 0, "fingerprint");
    if (s->count || json_number(doc, format) != 1 || doc->nodes[0].count != (print ? 2u : 1u))
        return fail(error,
                    "%s: a head {\"sri_signals\": 1, \"fingerprint\": {...}} is allowed on the first line only, with "
                    "these keys.",
                    where);
    if (!print || doc->nodes[print].kind == JSON_NULL) return SRI_OK;
    size_t size = doc->nodes[print].end - doc->nodes[print].start;
    free(s->fingerprint);
    if (!(s->fingerprint = malloc(size + 1))) return out_of_memory(error, where);
    memcpy(s->fingerprint, doc->text + doc->nodes[print].start, size);
    s->fingerprint[size] = 0;
    return SRI_OK;
}

static int signals_line(struct signals *s, const struct json *doc, const char *where, const char *domain, size_t T,
                        size_t C, sri_error *error) {
    if (doc->nodes[0].kind != JSON_OBJECT) return fail(error, "%s: not a JSON object. Write one per line.", where);
    if (json_get(doc, 0, "sri_signals")) return signals_head(s, doc, where, error);
    uint32_t id = json_get(doc, 0, "id"), list = json_get(doc, 0, domain), length = json_get(doc, 0, "length");
    uint32_t other = json_get(doc, 0, strcmp(domain, "sigma") ? "sigma" : "logit");
    if (!id || doc->nodes[id].kind != JSON_TEXT || !list || doc->nodes[0].count != 2u + (length != 0) + (other != 0))
        return fail(error, "%s: a line needs a text `id` and `%s`, which the bundle reads, and may have `length`.",
                    where, domain);
    if (!signals_grow(s, T * C)) return out_of_memory(error, where);
    if (!signals_cells(doc, list, T, C, s->cells + s->count * T * C))
        return fail(
            error,
            "%s: %s is not %zu cells of %zu numbers each, which the guard takes. Lay the signals on the guard's "
            "step grid and tapped layers.",
            where, domain, T, C);
    double filled = length ? json_number(doc, length) : (double)T;
    if (length && (!json_whole(doc, length) || !(filled >= 0 && filled <= (double)T)))
        return fail(error, "%s: length is not a whole number from 0 to %zu: the number of cells filled so far.", where,
                    T);
    s->lengths[s->count] = (int64_t)filled;
    size_t room = doc->nodes[id].end - doc->nodes[id].start + 1;
    if (!(s->ids[s->count] = malloc(room))) return out_of_memory(error, where);
    s->count++; /* Owned from here on. */
    return json_copy(doc, id, s->ids[s->count - 1], room) ? SRI_OK : fail(error, "%s: `id` is not text.", where);
}

static int compare_ids(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int signals_unique(const struct signals *s, const char *subject, sri_error *error) {
    char **sorted = malloc((s->count + 1) * sizeof *sorted);
    int refused = sorted ? SRI_OK : out_of_memory(error, subject);
    if (sorted) {
        if (s->count) memcpy(sorted, s->ids, s->count * sizeof *sorted);
        qsort(sorted, s->count, sizeof *sorted, compare_ids);
        for (size_t i = 1; i < s->count && !refused; i++)
            if (!strcmp(sorted[i - 1], sorted[i]))
                refused = fail(error, "%s: id %s is there twice.", subject, sorted[i]);
    }
    free(sorted);
    return refused;
}

/* Reads all lines; signals_free in either case. */
static int signals_read(struct signals *s, FILE *from, const char *subject, const char *domain, size_t T, size_t C,
                        sri_error *error) {
    char *line = NULL, where[600];
    size_t room = 0;
    ssize_t size;
    int refused = SRI_OK;
    *s = (struct signals){0};
    for (size_t number = 1; !refused && (size = getline(&line, &room, from)) >= 0; number++) {
        struct json doc;
        if (strspn(line, " \t\r\n") == (size_t)size) continue;
        snprintf(where, sizeof where, "%s, line %zu", subject, number);
        refused = json_read(&doc, line, (size_t)size, true) ? signals_line(s, &doc, where, domain, T, C, error)
                                                            : fail(error, "%s: not JSON (%s).", where, doc.problem);
        json_free(&doc);
    }
    free(line);
    if (!refused && !s->count) refused = fail(error, "%s: holds no signals.", subject);
    return refused ? refused : signals_unique(s, subject, error);
}

#endif
