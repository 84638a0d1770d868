/* What a manifest of either format says, as scoring uses it. A guard of format 1 has one part, which reads all columns.
 */
#ifndef SRI_MANIFEST_H
#define SRI_MANIFEST_H

#include "graphs.h"
#include "other_parts.h"
#include "threshold.h"

enum { RULES = 3, MOST_PARTS = SRI_MOST_PARTS, MOST_GROUPS = 64, LONGEST_COLUMN = 64 };

static const char *const RULE_NAMES[RULES] = {"final", "online", "request"}; /* by enum sri_rule */

/* The words that verdicts use, so small that they have a copy of their own. */
struct words {
    char part[MOST_PARTS][33];
    char reason[MOST_PARTS][65]; /* of a part's alarms */
    char group[MOST_GROUPS][65];
};

struct part {
    uint32_t *columns; /* that it reads, rising */
    size_t column_count;
    bool request_only;
};

struct part_rule {
    bool there;
    double share;               /* of the rule's alpha */
    struct threshold *by_group; /* [group_count] */
    size_t largest;             /* the group with the largest value, the first of several */
};

struct rule {
    bool there;
    double alpha;
    struct part_rule parts[MOST_PARTS];
};

struct manifest {
    char *text; /* all of manifest.json; `json` points into it */
    struct json json;
    int format;
    char digest[65];
    struct sizes sizes;
    bool logit;                        /* the domain; false = sigma */
    float *low, *high;                 /* [C]: a cell must lie between them */
    char (*names)[LONGEST_COLUMN + 1]; /* [C] of columns; NULL in format 1 */
    size_t part_count, group_count;    /* without groups there is one, `all` */
    bool grouped;
    struct part parts[MOST_PARTS];
    struct rule rules[RULES]; /* by enum sri_rule */
    struct words words;
    int64_t horizon; /* steps; 0 = none */
    bool ends;       /* whether the guard can tell how a generation ended: below `end`, in this column, it refuses */
    size_t end_column;
    double end;
    struct golden golden[GRAPHS];
    const sri_file *graphs[GRAPHS]; /* in the caller's files */
    int64_t budget, grid_cells;     /* of a grid that counts steps, else 0 */
};

static void manifest_free(struct manifest *m) {
    json_free(&m->json);
    free(m->text), free(m->low), free(m->high), free(m->names);
    for (int i = 0; i < MOST_PARTS; i++) free(m->parts[i].columns);
    for (int i = 0; i < RULES * MOST_PARTS; i++) {
        struct threshold *each = m->rules[i / MOST_PARTS].parts[i % MOST_PARTS].by_group;
        for (size_t group = 0; each && group < m->group_count; group++) free(each[group].scores);
        free(each);
    }
    for (int i = 0; i < GRAPHS; i++) golden_free(&m->golden[i]);
    memset(m, 0, sizeof *m);
}

/* Room for [C] bounds. False: not enough memory. */
static bool bounds_room(struct reader *r, struct manifest *m) {
    m->low = calloc(m->sizes.columns, sizeof *m->low);
    m->high = calloc(m->sizes.columns, sizeof *m->high);
    check(r, m->low && m->high, "signal", "not enough memory");
    return !r->refused;
}

/* Room for the thresholds of a part under a rule, one per group. */
static struct threshold *thresholds_room(struct reader *r, struct manifest *m, struct part_rule *part) {
    part->by_group = calloc(m->group_count, sizeof *part->by_group);
    check(r, part->by_group != NULL, "rules", "not enough memory");
    part->there = !r->refused;
    return part->by_group;
}

/* -- what both formats say of signals and grids -------------------------------------------------------------- */

static void read_sizes(struct reader *r, struct manifest *m, uint32_t signal) {
    uint32_t domain = value_of(r, signal, "signal", "domain", JSON_TEXT);
    m->sizes.cells = whole_of(r, value_of(r, signal, "signal", "cells", JSON_NUMBER), "signal.cells", MOST_CELLS);
    m->sizes.width =
        whole_of(r, value_of(r, signal, "signal", "hidden_size", JSON_NUMBER), "signal.hidden_size", WIDEST);
    check(r, m->sizes.cells && m->sizes.width, "signal", "no cells, or no width");
    if (r->refused) return;
    check(r, json_is(r->json, domain, "sigma") || json_is(r->json, domain, "logit"), "signal.domain",
          "neither sigma nor logit");
    m->logit = json_is(r->json, domain, "logit");
}

/* Bounds `low` and `high`, as float32, in which graphs compare with them. */
static void read_range(struct reader *r, uint32_t object, const char *where, float *low, float *high) {
    double lower = number_of(r, object, where, "low"), upper = number_of(r, object, where, "high");
    check(r, lower < upper, where, "an empty range");
    *low = narrowed(lower);
    *high = narrowed(upper);
}

static void read_grid(struct reader *r, struct manifest *m) {
    uint32_t grid = value_of(r, 0, "", "grid", JSON_ANY);
    uint32_t mapping = r->refused ? 0 : json_get(r->json, grid, "mapping");
    if (!mapping || !json_is(r->json, mapping, "step")) return;
    m->budget = (int64_t)whole_of(r, value_of(r, grid, "grid", "budget", JSON_NUMBER), "grid.budget", INT32_MAX);
    m->grid_cells = (int64_t)whole_of(r, value_of(r, grid, "grid", "cells", JSON_NUMBER), "grid.cells", INT32_MAX);
    check(r, m->budget && m->grid_cells, "grid", "no steps, or no cells");
}

#endif
