/* The guard: a bundle that was read, loaded and tested, and what it says of signals. The parts lie in src/. */
#define _POSIX_C_SOURCE 200809L

#include "sri_guard.h"

#include "src/admission.h"
#include "src/folder.h"
#include "src/manifest_read.h"
#include "src/runtime.h"
#include "src/signals.h"
#include "src/verdict.h"
#include "src/verdicts.h"

enum {
    CHUNK = 256,          /* rows per call */
    CHUNK_CELLS = 1 << 22 /* and cells, whichever is fewer: keeps temporaries small */
};

struct sri_guard {
    struct manifest manifest;
    struct runtime runtime;
    struct session sessions[GRAPHS];
    struct layout layout;
    char subject[512]; /* the bundle, for messages */
};

/* -- opening ---------------------------------------------------------------------------------------------- */

static size_t row_size(const sri_guard *guard) { return guard->layout.cells * guard->layout.columns; }

static size_t chunk_rows(const sri_guard *guard) {
    size_t rows = CHUNK_CELLS / row_size(guard);
    return rows < 1 ? 1 : rows > CHUNK ? CHUNK : rows;
}

/* Rows through one graph, a chunk at a time. */
static int run(const sri_guard *guard, enum graph which, const float *signals, const int64_t *lengths, size_t count,
               float *score, bool *valid, sri_error *error) {
    char subject[600];
    size_t step = chunk_rows(guard), parts = guard->layout.parts;
    snprintf(subject, sizeof subject, "%s/%s.onnx", guard->subject, GRAPH_NAMES[which]);
    for (size_t at = 0; at < count; at += step) {
        size_t rows = count - at < step ? count - at : step;
        if (session_run(&guard->runtime, &guard->sessions[which], subject, signals + at * row_size(guard),
                        lengths ? lengths + at : NULL, rows, &guard->layout, score + at * parts, valid + at * parts,
                        error))
            return SRI_REFUSED;
    }
    return SRI_OK;
}

/* The same, but a score that is no number below 3e38 is not valid, whatever the graph says: NaN is above no threshold.
 */
static int run_warily(const sri_guard *guard, enum graph which, const float *signals, const int64_t *lengths,
                      size_t count, float *score, bool *valid, sri_error *error) {
    if (run(guard, which, signals, lengths, count, score, valid, error)) return SRI_REFUSED;
    for (size_t at = 0; at < count * guard->layout.parts; at++)
        if (!(fabsf(score[at]) < INVALID_SCORE)) score[at] = INVALID_SCORE, valid[at] = false;
    return SRI_OK;
}

/* A runtime that computes something else never scores. */
static int self_test(const sri_guard *guard, enum graph which, sri_error *error) {
    const struct golden *golden = &guard->manifest.golden[which];
    size_t parts = guard->layout.parts, count = golden->rows * parts;
    float *score = malloc(count * sizeof *score);
    bool *valid = malloc(count * sizeof *valid);
    int refused = score && valid
                      ? run(guard, which, golden->signals, golden->lengths, golden->rows, score, valid, error)
                      : out_of_memory(error, guard->subject);
    for (size_t at = 0; at < count && !refused; at++) {
        char row[64];
        double gap = fabs((double)score[at] - (double)golden->score[at]);
        snprintf(row, sizeof row, "%zu, part %zu,", at / parts, at % parts);
        if (guard->layout.flat) snprintf(row, sizeof row, "%zu,", at);
        if (valid[at] != (golden->valid[at] != 0))
            refused = fail(error,
                           "%s: graph %s says valid = %s of golden row %s expected %s. This runtime cannot be trusted "
                           "with it; use another onnxruntime, or export the guard again.",
                           guard->subject, GRAPH_NAMES[which], valid[at] ? "true" : "false", row,
                           valid[at] ? "false" : "true");
        else if (!(gap <= (double)golden->tolerance[at])) /* NaN is wrong, too. */
            refused = fail(error,
                           "%s: graph %s scores golden row %s %g; expected is %g within %.2g. Use another onnxruntime, "
                           "or export the guard again.",
                           guard->subject, GRAPH_NAMES[which], row, (double)score[at], (double)golden->score[at],
                           (double)golden->tolerance[at]);
    }
    free(score);
    free(valid);
    return refused;
}

