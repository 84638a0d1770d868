/* A bundle's digest: the SHA-256 of its manifest's bytes, with the 64 characters of the digest in it set to "0". */
#ifndef SRI_DIGEST_H
#define SRI_DIGEST_H

#include "fail.h"
#include "sha256.h"

/* `at` = where the digest stands in the bytes. */
static inline void digest_of(const void *bytes, size_t size, size_t at, char hex[65]) {
    struct sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, bytes, at);
    for (int i = 0; i < 64; i++) sha256_add(&hash, "0", 1);
    sha256_add(&hash, (const uint8_t *)bytes + at + 64, size - at - 64);
    sha256_end(&hash, hex);
}

/* Refuses another bundle than the one that was asked for, before a byte of it is parsed: whoever pins a digest need not
 * trust this reader with what it did not pin. */
static inline int check_pinned(const sri_file *manifest, const char *subject, const char *wanted, sri_error *error) {
    char own[65], hex[65];
    size_t length = strlen(wanted), found = 0, at = 0;
    if (length != 64 || strspn(wanted, "0123456789abcdefABCDEF") != 64)
        return fail(error,
                    "digest: %.80s is not a SHA-256 in hex, 64 characters. `sri bundle inspect` prints a bundle's.",
                    wanted);
    for (size_t i = 0; i < 65; i++) own[i] = (char)(wanted[i] >= 'A' && wanted[i] <= 'F' ? wanted[i] + 32 : wanted[i]);
    for (size_t i = 0; manifest->size >= 64 && i <= manifest->size - 64; i++)
        if (manifest->bytes[i] == (uint8_t)*own && !memcmp(manifest->bytes + i, own, 64)) found++, at = i;
    if (found == 1) {
        digest_of(manifest->bytes, manifest->size, at, hex);
        if (!strcmp(hex, own)) return SRI_OK;
    }
    return fail(error,
                "%s: not the bundle with digest %.12s..., which was asked for. Get that one, or ask for the digest of "
                "this one if you know why it changed.",
                subject, own);
}

#endif
