/* Score a guard's bundle from C: read it or refuse it, then signals in, verdicts out.
 *
 *     sri_guard *guard;
 *     sri_verdicts *verdicts;
 *     sri_error error;
 *     if (sri_guard_open("guard/bundle", NULL, &guard, &error)) { fprintf(stderr, "%s\n", error.text); return 1; }
 *     sri_options options = {.rule = SRI_FINAL, .fingerprint = fingerprint};
 *     if (sri_guard_score(guard, signals, NULL, NULL, 2, &options, &verdicts, &error)) ...
 *     if (sri_verdicts_at(verdicts, 0)->status != SRI_CLEAR) ...      unmonitored is not clear
 *     sri_verdicts_free(verdicts);
 *     sri_guard_close(guard);
 *
 * Letters in shapes: N generations, T cells of the step grid, C columns of the signals, K parts of the guard. Arrays
 * are row-major float32. A guard of format 1 has one part, and its columns are the tapped layers.
 *
 * Every function that returns int returns SRI_OK, or SRI_REFUSED with one line in `error` that names the subject and
 * the reason. A guard is immutable once open and may be shared between threads. Nothing here writes a file or a log.
 *
 * For bindings: there are no callbacks, no bit fields, no unions and no varargs. Enums are passed as int and bool takes
 * one byte. Texts are UTF-8 and end with a zero. What a function hands out through a pointer is freed with the function
 * that its comment names; everything else belongs to the guard, the signals or the verdicts it came from.
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
    SRI_FINAL,   /* judge finished generations */
    SRI_ONLINE,  /* judge every length up to the row's own, as a monitor would have done while it ran */
    SRI_REQUEST, /* judge what the guard says of requests alone; not every guard has this rule */
} sri_rule;

typedef enum sri_status {
    SRI_UNMONITORED = 0, /* nothing is known: never "clear", and what a zeroed verdict says */
    SRI_CLEAR,
    SRI_FLAGGED,
} sri_status;

typedef enum sri_ended {
    SRI_END_UNKNOWN = 0,
    SRI_END_REFUSING,
    SRI_END_COMPLYING,
} sri_ended;

/* What was accepted to differ between the signals and the guard: bits of `sri_verdict.accepted`, in this order. */
enum {
    SRI_DTYPE = 1,
    SRI_ADAPTER = 2,
    SRI_TORCH = 4,
    SRI_TRANSFORMERS = 8,
    SRI_SYSTEM_PROMPT = 16,
    SRI_UNVERIFIED = 32, /* the signals did not say what made them */
};

enum {
    SRI_MOST_PARTS = 16,
    SRI_MOST_REASONS = 22, /* an alarm per part, five ways in which a part cannot be judged, and unknown_group */
};

/* What one part of a guard says of one generation. */
typedef struct sri_part_verdict {
    const char *name;
    sri_status status;
    bool scored;        /* false: score and p_value mean nothing */
    float score;        /* higher = more suspicious, in the detector's own unit */
    double threshold;   /* flagged when score > threshold */
    double p_value;     /* (1 + #{calibration scores >= score}) / (n + 1) */
    const char *reason; /* code of its alarm, or of why it could not be judged; NULL = it is clear */
} sri_part_verdict;

