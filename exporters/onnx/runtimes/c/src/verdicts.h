/* Verdicts on N generations, and the words they use: a copy, so that they outlive the guard. */
#ifndef SRI_VERDICTS_H
#define SRI_VERDICTS_H

#include "judge.h"

struct sri_verdicts {
    size_t count, part_count; /* N; parts of the rule, 0 in schema 1 */
    struct words words;
    sri_part_verdict *parts; /* [N, part_count] */
    sri_verdict rows[];
};

void sri_verdicts_free(sri_verdicts *verdicts) {
    if (!verdicts) return;
    free(verdicts->parts);
    free(verdicts);
}

size_t sri_verdicts_count(const sri_verdicts *verdicts) { return verdicts->count; }
const sri_verdict *sri_verdicts_at(const sri_verdicts *verdicts, size_t row) {
    return row < verdicts->count ? &verdicts->rows[row] : NULL;
}

/* N verdicts that say nothing yet; NULL = not enough memory. */
static sri_verdicts *verdicts_room(const struct manifest *m, size_t count, sri_rule rule, unsigned accepted) {
    size_t parts = 0;
    for (size_t k = 0; k < m->part_count && m->format > 1; k++) parts += m->rules[rule].parts[k].there;
    if (count > (SIZE_MAX - sizeof(sri_verdicts)) / sizeof(sri_verdict) ||
        (parts && count > SIZE_MAX / sizeof(sri_part_verdict) / parts))
        return NULL;
    sri_verdicts *made = calloc(1, sizeof *made + count * sizeof *made->rows);
    if (!made) return NULL;
    made->count = count, made->part_count = parts, made->words = m->words;
    made->parts = calloc(count * parts + 1, sizeof *made->parts);
    if (!made->parts) {
        sri_verdicts_free(made);
        return NULL;
    }
    for (size_t row = 0; row < count; row++) {
        sri_verdict *v = &made->rows[row];
        v->rule = rule, v->first_alarm_step = v->judged_steps = -1, v->accepted = accepted;
        v->schema = m->format;
        v->parts = parts ? made->parts + row * parts : NULL;
        v->part_count = parts;
        memcpy(v->bundle, m->digest, sizeof v->bundle);
    }
    return made;
}

/* Says of a row what its parts found. */
static void verdicts_put(sri_verdicts *verdicts, const struct manifest *m, size_t at, const struct found *found,
                         const struct row *row) {
    sri_part_verdict only[1]; /* In schema 1 nobody sees it. */
    sri_part_verdict *parts = verdicts->part_count ? verdicts->parts + at * verdicts->part_count : only;
    conclude(m, &verdicts->words, found, row, parts, &verdicts->rows[at]);
}

#endif
