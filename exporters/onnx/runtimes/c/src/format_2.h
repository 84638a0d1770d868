/* What a manifest of format 2 has that format 1 has not: columns, several parts, groups, and how a generation ends. */
#ifndef SRI_FORMAT_2_H
#define SRI_FORMAT_2_H

#include "manifest.h"

#define KEYS_2                                                                                                         \
    "anchors digest ended eps files fingerprint fingerprint_digest format golden graphs grid groups horizon "          \
    "invalid_score parts pooling producer rates rules sensitive signal tau tier"
#define SMALL "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

/* Copies a name of 1 to `room` - 1 of the allowed characters, which begins with one of `first`. */
static void read_name(struct reader *r, uint32_t node, const char *where, const char *first, const char *allowed,
                      char *name, size_t room) {
    if (r->refused) return;
    bool fine = r->json->nodes[node].kind == JSON_TEXT && json_copy(r->json, node, name, room) && *name &&
                strchr(first, *name) && strspn(name, allowed) == strlen(name);
    check(r, fine, where, "a name that is too long, empty, or of other characters than are allowed");
}

/* The entries of a list, `most` at most. */
static size_t list_of(struct reader *r, uint32_t list, const char *where, size_t least, size_t most) {
    size_t count = r->refused ? 0 : r->json->nodes[list].count;
    check(r, r->refused || (count >= least && count <= most), where, "too few entries, or too many");
    return r->refused ? 0 : count;
}

/* -- columns ------------------------------------------------------------------------------------------------- */

/* `final`, or a block's number; returns how many there are. */
static size_t read_layers(struct reader *r, uint32_t column, const char *where) {
    uint32_t layers = value_of(r, column, where, "layers", JSON_ARRAY);
    size_t count = list_of(r, layers, where, 1, MOST_LAYERS);
    for (uint32_t at = layers + 1; !r->refused && at < r->json->nodes[layers].next; at = r->json->nodes[at].next)
        if (!json_is(r->json, at, "final")) {
            check(r, r->json->nodes[at].kind == JSON_NUMBER, where, "a layer that is neither final nor a number");
            whole_of(r, at, where, SIZE_MAX);
        }
    return count;
}

static void read_column(struct reader *r, struct manifest *m, uint32_t column, size_t c) {
    char where[48];
    snprintf(where, sizeof where, "signal.columns.%zu", c);
    if (!r->refused) check(r, r->json->nodes[column].kind == JSON_OBJECT, where, "not an object");
    exactly(r, column, where, "high kind layers low name");
    read_name(r, value_of(r, column, where, "name", JSON_TEXT), where, SMALL DIGITS "@-", SMALL DIGITS "@-",
              m->names[c], sizeof m->names[c]);
    for (size_t i = 0; i < c && !r->refused; i++)
        check(r, strcmp(m->names[i], m->names[c]) != 0, where, "a name that another column has");
    read_range(r, column, where, &m->low[c], &m->high[c]);
    size_t layers = read_layers(r, column, where);
    uint32_t kind = value_of(r, column, where, "kind", JSON_TEXT);
    if (r->refused) return;
    bool request = json_is(r->json, kind, "request");
    check(r, request || json_is(r->json, kind, "sri"), where, "of a kind that is neither sri nor request");
    check(r, request || layers == 1, where, "a column of kind sri has one layer");
    check(r, !request || c + 1 == m->sizes.columns, where, "there may be one request column, and it comes last");
    if (request) m->sizes.prompt = layers;
}

static void read_signal_2(struct reader *r, struct manifest *m) {
    uint32_t signal = value_of(r, 0, "", "signal", JSON_OBJECT);
    exactly(r, signal, "signal", "cells columns domain hidden_size");
    read_sizes(r, m, signal);
    uint32_t columns = value_of(r, signal, "signal", "columns", JSON_ARRAY);
    m->sizes.columns = list_of(r, columns, "signal.columns", 1, MOST_LAYERS);
    if (r->refused || !bounds_room(r, m)) return;
    m->names = calloc(m->sizes.columns, sizeof *m->names);
    check(r, m->names != NULL, "signal", "not enough memory");
    size_t c = 0;
    for (uint32_t at = columns + 1; !r->refused && at < r->json->nodes[columns].next; at = r->json->nodes[at].next)
        read_column(r, m, at, c++);
    m->sizes.sri = m->sizes.columns - (m->sizes.prompt ? 1 : 0);
}

/* -- parts and groups ---------------------------------------------------------------------------------------- */