/* What a guard says of one generation. Texts and parts belong to the verdicts it came from. */
typedef struct sri_verdict {
    sri_status status;
    sri_rule rule;
    const char *reasons[SRI_MOST_REASONS]; /* codes, most important first; NULL behind the last */
    bool scored;                           /* false: score and p_value mean nothing */
    float score;                           /* of the part that decided */
    double threshold;                      /* flagged when score > threshold */
    double p_value;                        /* of the part that decided, times alpha over its share; 1 at most */
    int64_t first_alarm_step;      /* step that was done when the online rule first alarmed, from 0; -1 = none */
    int64_t judged_steps;          /* of a guard that decides on the first steps; -1 = none, or unmonitored */
    sri_ended ended;               /* how the generation ended, if the guard can tell */
    const char *group;             /* whose thresholds counted; NULL = the guard has no groups, or not the one given */
    const sri_part_verdict *parts; /* what each part of the rule says; NULL in schema 1 */
    size_t part_count;
    unsigned accepted; /* bits, see above */
    int schema;        /* 1, or 2 of guards of format 2 */
    char bundle[65];   /* digest of the bundle that scored it */
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

/* Bytes of sri_verdict, sri_part_verdict, sri_options, sri_file and sri_error, so that a binding notices at once if it
 * declares another layout. These structs are declared again in ../rust/src/native.rs and
 * ../java/src/main/java/sri/guard/CLibrary.java: change all of them together. */
void sri_struct_sizes(size_t sizes[5]);

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
size_t sri_guard_columns(const sri_guard *guard);     /* C */
size_t sri_guard_parts(const sri_guard *guard);       /* K */
int sri_guard_format(const sri_guard *guard);         /* of its bundle, 1 or 2 */
const char *sri_guard_digest(const sri_guard *guard); /* 64 hex characters */
const char *sri_guard_domain(const sri_guard *guard); /* "sigma" or "logit": what `signals` must hold */
bool sri_guard_has_rule(const sri_guard *guard, sri_rule rule);

/* Name of a column or a part, counted from 0; NULL = there is none, as in format 1. */
const char *sri_guard_column_name(const sri_guard *guard, size_t column);
const char *sri_guard_part_name(const sri_guard *guard, size_t part);

/* What scores of a part are compared with, flagged when above, for generations of `group` (NULL, or one that the guard
 * does not have = the largest of all groups). NaN = the rule does not judge this part. */
double sri_guard_threshold(const sri_guard *guard, sri_rule rule, size_t part, const char *group);

/* Verdicts on N generations; they outlive the guard. */
typedef struct sri_verdicts sri_verdicts;

/* One verdict per generation; on success the caller frees `verdicts` with sri_verdicts_free.
 *
 * `signals` is [N, T, C] in the guard's domain, `lengths` [N] cells filled so far, 0..T (NULL = all T). `groups` [N]
 * says to which group of prompts each belongs (NULL, or an entry that is NULL = not known); guards without groups do
 * not read it. A row that cannot be scored is SRI_UNMONITORED and says why; it never fails its neighbours. Refused: a
 * rule that the guard does not have, no fingerprint without `unverified`, a fingerprint of another model, tap or
 * profile, and lengths outside 0..T. There are no verdicts then: `verdicts` is NULL. */
int sri_guard_score(const sri_guard *guard, const float *signals, const int64_t *lengths, const char *const *groups,
                    size_t count, const sri_options *options, sri_verdicts **verdicts, sri_error *error);

size_t sri_verdicts_count(const sri_verdicts *verdicts);                      /* N */
const sri_verdict *sri_verdicts_at(const sri_verdicts *verdicts, size_t row); /* NULL = there is no such row */
void sri_verdicts_free(sri_verdicts *verdicts);                               /* NULL is fine */

/* The verdict as one line of JSON, in the schema every runtime shares. `request_id` is UTF-8. Returns the length that
 * was needed, without the closing zero; the line is whole if that is less than `room`. */
size_t sri_verdict_json(const sri_verdict *verdict, const char *request_id, char *line, size_t room);

/* The bare graphs, for streaming: [N, T, C] -> score [N, K], valid [N, K]. With `lengths` (cells known so far) it is
 * the score of running generations, to be compared with the thresholds of SRI_ONLINE, and cells beyond a length are not
 * read; with NULL that of finished ones. Where `valid` is false the score is 3e38, which is above every threshold. */
int sri_guard_run(const sri_guard *guard, const float *signals, const int64_t *lengths, size_t count, float *score,
                  bool *valid, sri_error *error);

/* Signals as JSON lines, as `sri score` reads them:
 *
 *     {"sri_signals": 1, "fingerprint": {...}, "columns": [...]}      optional first line
 *     {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}       a number per cell; a list per cell where C > 1
 *
 * The form the guard reads must be there; a line may name its `group`. Refused with the number of the line: what is
 * written twice, unknown, of another kind, of other columns, or too much at once. On success the caller frees `signals`
 * with sri_signals_free; they may outlive the guard. */
typedef struct sri_signals sri_signals;

int sri_signals_read(const sri_guard *guard, const char *path, sri_signals **signals,
                     sri_error *error); /* "-" = standard input */

/* The same for bytes in memory, of which nothing is kept; `subject` names them in messages. */
int sri_signals_parse(const sri_guard *guard, const char *subject, const void *bytes, size_t size,
                      sri_signals **signals, sri_error *error);

void sri_signals_free(sri_signals *signals); /* NULL is fine */

size_t sri_signals_count(const sri_signals *signals);               /* N */
const char *sri_signals_id(const sri_signals *signals, size_t row); /* UTF-8 */
const float *sri_signals_cells(const sri_signals *signals);         /* [N, T, C] in the guard's domain */
const int64_t *sri_signals_lengths(const sri_signals *signals);     /* [N] cells filled so far */
const char *const *sri_signals_groups(const sri_signals *signals);  /* [N], NULL = not named */
const char *sri_signals_fingerprint(const sri_signals *signals);    /* JSON text; NULL = none */

#ifdef __cplusplus
}
#endif
#endif
