/* Score a guard's bundle from C: read it or refuse it, then signals in, verdicts out.
 *
 *     sri_guard *guard;
 *     sri_error error;
 *     if (sri_guard_open("guard/bundle", NULL, &guard, &error)) { fprintf(stderr, "%s\n", error.text); return 1; }
 *     sri_options options = {.rule = SRI_FINAL, .fingerprint = fingerprint};
 *     sri_verdict verdicts[2];
 *     if (sri_guard_score(guard, signals, NULL, 2, &options, verdicts, &error)) ...
 *     sri_guard_close(guard);
 *
 * Letters in shapes: N generations, T cells of the step grid, C tapped layers. Arrays are row-major float32.
 * Every function that returns int returns SRI_OK, or SRI_REFUSED with one line in `error` that names the subject and
 * the reason. A guard is immutable once open and may be shared between threads. Nothing here writes a file or a log.
 */
#ifndef SRI_GUARD_H
#define SRI_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SRI_OK = 0, SRI_REFUSED = 1 };

typedef struct sri_guard sri_guard;

typedef struct sri_error {
    char text[1024]; /* one line of printable text */
} sri_error;

typedef enum sri_rule {
    SRI_FINAL,  /* judge finished generations */
    SRI_ONLINE, /* judge every length up to the row's own, as a monitor would have done while it ran */
} sri_rule;

typedef enum sri_status {
    SRI_UNMONITORED = 0, /* nothing is known: never "clear", and what a zeroed verdict says */
    SRI_CLEAR,
    SRI_FLAGGED,
} sri_status;

typedef enum sri_reason {
    SRI_NO_REASON = 0,
    SRI_SCORE_ABOVE_THRESHOLD,
    SRI_NON_FINITE_SIGNAL,
    SRI_SIGNAL_OUT_OF_RANGE,
    SRI_INCOMPLETE_SIGNAL,
    SRI_SCORE_NOT_FINITE,
} sri_reason;

/* What was accepted to differ between the signals and the guard: bits of `sri_verdict.accepted`, in this order. */
enum {
    SRI_DTYPE = 1,
    SRI_ADAPTER = 2,
    SRI_TORCH = 4,
    SRI_TRANSFORMERS = 8,
    SRI_SYSTEM_PROMPT = 16,
    SRI_UNVERIFIED = 32, /* the signals did not say what made them */
};

typedef struct sri_verdict {
    sri_status status;
    sri_rule rule;
    sri_reason reasons[2];    /* most important first; SRI_NO_REASON = none */
    bool scored;              /* false: score and p_value mean nothing */
    float score;              /* higher = more suspicious, in the detector's own unit */
    double threshold;         /* flagged when score > threshold */
    double p_value;           /* (1 + #{calibration scores >= score}) / (n + 1) */
    int64_t first_alarm_step; /* step that was done when the online rule first alarmed, from 0; -1 = none */
    unsigned accepted;        /* bits, see above */
    char bundle[65];          /* digest of the bundle that scored it */
} sri_verdict;

typedef struct sri_options {
    sri_rule rule;
    const char *fingerprint;   /* JSON object with `hard` and `soft`: what made the signals; NULL = not known */
    const char *const *accept; /* names of soft fields that may differ */
    size_t accept_count;
    bool unverified; /* score signals without a fingerprint, at the caller's risk */
} sri_options;

typedef struct sri_file {
    const char *name;
    const uint8_t *bytes;
    size_t size;
} sri_file;

/* Bytes of sri_verdict, sri_options, sri_file and sri_error, so that a binding notices at once if it declares another
 * layout. These structs are declared again in ../rust/src/native.rs: change both together. */
void sri_struct_sizes(size_t sizes[4]);

/* Opens a bundle folder.
 *
 * Refused: what is missing, listed but not there, there but not listed, not a plain file, too large, damaged, of
 * another format or of tier `python`, what onnxruntime cannot load, and what computes something else than the golden
 * vectors. `digest` (64 hex characters, or NULL) must then be the bundle's own: the one protection against tampering
 * here.
 */
int sri_guard_open(const char *folder, const char *digest, sri_guard **guard, sri_error *error);

/* The same for files in memory, `manifest.json` among them; `subject` names them in messages. Nothing is kept of them.
 */
int sri_guard_open_files(const char *subject, const sri_file *files, size_t count, const char *digest,
                         sri_guard **guard, sri_error *error);

void sri_guard_close(sri_guard *guard); /* NULL is fine */

size_t sri_guard_cells(const sri_guard *guard);       /* T */
size_t sri_guard_layers(const sri_guard *guard);      /* C */
const char *sri_guard_digest(const sri_guard *guard); /* 64 hex characters */
const char *sri_guard_domain(const sri_guard *guard); /* "sigma" or "logit": what `signals` must hold */
double sri_guard_threshold(const sri_guard *guard, sri_rule rule);

/* One verdict per generation.
 *
 * `signals` is [N, T, C] in the guard's domain, `lengths` [N] cells filled so far, 0..T (NULL = all T). A row that
 * cannot be scored is SRI_UNMONITORED and says why; it never fails its neighbours. Refused: no fingerprint without
 * `unverified`, a fingerprint of another model, tap or profile, and lengths outside 0..T. All verdicts are
 * SRI_UNMONITORED then.
 */
int sri_guard_score(const sri_guard *guard, const float *signals, const int64_t *lengths, size_t count,
                    const sri_options *options, sri_verdict *verdicts, sri_error *error);

/* The bare graphs, for streaming: [N, T, C] -> score [N], valid [N]. With `lengths` (cells known so far) it is the
 * score of running generations, to be compared with the threshold of SRI_ONLINE, and cells beyond a length are not
 * read; with NULL that of finished ones. Where `valid` is false the score is 3e38, which is above every threshold. */
int sri_guard_run(const sri_guard *guard, const float *signals, const int64_t *lengths, size_t count, float *score,
                  bool *valid, sri_error *error);

/* Signals as JSON lines, as `sri score` reads them:
 *
 *     {"sri_signals": 1, "fingerprint": {...}}                        optional first line
 *     {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}       a number per cell; a list per cell where C > 1
 *
 * The form the guard reads must be there. Refused with the number of the line: what is written twice, unknown, of
 * another kind, or too much at once. On success the caller frees `signals`, which may outlive the guard. */
typedef struct sri_signals sri_signals;

int sri_signals_read(const sri_guard *guard, const char *path, sri_signals **signals,
                     sri_error *error); /* "-" = standard input */

/* The same for bytes in memory, of which nothing is kept; `subject` names them in messages. */
int sri_signals_parse(const sri_guard *guard, const char *subject, const void *bytes, size_t size,
                      sri_signals **signals, sri_error *error);

void sri_signals_free(sri_signals *signals); /* NULL is fine */

size_t sri_signals_count(const sri_signals *signals);                /* N */
const char *sri_signals_id(const sri_signals *signals, size_t row);  /* UTF-8 */
const float *sri_signals_cells(const sri_signals *signals);          /* [N, T, C] in the guard's domain */
const int64_t *sri_signals_lengths(const sri_signals *signals);      /* [N] cells filled so far */
const char *sri_signals_fingerprint(const sri_signals *signals);     /* JSON text; NULL = none */

/* The verdict as one line of JSON, in the schema every runtime shares. `request_id` is UTF-8. Returns the length that
 * was needed, without the closing zero; the line is whole if that is less than `room`. */
size_t sri_verdict_json(const sri_verdict *verdict, const char *request_id, char *line, size_t room);

#ifdef __cplusplus
}
#endif
#endif
