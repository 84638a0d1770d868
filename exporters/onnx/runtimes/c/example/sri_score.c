/* Scores signals with a bundle, as `sri score --json` does.
 *
 *     sri_score BUNDLE SIGNALS.jsonl [--rule RULE] [--accept FIELD]... [--unverified] [--digest HEX]
 *     sri_score --check BUNDLE [--digest HEX]
 *     sri_score --check-many < VARIANTS
 *     sri_score --score-many < CALLS
 *
 * Verdicts go to standard output, one JSON object per line; a refusal is one line on standard error. Exit code: 0 done,
 * 1 refused, 2 called wrongly. `-` reads signals from standard input.
 *
 * --check-many opens many bundles in one process, for tests of damage: each line of standard input is the path of a
 * bundle, or path, file, byte and mask separated by tabs: the byte is changed (XOR) in memory before the bundle is
 * opened. It answers every line with `ok` and the digest, or `refused` and the reason.
 *
 * --score-many makes many calls in one process: each line of standard input has the words of one, separated by tabs.
 * Behind the verdicts of each call stands a line `done`, its exit code and, where it was refused, the reason.
 */
#define _POSIX_C_SOURCE 200809L

#include "../src/folder.h"
#include "../sri_guard.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2, MOST_ACCEPTED = 8, MOST_WORDS = 32, SLICE = 1024 };

struct arguments {
    const char *bundle, *signals, *digest;
    const char *accept[MOST_ACCEPTED];
    sri_options options;
    bool check, check_many, score_many;
};

static bool rule_of(const char *name, sri_rule *rule) {
    static const char *const names[] = {"final", "online", "request"}; /* by enum sri_rule */
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, names[i])) {
            *rule = (sri_rule)i;
            return true;
        }
    return false;
}

static bool parse(int count, char **words, struct arguments *a) {
    *a = (struct arguments){0};
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *next = i + 1 < count ? words[i + 1] : NULL;
        if (!strcmp(word, "--check")) a->check = true;
        else if (!strcmp(word, "--check-many")) a->check_many = true;
        else if (!strcmp(word, "--score-many")) a->score_many = true;
        else if (!strcmp(word, "--unverified")) a->options.unverified = true;
        else if (!strcmp(word, "--digest") && next) a->digest = words[++i];
        else if (!strcmp(word, "--rule") && next && rule_of(next, &a->options.rule)) i++;
        else if (!strcmp(word, "--accept") && next && a->options.accept_count < MOST_ACCEPTED)
            a->accept[a->options.accept_count++] = words[++i];
        else if (!strncmp(word, "--", 2)) return false;
        else if (!a->bundle) a->bundle = word;
        else if (!a->signals) a->signals = word;
        else return false;
    }
    a->options.accept = a->accept;
    return a->check_many || a->score_many ? !a->bundle : a->bundle && (a->check ? !a->signals : a->signals != NULL);
}

/* Some rows of the signals at a time: verdicts take more memory than numbers. */
static int print_verdicts(const sri_guard *guard, const sri_signals *s, const sri_options *options, sri_error *error) {
    size_t count = sri_signals_count(s), size = sri_guard_cells(guard) * sri_guard_columns(guard);
    int refused = SRI_OK;
    for (size_t at = 0; at < count && !refused; at += SLICE) {
        sri_verdicts *verdicts;
        refused = sri_guard_score(guard, sri_signals_cells(s) + at * size, sri_signals_lengths(s) + at,
                                  sri_signals_groups(s) + at, count - at < SLICE ? count - at : SLICE, options,
                                  &verdicts, error);
        for (size_t i = 0; !refused && i < sri_verdicts_count(verdicts); i++) {
            const sri_verdict *verdict = sri_verdicts_at(verdicts, i);
            const char *id = sri_signals_id(s, at + i);
            size_t room = sri_verdict_json(verdict, id, NULL, 0) + 1;
            char *line = malloc(room);
            if (!line) refused = out_of_memory(error, "signals");
            if (line && sri_verdict_json(verdict, id, line, room) < room) puts(line);
            free(line);
        }
        sri_verdicts_free(verdicts);
    }
    return refused;
}