static int load(sri_guard *guard, sri_error *error) {
    if (runtime_open(&guard->runtime, guard->subject, error)) return SRI_REFUSED;
    for (int which = 0; which < GRAPHS; which++) {
        char subject[600];
        snprintf(subject, sizeof subject, "%s/%s.onnx", guard->subject, GRAPH_NAMES[which]);
        guard->sessions[which].prefix = which == PREFIX;
        if (session_open(&guard->runtime, &guard->sessions[which], subject, guard->manifest.graphs[which],
                         &guard->layout, error) ||
            self_test(guard, (enum graph)which, error))
            return SRI_REFUSED;
    }
    return SRI_OK;
}

int sri_guard_open_files(const char *subject, const sri_file *files, size_t count, const char *digest,
                         sri_guard **guard, sri_error *error) {
    sri_file others[MOST_FILES];
    const sri_file *manifest = NULL;
    size_t other_count = 0;
    *guard = NULL;
    if (check_sizes(subject, files, count, error)) return SRI_REFUSED;
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(files[i].name, MANIFEST)) manifest = &files[i];
        else if (!is_signature(files[i].name)) others[other_count++] = files[i];
    }
    if (!manifest) return fail(error, "%s: " MANIFEST " is missing. Export the guard again.", subject);
    if (digest && check_pinned(manifest, subject, digest, error)) return SRI_REFUSED;
    sri_guard *made = calloc(1, sizeof *made);
    if (!made) return out_of_memory(error, subject);
    snprintf(made->subject, sizeof made->subject, "%s", subject);
    int refused = manifest_read(&made->manifest, manifest, subject, others, other_count, error);
    const struct sizes *sizes = &made->manifest.sizes;
    made->layout = (struct layout){sizes->cells, sizes->columns, sizes->parts ? sizes->parts : 1, !sizes->parts};
    if (!refused) refused = load(made, error);
    /* The files are the caller's, and nothing of them is needed any more. */
    for (int which = 0; which < GRAPHS; which++) made->manifest.graphs[which] = NULL;
    if (refused) sri_guard_close(made);
    else *guard = made;
    return refused ? SRI_REFUSED : SRI_OK;
}

int sri_guard_open(const char *path, const char *digest, sri_guard **guard, sri_error *error) {
    struct folder folder;
    *guard = NULL;
    if (folder_read(path, &folder, error)) return SRI_REFUSED;
    int refused = sri_guard_open_files(path, folder.files, folder.count, digest, guard, error);
    folder_free(&folder);
    return refused;
}

void sri_guard_close(sri_guard *guard) {
    if (!guard) return;
    for (int which = 0; which < GRAPHS; which++) session_close(&guard->runtime, &guard->sessions[which]);
    runtime_close(&guard->runtime);
    manifest_free(&guard->manifest);
    free(guard);
}

void sri_struct_sizes(size_t sizes[5]) {
    sizes[0] = sizeof(sri_verdict), sizes[1] = sizeof(sri_part_verdict), sizes[2] = sizeof(sri_options);
    sizes[3] = sizeof(sri_file), sizes[4] = sizeof(sri_error);
}

size_t sri_guard_cells(const sri_guard *guard) { return guard->layout.cells; }
size_t sri_guard_columns(const sri_guard *guard) { return guard->layout.columns; }
size_t sri_guard_parts(const sri_guard *guard) { return guard->layout.parts; }
int sri_guard_format(const sri_guard *guard) { return guard->manifest.format; }
const char *sri_guard_digest(const sri_guard *guard) { return guard->manifest.digest; }
const char *sri_guard_domain(const sri_guard *guard) { return guard->manifest.logit ? "logit" : "sigma"; }