/* What a part reads, in the order of the columns. */
static void read_reads(struct reader *r, struct manifest *m, uint32_t entry, const char *where, struct part *part) {
    char name[LONGEST_COLUMN + 1];
    uint32_t list = value_of(r, entry, where, "columns", JSON_ARRAY);
    size_t count = list_of(r, list, where, 1, m->sizes.columns), next = 0;
    part->columns = calloc(count + 1, sizeof *part->columns);
    check(r, part->columns != NULL, where, "not enough memory");
    for (uint32_t at = list + 1; !r->refused && at < r->json->nodes[list].next; at = r->json->nodes[at].next) {
        bool text = r->json->nodes[at].kind == JSON_TEXT && json_copy(r->json, at, name, sizeof name);
        while (text && next < m->sizes.columns && strcmp(m->names[next], name)) next++;
        check(r, text && next < m->sizes.columns, where,
              "reads a column that does not exist, twice, or not in the order of the columns");
        if (!r->refused) part->columns[part->column_count++] = (uint32_t)next++;
    }
    part->request_only = part->column_count == 1 && m->sizes.prompt && part->columns[0] + 1 == m->sizes.columns;
}

static void read_parts(struct reader *r, struct manifest *m) {
    uint32_t parts = value_of(r, 0, "", "parts", JSON_ARRAY), tier = value_of(r, 0, "", "tier", JSON_TEXT);
    m->sizes.parts = m->part_count = list_of(r, parts, "parts", 1, MOST_PARTS);
    size_t k = 0;
    for (uint32_t at = parts + 1; !r->refused && at < r->json->nodes[parts].next; at = r->json->nodes[at].next, k++) {
        char where[48];
        snprintf(where, sizeof where, "parts.%zu", k);
        check(r, r->json->nodes[at].kind == JSON_OBJECT, where, "not an object");
        exactly(r, at, where, "columns detector name reason");
        read_name(r, value_of(r, at, where, "name", JSON_TEXT), where, SMALL, SMALL DIGITS "-", m->words.part[k],
                  sizeof m->words.part[k]);
        read_name(r, value_of(r, at, where, "reason", JSON_TEXT), where, SMALL, SMALL DIGITS "_", m->words.reason[k],
                  sizeof m->words.reason[k]);
        for (size_t i = 0; i < k && !r->refused; i++)
            check(r, strcmp(m->words.part[i], m->words.part[k]) != 0, where, "a name that another part has");
        read_reads(r, m, at, where, &m->parts[k]);
        snprintf(where, sizeof where, "parts.%zu.detector", k);
        read_detector(r, value_of(r, at, where, "detector", JSON_OBJECT), where);
    }
    /* No part is of the other tier. */
    check(r, r->refused || json_is(r->json, tier, "portable"), "tier", "does not follow from the parts");
}

static void read_groups(struct reader *r, struct manifest *m) {
    uint32_t groups = value_of(r, 0, "", "groups", JSON_ARRAY);
    m->group_count = list_of(r, groups, "groups", 0, MOST_GROUPS);
    m->grouped = m->group_count > 0;
    size_t g = 0;
    for (uint32_t at = groups + 1; !r->refused && at < r->json->nodes[groups].next; at = r->json->nodes[at].next, g++) {
        static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" SMALL DIGITS "_.-";
        read_name(r, at, "groups", characters, characters, m->words.group[g], sizeof m->words.group[g]);
        check(r, r->refused || strcmp(m->words.group[g], "all"), "groups", "all is the name of no group");
        check(r, r->refused || !g || strcmp(m->words.group[g - 1], m->words.group[g]) < 0, "groups",
              "not sorted, or one is there twice");
    }
    if (m->grouped) return;
    m->group_count = 1;
    snprintf(m->words.group[0], sizeof m->words.group[0], "all");
}

/* -- rules --------------------------------------------------------------------------------------------------- */

static void read_part_rule(struct reader *r, struct manifest *m, uint32_t entry, const char *rule, const char *name,
                           struct part_rule *part) {
    char where[160];
    snprintf(where, sizeof where, "rules.%s.parts.%s", rule, name);
    exactly(r, entry, where, "alpha delta groups");
    check_share(r, entry, where, "alpha");
    check_delta(r, entry, where);
    uint32_t groups = value_of(r, entry, where, "groups", JSON_OBJECT);
    check(r, r->refused || r->json->nodes[groups].count == m->group_count, where, "other groups than the guard has");
    if (r->refused || !thresholds_room(r, m, part)) return;
    part->share = number_of(r, entry, where, "alpha");
    for (size_t g = 0; g < m->group_count && !r->refused; g++) {
        snprintf(where, sizeof where, "rules.%s.parts.%s.groups.%s", rule, name, m->words.group[g]);
        uint32_t threshold = value_of(r, groups, where, m->words.group[g], JSON_OBJECT);
        exactly(r, threshold, where, "n rank scores tolerance value");
        read_threshold(r, threshold, where, &part->by_group[g]);
        if (part->by_group[g].value > part->by_group[part->largest].value) part->largest = g;
    }
}

