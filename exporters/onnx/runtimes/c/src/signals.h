/* Signals as JSON lines, as `sri score` reads them:
 *
 *     {"sri_signals": 1, "fingerprint": {...}, "columns": [...]}      optional first line
 *     {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}       a number per cell; a list per cell where C > 1
 *
 * The form the bundle reads, `sigma` or `logit`, must be there. `null` and NaN mean "not finite". Without `length` the
 * generation is finished. A line may name its `group`. A byte-order mark in front is skipped; what is written twice,
 * unknown or of another kind is refused.
 */
#ifndef SRI_SIGNALS_H
#define SRI_SIGNALS_H

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "json.h"

enum {
    MOST_ROWS = 1000000,
    MOST_NUMBERS_READ = 1 << 25,
    MOST_BYTES = 1 << 30,
    LONGEST_LINE = 1 << 24,
    LONGEST_ID = 1024, /* characters */
    LONGEST_GROUP = 64,
};

struct sri_signals {
    size_t count, room;
    char **ids;
    char **groups; /* [count]; NULL = not named */
    float *cells;  /* [count, T, C] */
    int64_t *lengths;
    char *fingerprint; /* JSON text; NULL = none */
    bool first;        /* no line but blank ones was read yet */
    bool both;         /* lines hold sigma and logit */
};

void sri_signals_free(sri_signals *s) {
    if (!s) return;
    for (size_t i = 0; i < s->count; i++) free(s->ids[i]), free(s->groups[i]);
    free(s->ids), free(s->groups), free(s->cells), free(s->lengths), free(s->fingerprint);
    free(s);
}

static bool signals_grow(struct sri_signals *s, size_t size) {
    if (s->count < s->room) return true;
    size_t room = s->room ? 2 * s->room : 64;
    if (room > SIZE_MAX / size / sizeof(float)) return false;
    char **ids = realloc(s->ids, room * sizeof *ids);
    if (ids) s->ids = ids;
    char **groups = realloc(s->groups, room * sizeof *groups);
    if (groups) s->groups = groups;
    float *cells = realloc(s->cells, room * size * sizeof *cells);
    if (cells) s->cells = cells;
    int64_t *lengths = realloc(s->lengths, room * sizeof *lengths);
    if (lengths) s->lengths = lengths;
    if (!ids || !groups || !cells || !lengths) return false;
    s->room = room;
    return true;
}

static bool signals_number(const struct json *doc, uint32_t node, float *cell) {
    if (!(doc->nodes[node].kind & (JSON_NUMBER | JSON_NULL))) return false;
    double value = doc->nodes[node].kind == JSON_NULL ? (double)NAN : json_number(doc, node);
    *cell = fabs(value) > (double)FLT_MAX ? copysignf(INFINITY, (float)copysign(1, value)) : (float)value;
    return true;
}

/* A list of T numbers, or of T lists of C numbers. */
static bool signals_cells(const struct json *doc, uint32_t list, size_t T, size_t C, float *cells) {
    if (doc->nodes[list].kind != JSON_ARRAY || doc->nodes[list].count != T) return false;
    bool nested = doc->nodes[list + 1].kind == JSON_ARRAY;
    size_t at = 0;
    if (!nested && C != 1) return false;
    for (uint32_t node = list + 1; node < doc->nodes[list].next; node = doc->nodes[node].next) {
        if (!nested && !signals_number(doc, node, &cells[at++])) return false;
        if (!nested) continue;
        if (doc->nodes[node].kind != JSON_ARRAY || doc->nodes[node].count != C) return false;
        for (uint32_t inner = node + 1; inner < doc->nodes[node].next; inner = doc->nodes[inner].next)
            if (!signals_number(doc, inner, &cells[at++])) return false;
    }
    return true;
}

static bool signals_is_object(const struct json *doc, uint32_t node) {
    return node && doc->nodes[node].kind == JSON_OBJECT;
}

/* The columns that a head names must be the guard's; one that knows no names reads no request. */
static int signals_columns(const sri_guard *guard, const struct json *doc, uint32_t list, const char *where,
                           sri_error *error) {
    size_t c = 0;
    if (!list || doc->nodes[list].kind == JSON_NULL) return SRI_OK;
    bool fine = doc->nodes[list].kind == JSON_ARRAY && doc->nodes[list].count == sri_guard_columns(guard);
    for (uint32_t at = list + 1; fine && at < doc->nodes[list].next; at = doc->nodes[at].next, c++) {
        const char *own = sri_guard_column_name(guard, c);
        char name[4 * LONGEST_GROUP + 1];
        bool text = doc->nodes[at].kind == JSON_TEXT && json_copy(doc, at, name, sizeof name);
        fine = text && utf8_length(name) <= LONGEST_GROUP && (own ? !strcmp(name, own) : strcmp(name, "request") != 0);
    }
    return fine ? SRI_OK
                : fail(error,
                       "%s: columns must be null, or a list of the names of the %zu columns that the guard reads, in "
                       "its order. Make the signals with the guard's own anchors, layers and request map.",
                       where, sri_guard_columns(guard));
}

