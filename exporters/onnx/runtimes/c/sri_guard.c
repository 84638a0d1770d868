/* The guard: a bundle that was read, loaded and tested, and what it says of signals. The parts lie in src/. */
#define _POSIX_C_SOURCE 200809L

#include "sri_guard.h"

#include "src/admission.h"
#include "src/folder.h"
#include "src/manifest.h"
#include "src/runtime.h"
#include "src/signals.h"
#include "src/verdict.h"

enum {
    CHUNK = 256,          /* rows per call */
    CHUNK_CELLS = 1 << 22 /* and cells, whichever is fewer: keeps temporaries small */
};

struct sri_guard {
    struct manifest manifest;
    struct runtime runtime;
    struct session sessions[GRAPHS];
    size_t grid[2];    /* T, C */
    char subject[512]; /* the bundle, for messages */
};

/* -- opening ---------------------------------------------------------------------------------------------- */

static size_t chunk_rows(const sri_guard *guard) {
    size_t rows = CHUNK_CELLS / (guard->grid[0] * guard->grid[1]);
    return rows < 1 ? 1 : rows > CHUNK ? CHUNK : rows;
}

/* Rows through one graph, a chunk at a time. */
static int run(const sri_guard *guard, enum graph which, const float *signals, const int64_t *lengths, size_t count,
               float *score, bool *valid, sri_error *error) {
    char subject[600];
    size_t cells = guard->grid[0] * guard->grid[1], step = chunk_rows(guard);
    snprintf(subject, sizeof subject, "%s/%s.onnx", guard->subject, GRAPH_NAMES[which]);
    for (size_t at = 0; at < count; at += step) {
        size_t rows = count - at < step ? count - at : step;
        if (session_run(&guard->runtime, &guard->sessions[which], subject, signals + at * cells,
                        lengths ? lengths + at : NULL, rows, guard->grid, score + at, valid + at, error))
            return SRI_REFUSED;
    }
    return SRI_OK;
}

/* The same, but a score that is no number below 3e38 is not valid, whatever the graph says: NaN is above no threshold. */
static int run_warily(const sri_guard *guard, enum graph which, const float *signals, const int64_t *lengths,
                      size_t count, float *score, bool *valid, sri_error *error) {
    if (run(guard, which, signals, lengths, count, score, valid, error)) return SRI_REFUSED;
    for (size_t row = 0; row < count; row++)
        if (!(fabsf(score[row]) < INVALID_SCORE)) score[row] = INVALID_SCORE, valid[row] = false;
    return SRI_OK;
}

