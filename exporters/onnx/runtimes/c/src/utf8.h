/* What is well-formed UTF-8 (Unicode, table 3-7). */
#ifndef SRI_UTF8_H
#define SRI_UTF8_H

#include <stddef.h>

/* Bytes of the well-formed sequence of several bytes at `at`, or 0. */
static inline size_t utf8_size(const unsigned char *at, size_t left) {
    static const struct {
        unsigned char low, high, second_low, second_high;
        size_t size;
    } form[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        if (at[0] < form[i].low || at[0] > form[i].high) continue;
        if (left < form[i].size || at[1] < form[i].second_low || at[1] > form[i].second_high) return 0;
        for (size_t k = 2; k < form[i].size; k++)
            if (at[k] < 0x80 || at[k] > 0xbf) return 0;
        return form[i].size;
    }
    return 0;
}

/* Characters of a well-formed text. */
static inline size_t utf8_length(const char *text) {
    size_t characters = 0;
    for (; *text; text++) characters += ((unsigned char)*text & 0xc0) != 0x80;
    return characters;
}

#endif