static int signals_head(struct sri_signals *s, const sri_guard *guard, const struct json *doc, const char *where,
                        sri_error *error) {
    uint32_t format = json_get(doc, 0, "sri_signals"), print = json_get(doc, 0, "fingerprint");
    uint32_t columns = json_get(doc, 0, "columns");
    bool whole = doc->nodes[format].kind == JSON_NUMBER && json_whole(doc, format); /* 1.0 is none. */
    if (!s->first || !whole || json_number(doc, format) != 1 ||
        doc->nodes[0].count != 1u + (print != 0) + (columns != 0))
        return fail(error,
                    "%s: a head {\"sri_signals\": 1, \"fingerprint\": {...}, \"columns\": [...]} is allowed on the "
                    "first line only, with these keys.",
                    where);
    if (signals_columns(guard, doc, columns, where, error)) return SRI_REFUSED;
    if (!print || doc->nodes[print].kind == JSON_NULL) return SRI_OK;
    if (!signals_is_object(doc, json_get(doc, print, "hard")) || !signals_is_object(doc, json_get(doc, print, "soft")))
        return fail(error, "%s: the fingerprint must be an object with the objects `hard` and `soft`, or null.", where);
    size_t size = doc->nodes[print].end - doc->nodes[print].start;
    if (!(s->fingerprint = malloc(size + 1))) return out_of_memory(error, where);
    memcpy(s->fingerprint, doc->text + doc->nodes[print].start, size);
    s->fingerprint[size] = 0;
    return SRI_OK;
}

/* A copy of a text of `most` characters at most, without NUL, which the caller owns. */
static int signals_text(const struct json *doc, uint32_t node, size_t most, const char *where, const char *what,
                        char **text, sri_error *error) {
    size_t room = doc->nodes[node].end - doc->nodes[node].start + 1;
    if (!(*text = malloc(room))) return out_of_memory(error, where);
    if (json_copy(doc, node, *text, room) && utf8_length(*text) <= most) return SRI_OK;
    return fail(error, "%s: `%s` holds a NUL, or more than %zu characters.", where, what, most);
}

static int signals_line(struct sri_signals *s, const sri_guard *guard, const struct json *doc, const char *where,
                        sri_error *error) {
    size_t T = sri_guard_cells(guard), C = sri_guard_columns(guard);
    const char *domain = sri_guard_domain(guard);
    if (doc->nodes[0].kind != JSON_OBJECT) return fail(error, "%s: not a JSON object. Write one per line.", where);
    if (json_get(doc, 0, "sri_signals")) return signals_head(s, guard, doc, where, error);
    uint32_t id = json_get(doc, 0, "id"), list = json_get(doc, 0, domain), length = json_get(doc, 0, "length");
    uint32_t other = json_get(doc, 0, strcmp(domain, "sigma") ? "sigma" : "logit");
    uint32_t group = json_get(doc, 0, "group");
    if (!s->count) s->both = other != 0;
    if (!id || doc->nodes[id].kind != JSON_TEXT || !list || s->both != (other != 0) ||
        (group && !(doc->nodes[group].kind & (JSON_TEXT | JSON_NULL))) ||
        doc->nodes[0].count != 2u + (length != 0) + (other != 0) + (group != 0))
        return fail(error,
                    "%s: a line needs a text `id` and `%s`, which the bundle reads, and may have `length` and a text "
                    "`group`; the other form is in every line, or in none.",
                    where, domain);
    if (s->count == MOST_ROWS || (s->count + 1) * T * C > MOST_NUMBERS_READ)
        return fail(error, "%s: too much at once; allowed: up to %d generations and %d numbers. Split the file.", where,
                    MOST_ROWS, MOST_NUMBERS_READ);
    if (!signals_grow(s, T * C)) return out_of_memory(error, where);
    /* The other form is checked, too, and written over. */
    float *cells = s->cells + s->count * T * C;
    if ((other && !signals_cells(doc, other, T, C, cells)) || !signals_cells(doc, list, T, C, cells))
        return fail(
            error,
            "%s: %s is not %zu cells of %zu numbers each, which the guard takes. Lay the signals on the guard's "
            "step grid and columns.",
            where, other ? "sigma or logit" : domain, T, C);
    double filled = length ? json_number(doc, length) : (double)T;
    if (length && (!json_whole(doc, length) || !(filled >= 0 && filled <= (double)T)))
        return fail(error, "%s: length is not a whole number from 0 to %zu: the number of cells filled so far.", where,
                    T);
    s->lengths[s->count] = (int64_t)filled;
    s->ids[s->count] = s->groups[s->count] = NULL;
    s->count++; /* Owned from here on. */
    if (signals_text(doc, id, LONGEST_ID, where, "id", &s->ids[s->count - 1], error)) return SRI_REFUSED;
    if (!group || doc->nodes[group].kind == JSON_NULL) return SRI_OK;
    return signals_text(doc, group, LONGEST_GROUP, where, "group", &s->groups[s->count - 1], error);
}

