/* What a JSON document says: members, texts, numbers, equality. */
#ifndef SRI_JSON_H
#define SRI_JSON_H

#include "json_parse.h"

/* Writes a text with a closing zero; `room` of (end - start + 1) is always enough. False: it cannot be written so. */
static inline bool json_copy(const struct json *doc, uint32_t node, char *out, size_t room) {
    struct json_bytes bytes = json_bytes_of(doc, node);
    for (size_t i = 0; i < room; i++) {
        int byte = json_byte(&bytes);
        out[i] = (char)(byte < 0 ? 0 : byte);
        if (byte <= 0) return byte == -1;
    }
    return false;
}

static inline bool json_is(const struct json *doc, uint32_t node, const char *word) {
    if (doc->nodes[node].kind != JSON_TEXT) return false;
    struct json_bytes bytes = json_bytes_of(doc, node);
    for (;; word++) {
        int byte = json_byte(&bytes);
        if (byte == -1) return !*word;
        if (!*word || byte != (unsigned char)*word) return false;
    }
}

/* The value of a key, else 0; keys differ, or the document would not have been read. */
static inline uint32_t json_get(const struct json *doc, uint32_t object, const char *key) {
    if (doc->nodes[object].kind != JSON_OBJECT) return 0;
    for (uint32_t at = object + 1; at < doc->nodes[object].next; at = doc->nodes[at + 1].next)
        if (json_is(doc, at, key)) return at + 1;
    return 0;
}

/* A number as a double, read with a point whatever the program's locale says; NaN if it is no number. */
static inline double json_number(const struct json *doc, uint32_t node) {
    const struct json_node *n = &doc->nodes[node];
    return n->kind == JSON_NUMBER ? json_double(doc->text + n->start, n->end - n->start) : (double)NAN;
}

static inline bool json_same_text(const struct json *a, uint32_t i, const struct json *b, uint32_t k) {
    struct json_bytes left = json_bytes_of(a, i), right = json_bytes_of(b, k);
    for (;;) {
        int one = json_byte(&left), two = json_byte(&right);
        if (one != two || one == -2) return false;
        if (one == -1) return true;
    }
}

/* The value of the key that is the text `key` of another document, else 0. */
static inline uint32_t json_find(const struct json *doc, uint32_t object, const struct json *other, uint32_t key) {
    if (doc->nodes[object].kind != JSON_OBJECT) return 0;
    for (uint32_t at = object + 1; at < doc->nodes[object].next; at = doc->nodes[at + 1].next)
        if (json_same_text(doc, at, other, key)) return at + 1;
    return 0;
}

static inline bool json_whole(const struct json *doc, uint32_t node) {
    for (uint32_t i = doc->nodes[node].start; i < doc->nodes[node].end; i++)
        if (!strchr("-0123456789", doc->text[i])) return false;
    return true;
}

/* Whether two values are equal: members in any order, 1 equal to 1.0. */
static inline bool json_same(const struct json *a, uint32_t i, const struct json *b, uint32_t k) {
    const struct json_node *one = &a->nodes[i], *two = &b->nodes[k];
    if (one->kind != two->kind || one->count != two->count) return false;
    if (one->kind == JSON_TEXT) return json_same_text(a, i, b, k);
    if (one->kind == JSON_NUMBER) {
        size_t size = one->end - one->start;
        bool spelt_alike = size == two->end - two->start && !memcmp(a->text + one->start, b->text + two->start, size);
        if (json_whole(a, i) && json_whole(b, k)) return spelt_alike; /* A double would round long ones. */
        return json_number(a, i) == json_number(b, k);
    }
    if (one->kind == JSON_ARRAY) {
        for (i++, k++; i < one->next; i = a->nodes[i].next, k = b->nodes[k].next)
            if (!json_same(a, i, b, k)) return false;
    }
    if (one->kind == JSON_OBJECT) {
        for (uint32_t at = i + 1; at < one->next; at = a->nodes[at + 1].next) {
            uint32_t found = json_find(b, k, a, at);
            if (!found || !json_same(a, at + 1, b, found)) return false;
        }
    }
    return true;
}

#endif
