/* One threshold: where a part of a guard alarms, and the scores it was calibrated on. */
#ifndef SRI_THRESHOLD_H
#define SRI_THRESHOLD_H

#include "reader.h"

struct threshold {
    double value;  /* flagged when score > value */
    float *scores; /* [n] calibration scores, smallest first */
    size_t n;
};

static void check_share(struct reader *r, uint32_t object, const char *where, const char *key) {
    double value = number_of(r, object, where, key);
    check(r, value > 0 && value < 1, where, "a share that is not between 0 and 1");
}

/* null, or a share. */
static void check_delta(struct reader *r, uint32_t object, const char *where) {
    uint32_t delta = value_of(r, object, where, "delta", JSON_NUMBER | JSON_NULL);
    if (!r->refused && r->json->nodes[delta].kind == JSON_NUMBER) check_share(r, object, where, "delta");
}

/* What both formats say of a threshold; the caller checks which other keys there are. */
static void read_threshold(struct reader *r, uint32_t entry, const char *where, struct threshold *t) {
    check(r, number_of(r, entry, where, "tolerance") >= 0, where, "a tolerance below 0");
    t->value = number_of(r, entry, where, "value");
    check(r, t->value < 3e38, where, "a threshold above invalid_score");
    t->n = rows_of(r, value_of(r, entry, where, "scores", JSON_OBJECT), where, MOST_NUMBERS);
    size_t n = whole_of(r, value_of(r, entry, where, "n", JSON_NUMBER), where, MOST_NUMBERS);
    size_t rank = whole_of(r, value_of(r, entry, where, "rank", JSON_NUMBER), where, MOST_NUMBERS);
    check(r, n == t->n && rank >= 1 && rank <= n, where, "scores are not n numbers");
    t->scores = unpack(r, entry, where, "scores", "float32", sizeof(float), 1, &t->n);
    for (size_t i = 0; !r->refused && i < t->n; i++) /* A binary search in anything else would find a wrong p-value. */
        check(r, isfinite(t->scores[i]) && (!i || t->scores[i - 1] <= t->scores[i]), where,
              "scores are not finite numbers in order");
}

/* (1 + #{s_i >= s}) / (n + 1), by binary search for the first s_i that is not below. */
static double p_value(const struct threshold *t, float score) {
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->scores[middle] < score) low = middle + 1;
        else high = middle;
    }
    return (double)(1 + t->n - low) / (double)(t->n + 1);
}

#endif
