/* What a program may do with the C library beyond the example: threads, locales, short buffers, streaming. Prints what
 * is wrong; called with a bundle of 16 cells and one layer, a locale that writes a comma in numbers, another bundle whose
 * score is NaN, and called valid, where the first cell is 0.25, and the bundle `groups` of the test vectors. */
#define _POSIX_C_SOURCE 200809L

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sri_guard.h"

enum { THREADS = 4, ROWS = 8, CELLS = 16, TIMES = 25 };

static int problems;
static sri_guard *guard;
static float signals[ROWS][CELLS];
static char expected[ROWS][1024];

static void check(bool fine, const char *problem) {
    if (!fine) printf("%s\n", problem), problems++;
}

static void score(char lines[ROWS][1024]) {
    const sri_options options = {.rule = SRI_ONLINE, .unverified = true};
    sri_verdicts *verdicts;
    sri_error error;
    check(!sri_guard_score(guard, *signals, NULL, NULL, ROWS, &options, &verdicts, &error), "scoring is refused");
    check(sri_verdicts_count(verdicts) == ROWS && !sri_verdicts_at(verdicts, ROWS), "another number of verdicts");
    for (size_t row = 0; row < ROWS; row++)
        sri_verdict_json(sri_verdicts_at(verdicts, row), "id", lines[row], sizeof *lines);
    sri_verdicts_free(verdicts);
}

static void *score_often(void *different) {
    char lines[ROWS][1024];
    for (int i = 0; i < TIMES; i++) {
        score(lines);
        for (int row = 0; row < ROWS; row++)
            if (strcmp(lines[row], expected[row])) *(bool *)different = true;
    }
    return NULL;
}