static int score(const sri_guard *guard, struct arguments *a, sri_error *error) {
    sri_signals *s;
    if (sri_signals_read(guard, a->signals, &s, error)) return SRI_REFUSED;
    a->options.fingerprint = sri_signals_fingerprint(s);
    int refused = print_verdicts(guard, s, &a->options, error);
    sri_signals_free(s);
    return refused;
}

static int check_variant(char *line, sri_guard **guard, sri_error *error) {
    struct folder folder;
    char *fields[4] = {line, NULL, NULL, NULL};
    for (int i = 1; i < 4; i++) {
        char *tab = fields[i - 1] ? strchr(fields[i - 1], '\t') : NULL;
        if (tab) *tab = 0;
        fields[i] = tab ? tab + 1 : NULL;
    }
    if (folder_read(fields[0], &folder, error)) return SRI_REFUSED;
    bool changed = !fields[1];
    for (size_t i = 0; i < folder.count && fields[3]; i++) {
        unsigned long long at = strtoull(fields[2], NULL, 10);
        if (strcmp(folder.files[i].name, fields[1]) || at >= folder.files[i].size) continue;
        ((uint8_t *)(uintptr_t)folder.files[i].bytes)[at] ^= (uint8_t)strtoul(fields[3], NULL, 10);
        changed = true;
    }
    int refused = changed ? sri_guard_open_files(fields[0], folder.files, folder.count, NULL, guard, error)
                          : fail(error, "%s: no such byte", fields[0]);
    folder_free(&folder);
    return refused;
}

static void check_many(void) {
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) >= 0) {
        sri_guard *guard = NULL;
        sri_error error;
        line[strcspn(line, "\n")] = 0;
        if (check_variant(line, &guard, &error)) printf("refused\t%s\n", error.text);
        else printf("ok\t%s\n", sri_guard_digest(guard));
        sri_guard_close(guard);
    }
    free(line);
}

static int call(struct arguments *a, sri_error *error) {
    sri_guard *guard = NULL;
    int refused = sri_guard_open(a->bundle, a->digest, &guard, error);
    if (!refused && a->check) printf("ok\t%s\n", sri_guard_digest(guard));
    else if (!refused) refused = score(guard, a, error);
    sri_guard_close(guard);
    return refused ? REFUSED : DONE;
}

static void score_many(void) {
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) >= 0) {
        char *words[MOST_WORDS] = {line}; /* The first is skipped, like a program's name. */
        struct arguments a;
        sri_error error = {{0}};
        int count = 1;
        line[strcspn(line, "\n")] = 0;
        for (char *at = line; at && count < MOST_WORDS;) {
            words[count++] = at;
            if ((at = strchr(at, '\t'))) *at++ = 0;
        }
        int code = parse(count, words, &a) && a.bundle ? call(&a, &error) : USAGE;
        printf("done\t%d%s%s\n", code, *error.text ? "\t" : "", error.text);
    }
    free(line);
}

int main(int count, char **words) {
    struct arguments a;
    sri_error error;
    if (!parse(count, words, &a)) {
        fputs("usage: sri_score BUNDLE SIGNALS.jsonl [--rule final|online|request] [--accept FIELD]... "
              "[--unverified] [--digest HEX]\n"
              "       sri_score --check BUNDLE [--digest HEX]\n"
              "       sri_score --check-many < VARIANTS\n       sri_score --score-many < CALLS\n",
              stderr);
        return USAGE;
    }
    if (a.check_many) check_many();
    else if (a.score_many) score_many();
    else if (call(&a, &error)) return fprintf(stderr, "%s\n", error.text), REFUSED;
    return DONE;
}
