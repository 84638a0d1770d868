/* A small strict JSON reader: a document becomes a flat array of nodes that point into its text. Nothing is copied.
 * Beside JSON it refuses what readers disagree on: a key written twice, numbers of more than 63 characters or that no
 * double holds, integers beyond 2^53 - 1, half a surrogate pair, more than 64 levels or 2^20 values.
 * ../vectors/refusals.json has cases.
 *
 * A container's node is followed by its children, and `next` leads behind them. An object's children alternate key and
 * value. Node 0 is the root, so 0 also says "not found".
 */
#ifndef SRI_JSON_PARSE_H
#define SRI_JSON_PARSE_H

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

/* Bits, so that a check can allow several. */
enum json_kind {
    JSON_NULL = 1,
    JSON_FALSE = 2,
    JSON_TRUE = 4,
    JSON_BOOL = JSON_FALSE | JSON_TRUE,
    JSON_NUMBER = 8,
    JSON_TEXT = 16,
    JSON_ARRAY = 32,
    JSON_OBJECT = 64,
    JSON_ANY = 127,
};

enum { JSON_DEPTH = 64, JSON_VALUES = 1 << 20, JSON_DIGITS = 63 };

struct json_node {
    uint32_t kind;
    uint32_t start, end; /* in the text; of a text without its quotes */
    uint32_t next;       /* node behind this one and its children */
    uint32_t count;      /* children; an object's members */
};

struct json {
    const char *text;
    size_t size;
    bool not_finite; /* NaN, Infinity and -Infinity are numbers too, as in signals */
    struct json_node *nodes;
    size_t count, room;
    size_t values;       /* nodes that are not keys */
    size_t at;           /* where reading stopped */
    const char *problem; /* why, in words; NULL = it did not */
};

static inline bool json_stop(struct json *doc, const char *problem) {
    if (!doc->problem) doc->problem = problem;
    return false;
}

static inline bool json_more(const struct json *doc) { return doc->at < doc->size; }

static inline bool json_eat(struct json *doc, char c) {
    if (!json_more(doc) || doc->text[doc->at] != c) return false;
    doc->at++;
    return true;
}

static inline void json_blanks(struct json *doc) {
    while (json_more(doc) && memchr(" \t\r\n", doc->text[doc->at], 4)) doc->at++;
}

static inline bool json_word(struct json *doc, const char *word) {
    size_t length = strlen(word);
    if (doc->size - doc->at < length || memcmp(doc->text + doc->at, word, length)) return false;
    doc->at += length;
    return true;
}

static inline bool json_node(struct json *doc, uint32_t kind, uint32_t *index) {
    if (doc->count == doc->room) {
        size_t room = doc->room ? 2 * doc->room : 256;
        struct json_node *nodes = realloc(doc->nodes, room * sizeof *nodes);
        if (!nodes) return json_stop(doc, "not enough memory");
        doc->nodes = nodes;
        doc->room = room;
    }
    *index = (uint32_t)doc->count++;
    uint32_t at = (uint32_t)doc->at;
    doc->nodes[*index] = (struct json_node){.kind = kind, .start = at, .end = at, .next = *index + 1};
    return true;
}

static inline size_t json_digits(struct json *doc) {
    size_t from = doc->at;
    while (json_more(doc) && doc->text[doc->at] >= '0' && doc->text[doc->at] <= '9') doc->at++;
    return doc->at - from;
}

/* A number, read with a point whatever the program's locale says; NaN if it is too long. */
static inline double json_double(const char *text, size_t size) {
    char digits[JSON_DIGITS + 1];
    if (size > JSON_DIGITS) return (double)NAN;
    memcpy(digits, text, size);
    digits[size] = 0;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return (double)NAN;
    locale_t before = uselocale(plain);
    double value = strtod(digits, NULL);
    uselocale(before);
    freelocale(plain);
    return value;
}

/* What every language reads as the same number: integers up to 2^53 - 1, and other numbers that a double holds. */
static inline bool json_fits(struct json *doc, size_t from) {
    bool whole = true;
    for (size_t i = from; i < doc->at; i++) whole = whole && !memchr(".eE", doc->text[i], 3);
    double value = json_double(doc->text + from, doc->at - from);
    if (whole && !(fabs(value) < 9007199254740992.0)) return json_stop(doc, "an integer beyond 2^53 - 1");
    return isfinite(value) || json_stop(doc, "a number that no double holds");
}

