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
    const struct json_node *n = &doc->nodes[node];
    return n->kind == JSON_TEXT && n->end - n->start == strlen(word) &&
           !memcmp(doc->text + n->start, word, strlen(word));
}

/* The value of a key that is there exactly once, else 0. Keys are compared as written. */
static inline uint32_t json_get(const struct json *doc, uint32_t object, const char *key) {
    uint32_t found = 0;
    if (doc->nodes[object].kind != JSON_OBJECT) return 0;
    for (uint32_t at = object + 1; at < doc->nodes[object].next; at = doc->nodes[at + 1].next) {
        if (!json_is(doc, at, key)) continue;
        if (found) return 0;
        found = at + 1;
    }
    return found;
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

static inline bool json_whole(const struct json *doc, uint32_t node) {
    for (uint32_t i = doc->nodes[node].start; i < doc->nodes[node].end; i++)
        if (!strchr("-0123456789", doc->text[i])) return false;
    return true;
}

/* Whether two values are equal: members in any order, 1 equal to 1.0, and no key twice. */
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
        uint32_t first = i + 1;
        for (uint32_t at = first; at < one->next; at = a->nodes[at + 1].next) {
            uint32_t found = 0;
            for (uint32_t other = first; other < at; other = a->nodes[other + 1].next)
                if (json_same_text(a, other, a, at)) return false;
            for (uint32_t other = k + 1; other < two->next; other = b->nodes[other + 1].next)
                if (json_same_text(a, at, b, other)) found = other;
            if (!found || !json_same(a, at + 1, b, found + 1)) return false;
        }
    }
    return true;
}

#endif