static int compare_ids(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int signals_unique(const struct sri_signals *s, const char *subject, sri_error *error) {
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

/* The next line without its end, as `size` bytes at `line`; -1 at the end of the file, -2 if it is too long. */
static long signals_next(FILE *from, char **line, size_t *room) {
    size_t size = 0;
    int c;
    while ((c = getc(from)) != EOF && c != '\n') {
        if (size == LONGEST_LINE) return -2;
        if (size == *room) {
            char *more = realloc(*line, *room = 2 * *room + 4096);
            if (!more) return -2;
            *line = more;
        }
        (*line)[size++] = (char)c;
    }
    return size || c != EOF ? (long)size : -1;
}

static bool signals_blank(const char *line, size_t size) {
    while (size && memchr(" \t\r", line[size - 1], 3)) size--;
    return !size;
}

/* Reads all lines into a zeroed struct; sri_signals_free in either case. */
static int signals_lines(struct sri_signals *s, const sri_guard *guard, FILE *from, const char *subject,
                         sri_error *error) {
    char *line = NULL, where[600];
    size_t room = 0, total = 0;
    long size;
    int refused = SRI_OK;
    s->first = true;
    for (size_t number = 1; !refused && (size = signals_next(from, &line, &room)) != -1; number++) {
        snprintf(where, sizeof where, "%s, line %zu", subject, number);
        if (size < 0 || number > MOST_ROWS + 1 || (total += (size_t)size + 1) > MOST_BYTES) {
            refused = fail(error,
                           "%s: too much at once; allowed: up to %d bytes in a line, %d lines and %d bytes. Split the "
                           "file.",
                           where, LONGEST_LINE, MOST_ROWS + 1, MOST_BYTES);
            break;
        }
        /* The byte-order mark that some editors write in front. */
        size_t mark = number == 1 && size >= 3 && !memcmp(line, "\xef\xbb\xbf", 3) ? 3 : 0;
        if (!size || signals_blank(line + mark, (size_t)size - mark)) continue;
        struct json doc;
        refused = json_read(&doc, line + mark, (size_t)size - mark, true)
                      ? signals_line(s, guard, &doc, where, error)
                      : fail(error, "%s: not JSON (%s).", where, doc.problem);
        json_free(&doc);
        s->first = false;
    }
    free(line);
    if (!refused && !s->count) refused = fail(error, "%s: holds no signals.", subject);
    return refused ? refused : signals_unique(s, subject, error);
}

/* Takes the stream, and closes it unless it is standard input. */
static int signals_made(const sri_guard *guard, FILE *from, const char *subject, sri_signals **signals,
                        sri_error *error) {
    sri_signals *made = calloc(1, sizeof *made);
    int refused = made ? signals_lines(made, guard, from, subject, error) : out_of_memory(error, subject);
    if (from && from != stdin) fclose(from);
    if (refused) sri_signals_free(made);
    else *signals = made;
    return refused;
}

int sri_signals_read(const sri_guard *guard, const char *path, sri_signals **signals, sri_error *error) {
    *signals = NULL;
    if (!strcmp(path, "-")) return signals_made(guard, stdin, "standard input", signals, error);
    FILE *from = fopen(path, "r");
    if (!from) return fail(error, "%s: cannot be read (%s).", path, strerror(errno));
    return signals_made(guard, from, path, signals, error);
}

int sri_signals_parse(const sri_guard *guard, const char *subject, const void *bytes, size_t size,
                      sri_signals **signals, sri_error *error) {
    *signals = NULL;
    if (!size) return fail(error, "%s: holds no signals.", subject);
    FILE *from = fmemopen((void *)(uintptr_t)bytes, size, "r"); /* Only read, whatever the argument's type says. */
    return from ? signals_made(guard, from, subject, signals, error) : out_of_memory(error, subject);
}

size_t sri_signals_count(const sri_signals *signals) { return signals->count; }
const char *sri_signals_id(const sri_signals *signals, size_t row) { return signals->ids[row]; }
const float *sri_signals_cells(const sri_signals *signals) { return signals->cells; }
const int64_t *sri_signals_lengths(const sri_signals *signals) { return signals->lengths; }
const char *const *sri_signals_groups(const sri_signals *signals) { return (const char *const *)signals->groups; }
const char *sri_signals_fingerprint(const sri_signals *signals) { return signals->fingerprint; }

#endif
