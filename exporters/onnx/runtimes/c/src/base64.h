/* Base64, strict: the standard alphabet, whole groups, padding only at the end, no bits left over. */
#ifndef SRI_BASE64_H
#define SRI_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that `size` characters stand for, if they are base64 at all. */
static inline size_t base64_size(const char *text, size_t size) {
    if (!size || size % 4) return 0;
    size_t padding = text[size - 1] != '=' ? 0 : text[size - 2] != '=' ? 1 : 2;
    return size / 4 * 3 - padding;
}

static inline int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Writes base64_size(text, size) bytes; false if the text is not base64. */
static inline bool base64_decode(const char *text, size_t size, uint8_t *out) {
    if (size % 4) return false;
    for (size_t at = 0; at < size; at += 4) {
        size_t padding = at + 4 < size ? 0 : text[at + 3] != '=' ? 0 : text[at + 2] != '=' ? 1 : 2;
        uint32_t group = 0;
        for (size_t i = 0; i < 4; i++) {
            int value = i < 4 - padding ? base64_value(text[at + i]) : 0;
            if (value < 0) return false;
            group = group << 6 | (uint32_t)value;
        }
        if (group & ((1u << 8 * padding) - 1)) return false;
        for (size_t i = 0; i < 3 - padding; i++) *out++ = (uint8_t)(group >> (16 - 8 * i));
    }
    return true;
}

#endif
