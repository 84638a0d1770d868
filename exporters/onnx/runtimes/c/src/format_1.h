/* What a manifest of format 1 has that format 2 has not: one detector, which reads every tapped layer. */
#ifndef SRI_FORMAT_1_H
#define SRI_FORMAT_1_H

#include "manifest.h"

#define KEYS_1                                                                                                         \
    "anchors detector digest eps files fingerprint fingerprint_digest format golden graphs grid invalid_score "        \
    "pooling "                                                                                                         \
    "producer rates rules sensitive signal tau"

static void read_signal_1(struct reader *r, struct manifest *m) {
    uint32_t signal = value_of(r, 0, "", "signal", JSON_OBJECT);
    exactly(r, signal, "signal", "cells domain hidden_size high layers low");
    read_sizes(r, m, signal);
    m->sizes.columns = m->sizes.sri =
        whole_of(r, value_of(r, signal, "signal", "layers", JSON_NUMBER), "signal.layers", MOST_LAYERS);
    check(r, m->sizes.columns > 0, "signal.layers", "no layers");
    float low, high;
    read_range(r, signal, "signal", &low, &high);
    if (r->refused || !bounds_room(r, m)) return;
    for (size_t c = 0; c < m->sizes.columns; c++) m->low[c] = low, m->high[c] = high;
}

static void read_part_1(struct reader *r, struct manifest *m) {
    read_detector(r, value_of(r, 0, "", "detector", JSON_OBJECT), "detector");
    if (r->refused) return;
    struct part *part = &m->parts[0];
    m->part_count = m->group_count = 1;
    part->column_count = m->sizes.columns;
    part->columns = calloc(part->column_count, sizeof *part->columns);
    check(r, part->columns != NULL, "signal", "not enough memory");
    for (uint32_t c = 0; part->columns && c < part->column_count; c++) part->columns[c] = c;
    snprintf(m->words.reason[0], sizeof m->words.reason[0], "score_above_threshold");
}

static void read_rule_1(struct reader *r, struct manifest *m, sri_rule which) {
    char where[32];
    struct rule *rule = &m->rules[which];
    snprintf(where, sizeof where, "rules.%s", RULE_NAMES[which]);
    uint32_t entry = value_of(r, value_of(r, 0, "", "rules", JSON_OBJECT), "rules", RULE_NAMES[which], JSON_OBJECT);
    exactly(r, entry, where, "alpha delta n rank scores tolerance value");
    check_share(r, entry, where, "alpha");
    check_delta(r, entry, where);
    if (r->refused || !thresholds_room(r, m, &rule->parts[0])) return;
    read_threshold(r, entry, where, rule->parts[0].by_group);
    rule->there = true;
    rule->alpha = rule->parts[0].share = number_of(r, entry, where, "alpha");
}

static void read_format_1(struct reader *r, struct manifest *m) {
    read_anchors(r, "provenance sha256");
    read_signal_1(r, m);
    read_grid(r, m);
    read_part_1(r, m);
    exactly(r, value_of(r, 0, "", "rules", JSON_OBJECT), "rules", "final online");
    read_rule_1(r, m, SRI_FINAL);
    read_rule_1(r, m, SRI_ONLINE);
}

#endif
