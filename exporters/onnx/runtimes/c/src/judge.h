/* From the scores of a generation to a verdict. Every part has thresholds of its own and is judged by itself; a
 * generation is flagged if any part is, and clear only if all of them are. */
#ifndef SRI_JUDGE_H
#define SRI_JUDGE_H

#include "manifest.h"

static const char INCOMPLETE[] = "incomplete_signal", REQUEST_MISSING[] = "request_missing",
                  NOT_FINITE[] = "non_finite_signal", OUT_OF_RANGE[] = "signal_out_of_range",
                  UNSCORABLE[] = "score_not_finite", UNKNOWN_GROUP[] = "unknown_group";

struct found { /* of one part in one row, or in one row so far */
    float score;
    bool any;      /* some length had a score */
    bool complete; /* all that were due had one */
    int64_t alarm; /* first cell with an alarm; -1 = none */
};

struct row {            /* what is judged */
    const float *cells; /* [T, C] */
    int64_t length;
    size_t group; /* whose thresholds count; group_count = none is known */
};

/* The group of that name; group_count = the guard does not have it. Guards without groups have one for everybody. */
static size_t group_of(const struct manifest *m, const char *name) {
    if (!m->grouped) return 0;
    for (size_t g = 0; name && g < m->group_count; g++)
        if (!strcmp(m->words.group[g], name)) return g;
    return m->group_count;
}

/* A part's threshold; where the group is not known, the largest: no group has more false alarms than was promised. */
static const struct threshold *threshold_of(const struct manifest *m, const struct part_rule *part, size_t group) {
    return &part->by_group[group < m->group_count ? group : part->largest];
}

/* Why a part could not be judged completely. */
static const char *why(const struct manifest *m, size_t k, const struct row *row, sri_rule rule) {
    const struct part *part = &m->parts[k];
    size_t T = m->sizes.cells, C = m->sizes.columns;
    if (rule == SRI_ONLINE ? row->length == 0 : rule == SRI_FINAL && (size_t)row->length < T && !part->request_only)
        return INCOMPLETE;
    bool reads_request = m->sizes.prompt && part->columns[part->column_count - 1] + 1 == C;
    if (reads_request && isnan(row->cells[C - 1])) return REQUEST_MISSING;
    size_t seen = rule == SRI_ONLINE ? (size_t)row->length : T;
    bool inside = true;
    for (size_t t = 0; t < seen; t++)
        for (size_t i = 0; i < part->column_count; i++) {
            uint32_t c = part->columns[i];
            float x = row->cells[t * C + c];
            if (!isfinite(x)) return NOT_FINITE;
            inside = inside && x > m->low[c] && x < m->high[c];
        }
    return inside ? UNSCORABLE : OUT_OF_RANGE;
}

/* The step that was done when a cell closed, from 0; -1 where the grid counts tokens. */
static int64_t step_of(const struct manifest *m, int64_t cell) {
    if (m->budget <= 0 || cell < 0) return -1;
    return ((cell + 1) * m->budget + m->grid_cells - 1) / m->grid_cells - 1;
}

static sri_ended end_of(const struct manifest *m, const struct row *row, sri_rule rule) {
    size_t c = m->end_column;
    if (!m->ends || (size_t)row->length < m->sizes.cells || rule == SRI_REQUEST) return SRI_END_UNKNOWN;
    float last = row->cells[(m->sizes.cells - 1) * m->sizes.columns + c];
    if (!(last > m->low[c] && last < m->high[c])) return SRI_END_UNKNOWN;
    return (double)last < m->end ? SRI_END_REFUSING : SRI_END_COMPLYING;
}

static void add_reason(sri_verdict *v, const char *code) {
    int at = 0;
    for (; at < SRI_MOST_REASONS && v->reasons[at]; at++)
        if (!strcmp(v->reasons[at], code)) return;
    if (at < SRI_MOST_REASONS) v->reasons[at] = code;
}

/* What one part says; returns why it could not be judged completely, or NULL. */
static const char *judge_part(const struct manifest *m, const struct words *words, size_t k, const struct found *found,
                              const struct row *row, sri_rule rule, sri_part_verdict *v) {
    const struct threshold *threshold = threshold_of(m, &m->rules[rule].parts[k], row->group);
    const char *gap = found->complete ? NULL : why(m, k, row, rule);
    bool flagged = found->any && (double)found->score > threshold->value;
    /* An alarm stands even where later cells cannot be read: it was one when it rang. */
    *v = (sri_part_verdict){
        .name = words->part[k],
        .status = flagged ? SRI_FLAGGED
                  : gap   ? SRI_UNMONITORED
                          : SRI_CLEAR,
        .threshold = threshold->value,
        .reason = flagged ? words->reason[k] : gap,
    };
    v->scored = v->status != SRI_UNMONITORED;
    if (v->scored) v->score = found->score, v->p_value = p_value(threshold, found->score);
    return gap;
}

/* Fills in a verdict. `found` [K] and `parts`, one per part of the rule, in the order of the manifest. */
static void conclude(const struct manifest *m, const struct words *words, const struct found *found,
                     const struct row *row, sri_part_verdict *parts, sri_verdict *v) {
    const struct rule *rule = &m->rules[v->rule];
    const char *gaps[MOST_PARTS];
    double weighed[MOST_PARTS];
    int64_t alarm = -1;
    size_t count = 0, flagged[MOST_PARTS], flags = 0, calmest = 0;
    bool blind = false;
    for (size_t k = 0; k < m->part_count; k++) {
        if (!rule->parts[k].there) continue;
        gaps[count] = judge_part(m, words, k, &found[k], row, v->rule, &parts[count]);
        blind = blind || gaps[count];
        /* A part with a smaller share of alpha counts for less. */
        weighed[count] = parts[count].p_value * (rule->alpha / rule->parts[k].share);
        if (weighed[count] < weighed[calmest]) calmest = count;
        if (parts[count].status == SRI_FLAGGED) {
            size_t at = flags++; /* Sorted, and in the order of the manifest where equal. */
            for (; at && weighed[flagged[at - 1]] > weighed[count]; at--) flagged[at] = flagged[at - 1];
            flagged[at] = count;
            if (alarm < 0 || found[k].alarm < alarm) alarm = found[k].alarm;
        }
        count++;
    }
    v->status = flags ? SRI_FLAGGED : blind ? SRI_UNMONITORED : SRI_CLEAR;
    v->scored = v->status != SRI_UNMONITORED;
    size_t deciding = flags ? flagged[0] : v->scored ? calmest : 0;
    v->threshold = parts[deciding].threshold;
    if (v->scored) v->score = parts[deciding].score, v->p_value = weighed[deciding] < 1 ? weighed[deciding] : 1;
    for (size_t i = 0; i < flags; i++) add_reason(v, parts[flagged[i]].reason);
    for (size_t i = 0; i < count; i++)
        if (gaps[i]) add_reason(v, gaps[i]);
    if (row->group == m->group_count) add_reason(v, UNKNOWN_GROUP);
    else if (m->grouped) v->group = words->group[row->group];
    if (flags && v->rule == SRI_ONLINE) v->first_alarm_step = step_of(m, alarm);
    if (m->horizon && v->scored) v->judged_steps = m->horizon;
    v->ended = end_of(m, row, v->rule);
}

#endif