/* A runtime that computes something else never scores. */
static int self_test(const sri_guard *guard, enum graph which, sri_error *error) {
    const struct golden *golden = &guard->manifest.golden[which];
    float *score = malloc(golden->rows * sizeof *score);
    bool *valid = malloc(golden->rows * sizeof *valid);
    int refused = score && valid
                      ? run(guard, which, golden->signals, golden->lengths, golden->rows, score, valid, error)
                      : out_of_memory(error, guard->subject);
    for (size_t row = 0; row < golden->rows && !refused; row++) {
        double gap = fabs((double)score[row] - (double)golden->score[row]);
        if (valid[row] != (golden->valid[row] != 0))
            refused = fail(error,
                           "%s: graph %s says valid = %s of golden row %zu, not the opposite. This runtime cannot be "
                           "trusted with it; use another onnxruntime, or export the guard again.",
                           guard->subject, GRAPH_NAMES[which], valid[row] ? "true" : "false", row);
        else if (!(gap <= (double)golden->tolerance[row])) /* NaN is wrong, too. */
            refused = fail(error,
                           "%s: graph %s scores golden row %zu %g, expected %g within %.2g. Use another onnxruntime, "
                           "or export the guard again.",
                           guard->subject, GRAPH_NAMES[which], row, (double)score[row], (double)golden->score[row],
                           (double)golden->tolerance[row]);
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
        if (session_open(&guard->runtime, &guard->sessions[which], subject, guard->manifest.graphs[which], guard->grid,
                         error) ||
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
    made->grid[0] = made->manifest.sizes.cells;
    made->grid[1] = made->manifest.sizes.layers;
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

void sri_struct_sizes(size_t sizes[4]) {
    sizes[0] = sizeof(sri_verdict), sizes[1] = sizeof(sri_options);
    sizes[2] = sizeof(sri_file), sizes[3] = sizeof(sri_error);
}

size_t sri_guard_cells(const sri_guard *guard) { return guard->grid[0]; }
size_t sri_guard_layers(const sri_guard *guard) { return guard->grid[1]; }
const char *sri_guard_digest(const sri_guard *guard) { return guard->manifest.digest; }
const char *sri_guard_domain(const sri_guard *guard) { return guard->manifest.logit ? "logit" : "sigma"; }
double sri_guard_threshold(const sri_guard *guard, sri_rule rule) {
    return guard->manifest.rules[rule == SRI_ONLINE].value;
}

/* -- judging ---------------------------------------------------------------------------------------------- */

/* (1 + #{s_i >= s}) / (n + 1), by binary search for the first s_i that is not below. */
static double p_value(const struct rule *rule, float score) {
    size_t low = 0, high = rule->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rule->scores[middle] < score) low = middle + 1;
        else high = middle;
    }
    return (double)(1 + rule->n - low) / (double)(rule->n + 1);
}

/* Why a row could not be judged completely. */
static sri_reason why(const sri_guard *guard, const float *row, int64_t length, sri_rule rule) {
    const struct manifest *m = &guard->manifest;
    if (length == 0 || (rule == SRI_FINAL && (size_t)length < guard->grid[0])) return SRI_INCOMPLETE_SIGNAL;
    size_t seen = (size_t)length * guard->grid[1];
    for (size_t i = 0; i < seen; i++)
        if (!isfinite(row[i])) return SRI_NON_FINITE_SIGNAL;
    for (size_t i = 0; i < seen; i++)
        if (!(row[i] > m->low && row[i] < m->high)) return SRI_SIGNAL_OUT_OF_RANGE;
    return SRI_SCORE_NOT_FINITE;
}

struct judged { /* one row, or one row so far */
    float score;
    bool any;      /* some length had a score */
    bool complete; /* all that were due had one */
    int64_t alarm; /* first cell with an alarm; -1 = none */
};

/* The step that was done when a cell closed, from 0; -1 where the grid counts tokens. */
static int64_t step_of(const struct manifest *m, int64_t cell) {
    if (m->budget <= 0 || cell < 0) return -1;
    return ((cell + 1) * m->budget + m->grid_cells - 1) / m->grid_cells - 1;
}

static void conclude(const sri_guard *guard, const struct judged *judged, const float *row, int64_t length,
                     sri_verdict *v) {
    const struct rule *rule = &guard->manifest.rules[v->rule];
    bool flagged = judged->any && (double)judged->score > rule->value;
    int reasons = 0;
    if (flagged) v->reasons[reasons++] = SRI_SCORE_ABOVE_THRESHOLD;
    if (!judged->complete) v->reasons[reasons] = why(guard, row, length, v->rule);
    /* An alarm stands even where later cells cannot be read: it was one when it rang. */
    v->status = flagged ? SRI_FLAGGED : judged->complete ? SRI_CLEAR : SRI_UNMONITORED;
    v->scored = v->status != SRI_UNMONITORED;
    if (!v->scored) return;
    v->score = judged->score;
    v->p_value = p_value(rule, judged->score);
    if (flagged && v->rule == SRI_ONLINE) v->first_alarm_step = step_of(&guard->manifest, judged->alarm);
}

static int judge_final(const sri_guard *guard, const float *signals, const int64_t *lengths, size_t count,
                       sri_verdict *verdicts, sri_error *error) {
    size_t cells = guard->grid[0] * guard->grid[1];
    float score[CHUNK];
    bool valid[CHUNK];
    size_t step = chunk_rows(guard);
    for (size_t at = 0; at < count; at += step) {
        size_t rows = count - at < step ? count - at : step;
        if (run_warily(guard, SIGNAL, signals + at * cells, NULL, rows, score, valid, error)) return SRI_REFUSED;
        for (size_t i = 0; i < rows; i++) {
            int64_t length = lengths ? lengths[at + i] : (int64_t)guard->grid[0];
            bool good = valid[i] && length == (int64_t)guard->grid[0];
            struct judged judged = {.score = score[i], .any = good, .complete = good, .alarm = -1};
            conclude(guard, &judged, signals + (at + i) * cells, length, &verdicts[at + i]);
        }
    }
    return SRI_OK;
}

/* Every length of every row goes through the graph `prefix`; (row, length) pairs are counted in one sequence. */
static int judge_online(const sri_guard *guard, const float *signals, const int64_t *lengths, size_t count,
                        sri_verdict *verdicts, sri_error *error) {
    size_t T = guard->grid[0], cells = T * guard->grid[1], step = chunk_rows(guard);
    float score[CHUNK], *batch = malloc(step * cells * sizeof *batch);
    bool valid[CHUNK];
    int64_t known[CHUNK];
    struct judged judged = {0};
    int refused = batch ? SRI_OK : out_of_memory(error, guard->subject);
    for (size_t at = 0; at < count * T && !refused; at += step) {
        size_t rows = count * T - at < step ? count * T - at : step;
        for (size_t i = 0; i < rows; i++) {
            memcpy(batch + i * cells, signals + (at + i) / T * cells, cells * sizeof *batch);
            known[i] = (int64_t)((at + i) % T) + 1;
        }
        refused = run_warily(guard, PREFIX, batch, known, rows, score, valid, error);
        for (size_t i = 0; i < rows && !refused; i++) {
            size_t row = (at + i) / T;
            int64_t length = lengths ? lengths[row] : (int64_t)T;
            if (known[i] == 1) judged = (struct judged){.complete = length > 0, .alarm = -1};
            if (known[i] <= length) {
                judged.complete = judged.complete && valid[i];
                if (valid[i] && (!judged.any || score[i] > judged.score)) judged.score = score[i];
                judged.any = judged.any || valid[i];
                if (valid[i] && judged.alarm < 0 && (double)score[i] > guard->manifest.rules[SRI_ONLINE].value)
                    judged.alarm = known[i] - 1;
            }
            if (known[i] == (int64_t)T) conclude(guard, &judged, signals + row * cells, length, &verdicts[row]);
        }
    }
    free(batch);
    return refused;
}

static int check_input(const sri_guard *guard, const int64_t *lengths, size_t count, sri_error *error) {
    size_t cells = guard->grid[0] * guard->grid[1];
    if (count > SIZE_MAX / sizeof(float) / cells / guard->grid[0])
        return fail(error, "signals: %zu rows are more than memory can hold. Score them in parts.", count);
    for (size_t i = 0; i < count && lengths; i++)
        if (lengths[i] < 0 || lengths[i] > (int64_t)guard->grid[0])
            return fail(error,
                        "signals: lengths must be numbers from 0 to %zu, found %lld in row %zu. A length is the number "
                        "of cells filled so far.",
                        guard->grid[0], (long long)lengths[i], i);
    return SRI_OK;
}

int sri_guard_score(const sri_guard *guard, const float *signals, const int64_t *lengths, size_t count,
                    const sri_options *options, sri_verdict *verdicts, sri_error *error) {
    unsigned accepted;
    sri_rule rule = options->rule == SRI_ONLINE ? SRI_ONLINE : SRI_FINAL;
    for (size_t i = 0; i < count; i++) {
        verdicts[i] =
            (sri_verdict){.rule = rule, .threshold = guard->manifest.rules[rule].value, .first_alarm_step = -1};
        memcpy(verdicts[i].bundle, guard->manifest.digest, sizeof guard->manifest.digest);
    }
    if (check_input(guard, lengths, count, error) || admit(&guard->manifest, options, &accepted, error))
        return SRI_REFUSED;
    for (size_t i = 0; i < count; i++) verdicts[i].accepted = accepted;
    int refused = (rule == SRI_ONLINE ? judge_online : judge_final)(guard, signals, lengths, count, verdicts, error);
    for (size_t i = 0; i < count && refused; i++) verdicts[i].status = SRI_UNMONITORED, verdicts[i].scored = false;
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
