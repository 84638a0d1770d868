/* A small strict JSON reader: a document becomes a flat array of nodes that point into its text. Nothing is copied.
 * Of a manifest it wants ASCII, and keys in order, as its writer sorts them: so no key can be there twice.
 *
 * A container's node is followed by its children, and `next` leads behind them. An object's children alternate key and
 * value. Node 0 is the root, so 0 also says "not found".
 */
#ifndef SRI_JSON_PARSE_H
#define SRI_JSON_PARSE_H

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

enum { JSON_DEPTH = 64, JSON_NODES = 1 << 20, JSON_DIGITS = 63 };

struct json_node {
    uint32_t kind;
    uint32_t start, end; /* in the text; of a text without its quotes */
    uint32_t next;       /* node behind this one and its children */
    uint32_t count;      /* children; an object's members */
};

struct json {
    const char *text;
    size_t size;
    bool loose; /* also NaN and Infinity, as Python writes them, UTF-8 instead of ASCII, and keys in any order */
    struct json_node *nodes;
    size_t count, room;
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
        if (room > JSON_NODES) return json_stop(doc, "too many values");
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

static inline bool json_number_text(struct json *doc) {
    size_t from = doc->at;
    json_eat(doc, '-');
    if (doc->loose && json_word(doc, "Infinity")) return true;
    bool zero = json_more(doc) && doc->text[doc->at] == '0';
    size_t digits = json_digits(doc);
    if (!digits || (zero && digits > 1)) return json_stop(doc, "not a value");
    if (json_eat(doc, '.') && !json_digits(doc)) return json_stop(doc, "a number without digits");
    if (json_eat(doc, 'e') || json_eat(doc, 'E')) {
        if (!json_eat(doc, '-')) json_eat(doc, '+');
        if (!json_digits(doc)) return json_stop(doc, "a number without digits");
    }
    return doc->at - from <= JSON_DIGITS || json_stop(doc, "a number with too many digits");
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

static inline bool json_text_node(struct json *doc) {
    uint32_t index;
    if (!json_eat(doc, '"')) return json_stop(doc, "no text where one must be");
    if (!json_node(doc, JSON_TEXT, &index)) return false;
    while (json_more(doc) && doc->text[doc->at] != '"') {
        unsigned char c = (unsigned char)doc->text[doc->at];
        if (c < 32) return json_stop(doc, "a control character in a text");
        if (c >= 128) {
            size_t bytes = doc->loose ? utf8_size((const unsigned char *)doc->text + doc->at, doc->size - doc->at) : 0;
            if (!bytes) return json_stop(doc, doc->loose ? "bytes that are not UTF-8" : "a byte that is not ASCII");
            doc->at += bytes;
        } else {
            doc->at++;
            if (c == '\\' && !json_escape(doc)) return false;
        }
    }
    doc->nodes[index].end = (uint32_t)doc->at;
    return json_eat(doc, '"') || json_stop(doc, "a text without an end");
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

/* Below 0, 0 or above: the order of two texts, by code points. Half a surrogate pair is below everything. */
static inline int json_order(const struct json *a, uint32_t i, const struct json *b, uint32_t k) {
    struct json_bytes left = json_bytes_of(a, i), right = json_bytes_of(b, k);
    for (;;) {
        int one = json_byte(&left), two = json_byte(&right);
        if (one != two || one < 0) return one - two;
    }
}

static inline bool json_value(struct json *doc, int depth) {
    static const struct {
        const char *word;
        uint32_t kind;
        bool loose;
    } words[] = {
        {"null", JSON_NULL, false},
        {"true", JSON_TRUE, false},
        {"false", JSON_FALSE, false},
        {"NaN", JSON_NUMBER, true},
    };
    uint32_t index;
    json_blanks(doc);
    if (!json_more(doc)) return json_stop(doc, "it ends too early");
    char c = doc->text[doc->at];
    if (c == '"') return json_text_node(doc);
    if (c != '{' && c != '[') {
        if (!json_node(doc, JSON_NUMBER, &index)) return false;
        bool known = false;
        for (size_t i = 0; i < sizeof words / sizeof *words && !known; i++)
            if ((doc->loose || !words[i].loose) && json_word(doc, words[i].word)) {
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
    while (!json_eat(doc, close)) {
        if (count && !json_eat(doc, ',')) return json_stop(doc, "no comma between two values");
        if (c == '{') {
            uint32_t key = (uint32_t)doc->count;
            json_blanks(doc);
            if (!json_text_node(doc)) return false;
            if (last && !doc->loose && json_order(doc, last, doc, key) >= 0)
                return json_stop(doc, "a key that is there twice, or out of order");
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
    return true;
}

/* Reads `text`, which must outlive the document. False: `problem` says why. json_free in either case. */
static inline bool json_read(struct json *doc, const char *text, size_t size, bool loose) {
    *doc = (struct json){.text = text, .size = size, .loose = loose};
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