static void threads(void) {
    pthread_t running[THREADS];
    bool different[THREADS] = {false};
    for (int i = 0; i < THREADS; i++) pthread_create(&running[i], NULL, score_often, &different[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(running[i], NULL), check(!different[i], "a thread found other verdicts");
}

static void locales(const char *folder, const char *name) {
    char lines[ROWS][1024], number[32];
    sri_error error;
    if (!setlocale(LC_ALL, name)) {
        printf("no locale %s\n", name);
        problems++;
        return;
    }
    snprintf(number, sizeof number, "%.1f", 0.5);
    check(!strcmp(number, "0,5"), "the locale writes no comma");
    sri_guard_close(guard);
    if (sri_guard_open(folder, NULL, &guard, &error)) {
        printf("the locale keeps a bundle from opening: %s\n", error.text);
        exit(1);
    }
    score(lines);
    for (int row = 0; row < ROWS; row++) check(!strcmp(lines[row], expected[row]), "the locale changes a verdict");
    setlocale(LC_ALL, "C");
}

static void short_buffers(void) {
    char line[1024];
    sri_verdict verdict = {.first_alarm_step = -1};
    size_t whole = sri_verdict_json(&verdict, "a \"quoted\" id\n", line, sizeof line);
    check(whole == strlen(line) && strstr(line, "\"a \\\"quoted\\\" id\\u000a\""), "a verdict is not whole");
    check(strstr(line, "\"status\": \"unmonitored\"") != NULL, "a zeroed verdict is not unmonitored");
    for (size_t room = 0; room <= whole + 1; room++) {
        char *small = malloc(room + 1); /* Exactly as large as said: a sanitizer sees the byte behind it. */
        char *exact = room ? realloc(small, room) : small;
        check(sri_verdict_json(&verdict, "a \"quoted\" id\n", exact, room) == whole, "another length");
        if (room) check(strlen(exact) == (room > whole ? whole : room - 1), "a short line is not closed");
        free(exact);
    }
}

static void streaming(void) {
    const int64_t lengths[4] = {-1, 0, 1, CELLS + 1};
    float rows[4][CELLS], scores[4];
    bool valid[4];
    sri_error error;
    for (int i = 0; i < 4; i++)
        for (int cell = 0; cell < CELLS; cell++) rows[i][cell] = cell ? (float)NAN : signals[0][0];
    check(!sri_guard_run(guard, *rows, lengths, 4, scores, valid, &error), "streaming is refused");
    check(!valid[0] && !valid[1] && valid[2] && !valid[3],
          "lengths that do not exist are valid, or one that does is not");
    check((double)scores[0] > sri_guard_threshold(guard, SRI_ONLINE, 0, NULL), "an invalid score is not above the threshold");
    check(!sri_guard_run(guard, *rows, NULL, 1, scores, valid, &error) && !valid[0], "a row with NaN is valid");
}

static void lies(const char *folder) {
    const int64_t lengths[2] = {CELLS, 1};
    float rows[2][CELLS], scores[2];
    bool valid[2];
    sri_guard *liar;
    sri_error error;
    for (int row = 0; row < 2; row++)
        for (int cell = 0; cell < CELLS; cell++) rows[row][cell] = cell ? 0.8f : 0.25f;
    if (sri_guard_open(folder, NULL, &liar, &error)) {
        printf("the lying bundle does not open: %s\n", error.text);
        exit(1);
    }
    for (int prefix = 0; prefix < 2; prefix++) {
        check(!sri_guard_run(liar, *rows, prefix ? lengths : NULL, 2, scores, valid, &error), "a lie is refused");
        for (int row = 0; row < 2; row++) check(!valid[row] && scores[row] == 3e38f, "a score of NaN is believed");
    }
    sri_guard_close(liar);
}

static void wrong_calls(const char *folder) {
    const sri_options options = {.unverified = true};
    const int64_t lengths[ROWS] = {CELLS, CELLS + 1};
    const sri_file twice[] = {{"manifest.json", (const uint8_t *)"{}", 2}, {"manifest.json", (const uint8_t *)"{}", 2}};
    const sri_options request = {.rule = SRI_REQUEST, .unverified = true}, never = {.rule = (sri_rule)7};
    sri_verdicts *verdicts;
    sri_guard *other = guard;
    sri_error error;
    check(sri_guard_score(guard, *signals, lengths, NULL, ROWS, &options, &verdicts, &error) == SRI_REFUSED,
          "a length beyond T");
    check(!verdicts, "there are verdicts of a refused call");
    check(sri_guard_score(guard, *signals, NULL, NULL, ROWS, &request, &verdicts, &error) == SRI_REFUSED &&
              strstr(error.text, "allowed: final, online."),
          "a rule that the guard does not have");
    check(sri_guard_score(guard, *signals, NULL, NULL, ROWS, &never, &verdicts, &error) == SRI_REFUSED, "no rule");
    check(!sri_guard_score(guard, *signals, NULL, NULL, 0, &options, &verdicts, NULL), "no rows are refused");
    check(!sri_verdicts_count(verdicts) && !sri_verdicts_at(verdicts, 0), "there are verdicts on no rows");
    sri_verdicts_free(verdicts), sri_verdicts_free(NULL);
    check(sri_guard_open("/nonexistent", NULL, &other, NULL) == SRI_REFUSED && !other, "a failed open gives a guard");
    check(sri_guard_open_files(folder, twice, 2, NULL, &other, &error) == SRI_REFUSED && strstr(error.text, "twice"),
          "twice");
    check(sri_guard_open_files(folder, twice, 0, NULL, &other, &error) == SRI_REFUSED, "no files");
    sri_guard_close(NULL);
}

/* Two parts, three groups, and logits; the last two groups have one threshold, which is the largest. */
static void parts(const char *folder) {
    enum { T = 6, C = 2, K = 2, N = 3 };
    const char *const groups[N] = {"de", "nobody", NULL};
    const sri_options options = {.rule = SRI_REQUEST, .unverified = true};
    float rows[N][T][C], scores[N][K];
    bool valid[N][K];
    sri_guard *grouped;
    sri_verdicts *verdicts;
    sri_error error;
    for (int i = 0; i < N * T * C; i++) rows[i / (T * C)][i / C % T][i % C] = i % C ? -9 : 1.5f;
    if (sri_guard_open(folder, NULL, &grouped, &error)) {
        printf("the bundle with groups does not open: %s\n", error.text);
        exit(1);
    }
    check(sri_guard_format(grouped) == 2 && sri_guard_cells(grouped) == T && sri_guard_columns(grouped) == C &&
              sri_guard_parts(grouped) == K,
          "another size");
    check(!strcmp(sri_guard_column_name(grouped, 1), "request") && !sri_guard_column_name(grouped, C) &&
              !strcmp(sri_guard_part_name(grouped, 1), "harm") && !sri_guard_part_name(grouped, K),
          "other names");
    double german = sri_guard_threshold(grouped, SRI_REQUEST, 1, "de");
    double largest = sri_guard_threshold(grouped, SRI_REQUEST, 1, "en");
    check(german < largest && sri_guard_threshold(grouped, SRI_REQUEST, 1, NULL) == largest &&
              sri_guard_threshold(grouped, SRI_REQUEST, 1, "nobody") == largest,
          "other thresholds");
    check(isnan(sri_guard_threshold(grouped, SRI_REQUEST, 0, NULL)) &&
              isnan(sri_guard_threshold(grouped, SRI_FINAL, K, NULL)),
          "thresholds of parts that are not there");
    check(!sri_guard_run(grouped, **rows, NULL, N, *scores, *valid, &error) && valid[0][1] &&
              (double)scores[0][1] > largest,
          "bare scores of parts");
    if (sri_guard_score(grouped, **rows, NULL, groups, N, &options, &verdicts, &error)) {
        printf("parts are not judged: %s\n", error.text);
        exit(1);
    }
    sri_guard_close(grouped); /* Verdicts stay. */
    for (size_t row = 0; row < N; row++) {
        const sri_verdict *v = sri_verdicts_at(verdicts, row);
        check(v->status == SRI_FLAGGED && v->schema == 2 && v->part_count == 1 && !strcmp(v->parts[0].name, "harm") &&
                  !strcmp(v->reasons[0], "not_as_usual") && v->threshold == (row ? largest : german),
              "another verdict on parts");
        check(row ? !v->group && !strcmp(v->reasons[1], "unknown_group") : !strcmp(v->group, "de") && !v->reasons[1],
              "another group");
    }
    sri_verdicts_free(verdicts);
}

int main(int count, char **words) {
    sri_error error;
    if (count != 5 || sri_guard_open(words[1], NULL, &guard, &error)) return printf("%s\n", error.text), 1;
    for (int row = 0; row < ROWS; row++)
        for (int cell = 0; cell < CELLS; cell++) signals[row][cell] = 0.5f + 0.4f * sinf((float)(row * cell));
    score(expected);
    threads();
    locales(words[1], words[2]);
    short_buffers();
    streaming();
    lies(words[3]);
    parts(words[4]);
    wrong_calls(words[1]);
    sri_guard_close(guard);
    return problems ? 1 : 0;
}