static inline bool json_number_text(struct json *doc) {
    size_t from = doc->at;
    json_eat(doc, '-');
    if (doc->not_finite && json_word(doc, "Infinity")) return true;
    bool zero = json_more(doc) && doc->text[doc->at] == '0';
    size_t digits = json_digits(doc);
    if (!digits || (zero && digits > 1)) return json_stop(doc, "not a value");
    if (json_eat(doc, '.') && !json_digits(doc)) return json_stop(doc, "a number without digits");
    if (json_eat(doc, 'e') || json_eat(doc, 'E')) {
        if (!json_eat(doc, '-')) json_eat(doc, '+');
        if (!json_digits(doc)) return json_stop(doc, "a number without digits");
    }
    if (doc->at - from > JSON_DIGITS) return json_stop(doc, "a number with too many digits");
    return json_fits(doc, from);
}

static inline bool json_escape(struct json *doc) {
    if (!json_more(doc)) return json_stop(doc, "a text without an end");
    char c = doc->text[doc->at++];
    if (c != 'u') return memchr("\"\\/bfnrt", c, 8) || json_stop(doc, "an unknown escape");
    for (int i = 0; i < 4; i++) {
        char digit = json_more(doc) ? doc->text[doc->at] : 0;
        if (!digit || !strchr("0123456789abcdefABCDEF", digit)) return json_stop(doc, "an unknown escape");
        doc->at++;
    }
    return true;
}

/* One character of a text after another as UTF-8 bytes, escapes resolved. */
struct json_bytes {
    const char *at, *end;
    unsigned char waiting[4];
    int left;
};

static inline unsigned json_hex(const char *digits) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++)
        value = value * 16 + (unsigned)(strchr("0123456789abcdef", digits[i] | 32) - "0123456789abcdef");
    return value;
}

/* The next byte; -1 at the end, -2 where half a surrogate pair stands alone. */
static inline int json_byte(struct json_bytes *bytes) {
    if (bytes->left) return bytes->waiting[--bytes->left];
    if (bytes->at == bytes->end) return -1;
    if (*bytes->at != '\\') return (unsigned char)*bytes->at++;
    char c = bytes->at[1];
    bytes->at += 2;
    if (c != 'u') return c == 'b' ? '\b' : c == 'f' ? '\f' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
    unsigned code = json_hex(bytes->at);
    bytes->at += 4;
    if (code >= 0xd800 && code < 0xe000) {
        if (code >= 0xdc00 || bytes->end - bytes->at < 6 || bytes->at[0] != '\\' || bytes->at[1] != 'u') return -2;
        unsigned low = json_hex(bytes->at + 2);
        if (low < 0xdc00 || low > 0xdfff) return -2;
        bytes->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code < 0x80) return (int)code;
    int tail = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    for (int i = 0; i < tail; i++) bytes->waiting[bytes->left++] = (unsigned char)(0x80 | (code >> 6 * i & 63));
    return (int)((0xff80u >> tail & 0xffu) | code >> 6 * tail);
}

static inline struct json_bytes json_bytes_of(const struct json *doc, uint32_t node) {
    return (struct json_bytes){.at = doc->text + doc->nodes[node].start, .end = doc->text + doc->nodes[node].end};
}

static inline bool json_text_node(struct json *doc) {
    uint32_t index;
    bool escapes = false; /* The one way to write half a surrogate pair. */
    if (!json_eat(doc, '"')) return json_stop(doc, "no text where one must be");
    if (!json_node(doc, JSON_TEXT, &index)) return false;
    while (json_more(doc) && doc->text[doc->at] != '"') {
        unsigned char c = (unsigned char)doc->text[doc->at];
        if (c < 32) return json_stop(doc, "a control character in a text");
        if (c >= 128) {
            size_t bytes = utf8_size((const unsigned char *)doc->text + doc->at, doc->size - doc->at);
            if (!bytes) return json_stop(doc, "bytes that are not UTF-8");
            doc->at += bytes;
        } else {
            doc->at++;
            escapes = escapes || c == '\\';
            if (c == '\\' && !json_escape(doc)) return false;
        }
    }
    doc->nodes[index].end = (uint32_t)doc->at;
    if (!json_eat(doc, '"')) return json_stop(doc, "a text without an end");
    struct json_bytes bytes = json_bytes_of(doc, index);
    int byte = 0;
    while (escapes && byte >= 0) byte = json_byte(&bytes);
    return byte != -2 || json_stop(doc, "half a surrogate pair");
}

/* Below 0, 0 or above: the order of two texts, by code points. Half a surrogate pair is below everything. */
static inline int json_order(const struct json *a, uint32_t i, const struct json *b, uint32_t k) {
    struct json_bytes left = json_bytes_of(a, i), right = json_bytes_of(b, k);
    for (;;) {
        int one = json_byte(&left), two = json_byte(&right);
        if (one != two || one < 0) return one - two;
    }
}

