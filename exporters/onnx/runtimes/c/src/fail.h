/* One way to refuse: a line of printable text in the caller's hands. */
#ifndef SRI_FAIL_H
#define SRI_FAIL_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../sri_guard.h"
#include "utf8.h"

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static inline int fail(sri_error *error, const char *format, ...) {
    if (!error) return SRI_REFUSED;
    va_list values;
    va_start(values, format);
    if (vsnprintf(error->text, sizeof error->text, format, values) < 0) error->text[0] = 0;
    va_end(values);
    /* Names in a damaged bundle may hold anything; a log line must not. */
    for (char *c = error->text; *c;) {
        size_t bytes = (unsigned char)*c < 128 ? 1 : utf8_size((unsigned char *)c, strlen(c));
        if (!bytes || (unsigned char)*c < 32 || *c == 127) *c = '?';
        c += bytes ? bytes : 1;
    }
    return SRI_REFUSED;
}

static inline int out_of_memory(sri_error *error, const char *subject) {
    return fail(error, "%s: not enough memory.", subject);
}

#endif