bool sri_guard_has_rule(const sri_guard *guard, sri_rule rule) {
    return (int)rule >= 0 && (int)rule < RULES && guard->manifest.rules[rule].there;
}

const char *sri_guard_column_name(const sri_guard *guard, size_t column) {
    return guard->manifest.names && column < guard->layout.columns ? guard->manifest.names[column] : NULL;
}

const char *sri_guard_part_name(const sri_guard *guard, size_t part) {
    return guard->manifest.format > 1 && part < guard->layout.parts ? guard->manifest.words.part[part] : NULL;
}

double sri_guard_threshold(const sri_guard *guard, sri_rule rule, size_t part, const char *group) {
    const struct manifest *m = &guard->manifest;
    if (!sri_guard_has_rule(guard, rule) || part >= m->part_count || !m->rules[rule].parts[part].there)
        return (double)NAN;
    return threshold_of(m, &m->rules[rule].parts[part], group_of(m, group))->value;
}

/* -- judging ---------------------------------------------------------------------------------------------- */

struct batch { /* the caller's */
    const float *signals;
    const int64_t *lengths;
    const char *const *groups;
    size_t count;
};

static struct row row_of(const sri_guard *guard, const struct batch *batch, size_t at) {
    return (struct row){
        .cells = batch->signals + at * row_size(guard),
        .length = batch->lengths ? batch->lengths[at] : (int64_t)guard->layout.cells,
        .group = group_of(&guard->manifest, batch->groups ? batch->groups[at] : NULL),
    };
}

/* The rules `final` and `request`: each row goes through the graph `signal` once. */
static int judge_once(const sri_guard *guard, const struct batch *batch, sri_rule rule, sri_verdicts *verdicts,
                      sri_error *error) {
    const struct manifest *m = &guard->manifest;
    size_t step = chunk_rows(guard), parts = guard->layout.parts;
    float score[CHUNK * MOST_PARTS];
    bool valid[CHUNK * MOST_PARTS];
    for (size_t at = 0; at < batch->count; at += step) {
        size_t rows = batch->count - at < step ? batch->count - at : step;
        if (run_warily(guard, SIGNAL, batch->signals + at * row_size(guard), NULL, rows, score, valid, error))
            return SRI_REFUSED;
        for (size_t i = 0; i < rows; i++) {
            struct row row = row_of(guard, batch, at + i);
            struct found found[MOST_PARTS];
            for (size_t k = 0; k < parts; k++) {
                bool due = rule == SRI_REQUEST || m->parts[k].request_only || (size_t)row.length == m->sizes.cells;
                bool good = due && valid[i * parts + k];
                found[k] = (struct found){.score = score[i * parts + k], .any = good, .complete = good, .alarm = -1};
            }
            verdicts_put(verdicts, m, at + i, found, &row);
        }
    }
    return SRI_OK;
}

/* What a part's score at one length adds to what was found before. */
static void take(struct found *found, const struct threshold *threshold, float score, bool valid, int64_t cell) {
    found->complete = found->complete && valid;
    if (!valid) return;
    if (!found->any || score > found->score) found->score = score;
    if (found->alarm < 0 && (double)score > threshold->value) found->alarm = cell;
    found->any = true;
}