/* Lets the key at `at` of a heap of `count` sink to where it belongs. */
static inline void json_sink(const struct json *doc, uint32_t *keys, uint32_t at, uint32_t count) {
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && json_order(doc, keys[child], doc, keys[child + 1]) < 0) child++;
        if (json_order(doc, keys[at], doc, keys[child]) >= 0) return;
        uint32_t key = keys[at];
        keys[at] = keys[child];
        keys[child] = key;
    }
}

/* Whether no key of an object is there twice. Sorted first, because there may be hundreds of thousands. */
static inline bool json_keys_differ(struct json *doc, uint32_t object) {
    uint32_t count = doc->nodes[object].count, at = object + 1;
    uint32_t *keys = malloc(count * sizeof *keys);
    if (!keys) return json_stop(doc, "not enough memory");
    for (uint32_t i = 0; i < count; i++, at = doc->nodes[at + 1].next) keys[i] = at;
    for (uint32_t i = count / 2; i-- > 0;) json_sink(doc, keys, i, count);
    bool differ = true;
    for (uint32_t left = count - 1; left > 0 && differ; left--) {
        uint32_t key = keys[0];
        keys[0] = keys[left];
        keys[left] = key;
        json_sink(doc, keys, 0, left);
        differ = json_order(doc, keys[0], doc, key) != 0;
    }
    free(keys);
    return differ || json_stop(doc, "a key that is there twice");
}

static inline bool json_value(struct json *doc, int depth) {
    static const struct {
        const char *word;
        uint32_t kind;
        bool not_finite;
    } words[] = {
        {"null", JSON_NULL, false},
        {"true", JSON_TRUE, false},
        {"false", JSON_FALSE, false},
        {"NaN", JSON_NUMBER, true},
    };
    uint32_t index;
    if (doc->values++ == JSON_VALUES) return json_stop(doc, "too many values");
    json_blanks(doc);
    if (!json_more(doc)) return json_stop(doc, "it ends too early");
    char c = doc->text[doc->at];
    if (c == '"') return json_text_node(doc);
    if (c != '{' && c != '[') {
        if (!json_node(doc, JSON_NUMBER, &index)) return false;
        bool known = false;
        for (size_t i = 0; i < sizeof words / sizeof *words && !known; i++)
            if ((doc->not_finite || !words[i].not_finite) && json_word(doc, words[i].word)) {
                doc->nodes[index].kind = words[i].kind;
                known = true;
            }
        if (!known && !json_number_text(doc)) return false;
        doc->nodes[index].end = (uint32_t)doc->at;
        return true;
    }
    if (depth == JSON_DEPTH) return json_stop(doc, "too many levels");
    if (!json_node(doc, c == '{' ? JSON_OBJECT : JSON_ARRAY, &index)) return false;
    doc->at++;
    json_blanks(doc);
    char close = c == '{' ? '}' : ']';
    uint32_t count = 0, last = 0;
    bool sorted = true;
    while (!json_eat(doc, close)) {
        if (count && !json_eat(doc, ',')) return json_stop(doc, "no comma between two values");
        if (c == '{') {
            uint32_t key = (uint32_t)doc->count;
            json_blanks(doc);
            if (!json_text_node(doc)) return false;
            sorted = sorted && (!count || json_order(doc, last, doc, key) < 0);
            last = key;
            json_blanks(doc);
            if (!json_eat(doc, ':')) return json_stop(doc, "no colon behind a key");
        }
        if (!json_value(doc, depth + 1)) return false;
        json_blanks(doc);
        count++;
    }
    doc->nodes[index].count = count;
    doc->nodes[index].end = (uint32_t)doc->at;
    doc->nodes[index].next = (uint32_t)doc->count;
    return sorted || json_keys_differ(doc, index);
}

/* Reads `text`, which must outlive the document. False: `problem` says why. json_free in either case. */
static inline bool json_read(struct json *doc, const char *text, size_t size, bool not_finite) {
    *doc = (struct json){.text = text, .size = size, .not_finite = not_finite};
    if (size >= UINT32_MAX) return json_stop(doc, "too large");
    if (!json_value(doc, 0)) return false;
    json_blanks(doc);
    return !json_more(doc) || json_stop(doc, "something behind the end");
}

static inline void json_free(struct json *doc) {
    free(doc->nodes);
    doc->nodes = NULL;
}

#endif
