/* `manifest.json`: checked against its own digest, then key by key. Unknown keys are another format. */
#ifndef SRI_MANIFEST_READ_H
#define SRI_MANIFEST_READ_H

#include "digest.h"
#include "folder.h"
#include "format_1.h"
#include "format_2.h"
#include "listing.h"

enum { LARGEST_SIGNAL = 1 << 18 }; /* cells times columns */

/* Checks format and digest before anything else is believed. */
static int read_head(struct reader *r, struct manifest *m) {
    uint32_t format = json_get(r->json, 0, "format"), digest = json_get(r->json, 0, "digest");
    if (!format || !digest)
        return fail(r->error, "%s: not a bundle manifest (no format, or no digest). Export the guard again.",
                    r->source);
    const struct json_node *n = &r->json->nodes[format];
    const char *text = r->json->text + n->start;
    if (n->kind != JSON_NUMBER || n->end - n->start != 1 || (*text != '1' && *text != '2'))
        return fail(
            r->error,
            "%s: manifest format %.*s, this reader knows 1 and 2. Export the guard again, or use a newer reader.",
            r->source, n->end - n->start > 20 ? 20 : (int)(n->end - n->start), text);
    m->format = *text - '0';
    char own[65];
    uint32_t at = r->json->nodes[digest].start;
    if (hex_of(r->json, digest, own) &&
        r->json->nodes[digest].end - at == 64) { /* No escapes: it is hashed as written. */
        digest_of(r->json->text, r->json->size, at, m->digest);
        if (!strcmp(m->digest, own)) return SRI_OK;
    }
    return fail(r->error, "%s: the manifest does not match its own digest. Copy the bundle again.", r->source);
}

/* Reads and checks. `files` are all files but the manifest, `MOST_FILES` at most. manifest_free in either case. */
static int manifest_read(struct manifest *m, const sri_file *own, const char *subject, const sri_file *files,
                         size_t count, sri_error *error) {
    char source[512];
    memset(m, 0, sizeof *m);
    snprintf(source, sizeof source, "%s/" MANIFEST, subject);
    if (!(m->text = malloc(own->size + 1))) return out_of_memory(error, source);
    memcpy(m->text, own->bytes, own->size);
    struct reader r = {.json = &m->json, .source = source, .error = error};
    if (!json_read(&m->json, m->text, own->size, false))
        return fail(error, "%s: not a bundle manifest (%s, at byte %zu). Export the guard again.", source,
                    m->json.problem, m->json.at);
    if (read_head(&r, m)) return SRI_REFUSED;
    exactly(&r, 0, "", m->format == 1 ? KEYS_1 : KEYS_2);
    if (r.refused || check_files(&r, subject, files, count)) return SRI_REFUSED;
    read_rest(&r);
    if (m->format == 1) read_format_1(&r, m);
    else read_format_2(&r, m);
    check(&r, r.refused || m->sizes.cells * m->sizes.columns <= LARGEST_SIGNAL, "signal", "too many cells and columns");
    read_graphs(&r, &m->sizes, m->golden, files, count, m->graphs);
    return r.refused ? SRI_REFUSED : SRI_OK;
}

#endif
