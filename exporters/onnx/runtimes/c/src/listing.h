/* The files a manifest lists against the files that are there. */
#ifndef SRI_LISTING_H
#define SRI_LISTING_H

#include "folder.h"
#include "reader.h"
#include "sha256.h"

/* Every listed file is there with its size and hash, and no other. */
static int check_files(struct reader *r, const char *subject, const sri_file *files, size_t count) {
    uint32_t listed = value_of(r, 0, "", "files", JSON_OBJECT);
    if (r->refused) return SRI_REFUSED;
    const struct json_node *nodes = r->json->nodes;
    size_t matched = 0;
    for (uint32_t at = listed + 1; at < nodes[listed].next; at = nodes[at + 1].next) {
        char name[LONGEST_NAME + 1] = "", listed_hash[65], hash[65];
        if (!json_copy(r->json, at, name, sizeof name)) {
            wrong(r, "files", "a name that is no plain file name");
            return SRI_REFUSED;
        }
        const sri_file *file = NULL;
        for (size_t i = 0; i < count; i++)
            if (!strcmp(files[i].name, name)) file = &files[i];
        if (!file)
            return fail(r->error, "%s: %s is missing. Copy the bundle again, or export the guard again.", subject,
                        name);
        uint32_t entry = value_of(r, listed, "files", name, JSON_OBJECT);
        exactly(r, entry, "files", "sha256 size");
        uint32_t text = value_of(r, entry, "files", "sha256", JSON_TEXT);
        size_t size = whole_of(r, value_of(r, entry, "files", "size", JSON_NUMBER), "files", LARGEST_BUNDLE);
        check(r, r->refused || hex_of(r->json, text, listed_hash), "files", "not a SHA-256");
        if (r->refused) return SRI_REFUSED;
        bool same = file->size == size;
        if (same) {
            sha256_of(file->bytes, file->size, hash);
            same = !strcmp(hash, listed_hash);
        }
        if (!same) return fail(r->error, "%s: %s does not match its digest. Copy the bundle again.", subject, name);
        matched++;
    }
    for (size_t i = 0; i < count && matched < count; i++)
        if (!json_get(r->json, listed, files[i].name))
            return fail(r->error,
                        "%s: %s is not listed in the manifest. Copy the bundle again, or export the guard again.",
                        subject, files[i].name);
    return SRI_OK;
}

#endif
