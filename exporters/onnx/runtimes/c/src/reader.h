/* Values out of a manifest, each with the type and shape it must have. */
#ifndef SRI_READER_H
#define SRI_READER_H

#include <float.h>
#include <math.h>

#include "base64.h"
#include "fail.h"
#include "folder.h"
#include "json.h"

enum { MOST_NUMBERS = 1 << 24 };

/* Reads values and remembers the first that is not as it must be; after that everything is empty, and harmless. */
struct reader {
    const struct json *json;
    const char *source; /* for messages */
    sri_error *error;
    bool refused;
};

static void wrong(struct reader *r, const char *where, const char *problem) {
    if (!r->refused) fail(r->error, "%s: %s: %s. Export the guard again.", r->source, where, problem);
    r->refused = true;
}

static void check(struct reader *r, bool fine, const char *where, const char *problem) {
    if (!fine) wrong(r, where, problem);
}

/* The value of `key`, which must be of one of the `kinds`. */
static uint32_t value_of(struct reader *r, uint32_t object, const char *where, const char *key, uint32_t kinds) {
    char place[160];
    uint32_t found = r->refused ? 0 : json_get(r->json, object, key);
    if (found && (r->json->nodes[found].kind & kinds)) return found;
    snprintf(place, sizeof place, "%s%s%s", where, *where ? "." : "", key);
    wrong(r, place, found ? "a value of the wrong kind" : "missing");
    return 0;
}

/* Refuses an object that has other keys than the space-separated ones. */
static void exactly(struct reader *r, uint32_t object, const char *where, const char *keys) {
    char key[32];
    uint32_t count = 0;
    while (*keys && !r->refused) {
        size_t length = strcspn(keys, " ");
        if (length >= sizeof key) break;
        memcpy(key, keys, length);
        key[length] = 0;
        value_of(r, object, where, key, JSON_ANY);
        keys += length + strspn(keys + length, " ");
        count++;
    }
    if (!r->refused) check(r, r->json->nodes[object].count == count, *where ? where : "manifest", "unknown keys");
}

static double number_of(struct reader *r, uint32_t object, const char *where, const char *key) {
    uint32_t node = value_of(r, object, where, key, JSON_NUMBER);
    double value = r->refused ? 0 : json_number(r->json, node);
    check(r, isfinite(value), *where ? where : key, "a number that is not finite");
    return r->refused ? 0 : value;
}

/* As float32, in which signals are compared. */
static float narrowed(double value) {
    return fabs(value) > (double)FLT_MAX ? copysignf(INFINITY, (float)copysign(1, value)) : (float)value;
}

static size_t whole_of(struct reader *r, uint32_t node, const char *where, size_t most) {
    double value = r->refused || !json_whole(r->json, node) ? -1 : json_number(r->json, node);
    check(r, value >= 0 && value <= (double)most, where, "not a whole number in its range");
    return r->refused ? 0 : (size_t)value;
}

/* Copies a SHA-256; false if the value is none. */
static bool hex_of(const struct json *json, uint32_t node, char hex[65]) {
    return json->nodes[node].kind == JSON_TEXT && json_copy(json, node, hex, 65) &&
           strspn(hex, "0123456789abcdef") == 64;
}

static void check_hex(struct reader *r, uint32_t object, const char *where, const char *key) {
    char hex[65];
    uint32_t node = value_of(r, object, where, key, JSON_TEXT);
    check(r, r->refused || hex_of(r->json, node, hex), key, "not a SHA-256");
}

/* The length of an array's first dimension, as its packed form says. */
static size_t rows_of(struct reader *r, uint32_t packed, const char *where, size_t most) {
    uint32_t shape = value_of(r, packed, where, "shape", JSON_ARRAY);
    check(r, r->refused || r->json->nodes[shape].count > 0, where, "no dimensions");
    size_t rows = r->refused ? 0 : whole_of(r, shape + 1, where, most);
    check(r, rows > 0, where, "no rows");
    return rows;
}

/* A packed array that must have this type and shape; the caller frees it. `size` = bytes of one element. */
static void *unpack(struct reader *r, uint32_t object, const char *where, const char *key, const char *dtype,
                    size_t size, size_t rank, const size_t *shape) {
    uint32_t packed = value_of(r, object, where, key, JSON_OBJECT);
    exactly(r, packed, where, "base64 dtype shape");
    uint32_t text = value_of(r, packed, where, "base64", JSON_TEXT);
    uint32_t dims = value_of(r, packed, where, "shape", JSON_ARRAY);
    uint32_t type = value_of(r, packed, where, "dtype", JSON_TEXT);
    if (r->refused) return NULL;
    check(r, json_is(r->json, type, dtype), where, "an array of another type");
    check(r, r->json->nodes[dims].count == rank, where, "an array of another shape");
    size_t elements = 1;
    for (size_t i = 0; i < rank && !r->refused; i++) { /* Each factor is bounded by its `most`, all by the text. */
        check(r, whole_of(r, dims + 1 + (uint32_t)i, where, MOST_NUMBERS) == shape[i], where,
              "an array of another shape");
        check(r, shape[i] && elements <= LARGEST_MANIFEST / shape[i], where, "an array too large for this file");
        if (!r->refused) elements *= shape[i];
    }
    if (r->refused) return NULL;
    size_t room = r->json->nodes[text].end - r->json->nodes[text].start + 1;
    char *digits = malloc(room); /* Without the escapes that it may be written with. */
    void *bytes = malloc(elements * size);
    check(r, digits && bytes, where, "not enough memory");
    check(r, r->refused || json_copy(r->json, text, digits, room), where, "an array that is not base64");
    size_t length = r->refused ? 0 : strlen(digits);
    check(r, r->refused || base64_size(digits, length) == elements * size, where,
          "an array whose bytes do not fit its shape");
    check(r, r->refused || base64_decode(digits, length, bytes), where, "an array that is not base64");
    free(digits);
    if (!r->refused) return bytes;
    free(bytes);
    return NULL;
}

#endif