static void read_rule_2(struct reader *r, struct manifest *m, uint32_t rules, sri_rule which) {
    char where[64];
    struct rule *rule = &m->rules[which];
    uint32_t count = 0;
    double shares = 0;
    snprintf(where, sizeof where, "rules.%s", RULE_NAMES[which]);
    uint32_t entry = value_of(r, rules, "rules", RULE_NAMES[which], JSON_OBJECT);
    exactly(r, entry, where, "alpha parts");
    check_share(r, entry, where, "alpha");
    rule->alpha = number_of(r, entry, where, "alpha");
    uint32_t parts = value_of(r, entry, where, "parts", JSON_OBJECT);
    for (size_t k = 0; k < m->part_count && !r->refused; k++) {
        if (which == SRI_REQUEST && !m->parts[k].request_only) continue;
        uint32_t part = value_of(r, parts, where, m->words.part[k], JSON_OBJECT);
        read_part_rule(r, m, part, RULE_NAMES[which], m->words.part[k], &rule->parts[k]);
        shares += rule->parts[k].share;
        count++;
    }
    if (r->refused) return;
    check(r, r->json->nodes[parts].count == count, where, "parts that the rule must not have");
    check(r, shares <= rule->alpha * (1 + 1e-9), where, "its parts have more than its alpha");
    rule->there = true;
}

static void read_rules_2(struct reader *r, struct manifest *m) {
    uint32_t rules = value_of(r, 0, "", "rules", JSON_OBJECT);
    bool reading = false;
    for (size_t k = 0; k < m->part_count; k++) reading = reading || m->parts[k].request_only;
    exactly(r, rules, "rules", reading ? "final online request" : "final online");
    for (int which = 0; which < (reading ? RULES : SRI_REQUEST); which++) read_rule_2(r, m, rules, (sri_rule)which);
}

/* -- the rest ------------------------------------------------------------------------------------------------ */

/* The map that made the request column is there exactly if the column is. */
static void read_map(struct reader *r, const struct manifest *m) {
    uint32_t anchors = value_of(r, 0, "", "anchors", JSON_OBJECT);
    uint32_t map = value_of(r, anchors, "anchors", "request", JSON_OBJECT | JSON_NULL);
    if (r->refused) return;
    bool there = r->json->nodes[map].kind == JSON_OBJECT;
    check(r, there == (m->sizes.prompt > 0), "anchors.request", "request map and request column differ");
    if (r->refused || !there) return;
    exactly(r, map, "anchors.request", "provenance sha256");
    value_of(r, map, "anchors.request", "provenance", JSON_OBJECT);
    check_hex(r, map, "anchors.request", "sha256");
}

static void read_end(struct reader *r, struct manifest *m) {
    uint32_t horizon = value_of(r, 0, "", "horizon", JSON_OBJECT | JSON_NULL);
    uint32_t ended = value_of(r, 0, "", "ended", JSON_OBJECT | JSON_NULL);
    if (r->refused) return;
    if (r->json->nodes[horizon].kind == JSON_OBJECT) {
        exactly(r, horizon, "horizon", "steps");
        uint32_t steps = value_of(r, horizon, "horizon", "steps", JSON_NUMBER);
        m->horizon = (int64_t)whole_of(r, steps, "horizon.steps", INT32_MAX);
        check(r, m->horizon > 0, "horizon.steps", "no steps");
        check(r, !m->budget || m->horizon == m->budget, "horizon.steps", "differs from grid.budget");
    }
    if (r->refused || r->json->nodes[ended].kind != JSON_OBJECT) return;
    exactly(r, ended, "ended", "column value");
    uint32_t column = value_of(r, ended, "ended", "column", JSON_TEXT);
    m->end = number_of(r, ended, "ended", "value");
    for (size_t c = 0; c < m->sizes.sri && !r->refused; c++)
        if (json_is(r->json, column, m->names[c])) m->ends = true, m->end_column = c;
    check(r, m->ends && !m->horizon, "ended", "needs a column of kind sri, and no horizon");
}

static void read_format_2(struct reader *r, struct manifest *m) {
    read_anchors(r, "provenance request sha256");
    read_signal_2(r, m);
    read_grid(r, m);
    read_parts(r, m);
    read_groups(r, m);
    read_rules_2(r, m);
    read_map(r, m);
    read_end(r, m);
}

#endif