/* Every length of every row goes through the graph `prefix`; (row, length) pairs are counted in one sequence. */
static int judge_online(const sri_guard *guard, const struct batch *batch, sri_verdicts *verdicts, sri_error *error) {
    const struct manifest *m = &guard->manifest;
    size_t T = m->sizes.cells, size = row_size(guard), step = chunk_rows(guard), parts = guard->layout.parts;
    float score[CHUNK * MOST_PARTS], *cells = malloc(step * size * sizeof *cells);
    bool valid[CHUNK * MOST_PARTS];
    int64_t known[CHUNK];
    struct found found[MOST_PARTS] = {{0}};
    int refused = cells ? SRI_OK : out_of_memory(error, guard->subject);
    for (size_t at = 0; at < batch->count * T && !refused; at += step) {
        size_t rows = batch->count * T - at < step ? batch->count * T - at : step;
        for (size_t i = 0; i < rows; i++) {
            memcpy(cells + i * size, batch->signals + (at + i) / T * size, size * sizeof *cells);
            known[i] = (int64_t)((at + i) % T) + 1;
        }
        refused = run_warily(guard, PREFIX, cells, known, rows, score, valid, error);
        for (size_t i = 0; i < rows && !refused; i++) {
            struct row row = row_of(guard, batch, (at + i) / T);
            for (size_t k = 0; k < parts; k++) {
                if (known[i] == 1) found[k] = (struct found){.complete = row.length > 0, .alarm = -1};
                if (known[i] <= row.length)
                    take(&found[k], threshold_of(m, &m->rules[SRI_ONLINE].parts[k], row.group), score[i * parts + k],
                         valid[i * parts + k], known[i] - 1);
            }
            if (known[i] == (int64_t)T) verdicts_put(verdicts, m, (at + i) / T, found, &row);
        }
    }
    free(cells);
    return refused;
}

static int check_input(const sri_guard *guard, const int64_t *lengths, size_t count, sri_error *error) {
    size_t cells = guard->layout.cells;
    if (count > SIZE_MAX / sizeof(float) / row_size(guard) / cells)
        return fail(error, "signals: %zu rows are more than memory can hold. Score them in parts.", count);
    for (size_t i = 0; i < count && lengths; i++)
        if (lengths[i] < 0 || lengths[i] > (int64_t)cells)
            return fail(error,
                        "signals: lengths must be numbers from 0 to %zu, found %lld in row %zu. A length is the number "
                        "of cells filled so far.",
                        cells, (long long)lengths[i], i);
    return SRI_OK;
}

int sri_guard_score(const sri_guard *guard, const float *signals, const int64_t *lengths, const char *const *groups,
                    size_t count, const sri_options *options, sri_verdicts **verdicts, sri_error *error) {
    unsigned accepted;
    const struct batch batch = {signals, lengths, groups, count};
    *verdicts = NULL;
    if (!sri_guard_has_rule(guard, options->rule))
        return fail(error, "rule: the guard %s has no such rule; allowed: %s. Ask for one of these.", guard->subject,
                    sri_guard_has_rule(guard, SRI_REQUEST) ? "final, online, request" : "final, online");
    if (check_input(guard, lengths, count, error) || admit(&guard->manifest, options, &accepted, error))
        return SRI_REFUSED;
    sri_verdicts *made = verdicts_room(&guard->manifest, count, options->rule, accepted);
    if (!made) return out_of_memory(error, "signals");
    int refused = options->rule == SRI_ONLINE ? judge_online(guard, &batch, made, error)
                                              : judge_once(guard, &batch, options->rule, made, error);
    if (refused) sri_verdicts_free(made);
    else *verdicts = made;
    return refused;
}

int sri_guard_run(const sri_guard *guard, const float *signals, const int64_t *lengths, size_t count, float *score,
                  bool *valid, sri_error *error) {
    /* Lengths that do not exist are the graph's to answer: valid = false. */
    if (check_input(guard, NULL, count, error)) return SRI_REFUSED;
    return run_warily(guard, lengths ? PREFIX : SIGNAL, signals, lengths, count, score, valid, error);
}

size_t sri_verdict_json(const sri_verdict *verdict, const char *request_id, char *text, size_t room) {
    struct line line = {.text = text, .room = room};
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = plain ? uselocale(plain) : (locale_t)0;
    put_verdict(&line, verdict, request_id);
    if (plain) uselocale(before), freelocale(plain);
    if (room) text[line.length < room ? line.length : room - 1] = 0;
    return line.length;
}
