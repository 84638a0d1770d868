/* A bundle folder as bytes in memory: only plain files, not too many bytes of them, and nothing is parsed before all of
 * it is read, so a file that changes meanwhile cannot be half old and half new. */
#ifndef SRI_FOLDER_H
#define SRI_FOLDER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"

#define MANIFEST "manifest.json"

enum {
    LARGEST_MANIFEST = 16 << 20, /* bytes */
    LARGEST_SIGNATURE = 1 << 20,
    LARGEST_BUNDLE = 1 << 30,
    MOST_FILES = 16,
    LONGEST_NAME = 100,
};

/* Signatures lie beside the manifest, which does not list them: ours, and that of OpenSSF model-signing. They are left
 * unread; `sri bundle verify` checks them. */
static inline bool is_signature(const char *name) {
    return !strcmp(name, "manifest.sig") || !strcmp(name, "model.sig");
}

static inline bool is_file_name(const char *name) {
    size_t length = strlen(name);
    return length && length <= LONGEST_NAME && *name != '.' && *name != '-' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

static inline size_t largest(const char *name) {
    return !strcmp(name, MANIFEST) ? LARGEST_MANIFEST : is_signature(name) ? LARGEST_SIGNATURE : LARGEST_BUNDLE;
}

/* What holds for the files of a bundle wherever they come from: few, each once, with plain names, and not too large. */
static inline int check_sizes(const char *subject, const sri_file *files, size_t count, sri_error *error) {
    size_t total = 0;
    if (count > MOST_FILES)
        return fail(error, "%s: more than %d files. This is not a bundle of this SDK.", subject, MOST_FILES);
    for (size_t i = 0; i < count; i++) {
        const char *name = files[i].name;
        if (!is_file_name(name))
            return fail(error,
                        "%s: a file called %.*s; allowed are letters, digits, '.', '_' and '-', not beginning with '.' "
                        "or '-'. Copy the bundle again, without files of other programs.",
                        subject, LONGEST_NAME, name);
        for (size_t k = 0; k < i; k++)
            if (!strcmp(name, files[k].name))
                return fail(error, "%s: %s is there twice. Copy the bundle again.", subject, name);
        bool large = files[i].size > largest(name);
        total += large ? 0 : files[i].size;
        if (large || total > LARGEST_BUNDLE)
            return fail(error, "%s: %s has %zu bytes, allowed are %zu. This is not a bundle of this SDK.", subject,
                        large ? name : "all", large ? files[i].size : total,
                        large ? largest(name) : (size_t)LARGEST_BUNDLE);
    }
    return SRI_OK;
}

struct folder {
    sri_file files[MOST_FILES]; /* names and bytes belong to the folder */
    size_t count;
};

static void folder_free(struct folder *folder) {
    for (size_t i = 0; i < folder->count; i++) {
        free((void *)folder->files[i].name);
        free((void *)folder->files[i].bytes);
    }
    folder->count = 0;
}

/* Lists names and sizes; nothing is opened. */
static int folder_list(DIR *entries, const char *path, struct folder *folder, sri_error *error) {
    struct dirent *entry;
    while (errno = 0, (entry = readdir(entries))) {
        struct stat found;
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
        if (fstatat(dirfd(entries), name, &found, AT_SYMLINK_NOFOLLOW) || !S_ISREG(found.st_mode))
            return fail(error,
                        "%s: %s is not a plain file, and a bundle holds plain files only. Copy the bundle again.", path,
                        name);
        if (folder->count == MOST_FILES)
            return fail(error, "%s: more than %d files. This is not a bundle of this SDK.", path, MOST_FILES);
        char *copy = strdup(name);
        if (!copy) return out_of_memory(error, path);
        folder->files[folder->count++] = (sri_file){
            .name = copy, .size = found.st_size > LARGEST_BUNDLE ? (size_t)LARGEST_BUNDLE + 1 : (size_t)found.st_size};
    }
    if (errno) return fail(error, "%s: cannot be read (%s). Check who may read its files.", path, strerror(errno));
    return check_sizes(path, folder->files, folder->count, error);
}

static int folder_file(int directory, const char *path, sri_file *file, sri_error *error) {
    struct stat found;
    int from = openat(directory, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (from < 0)
        return fail(error, "%s: %s cannot be read (%s). Check who may read its files.", path, file->name,
                    strerror(errno));
    uint8_t *bytes = malloc(file->size + 1);
    file->bytes = bytes;
    size_t done = 0;
    bool ended = false;
    if (bytes && !fstat(from, &found) && S_ISREG(found.st_mode)) {
        while (!ended && done <= file->size) { /* One byte more than listed: has it grown? */
            ssize_t got = read(from, bytes + done, file->size + 1 - done);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) break;
            ended = got == 0;
            done += (size_t)got;
        }
    }
    close(from);
    if (!bytes) return out_of_memory(error, path);
    if (!ended || done != file->size)
        return fail(error, "%s: %s changed while it was read. Try again.", path, file->name);
    return SRI_OK;
}

static int folder_read(const char *path, struct folder *folder, sri_error *error) {
    folder->count = 0;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = directory < 0 ? NULL : fdopendir(directory);
    if (!entries) {
        if (directory >= 0) close(directory);
        return fail(error, "%s: not a bundle folder. Point to the folder that holds " MANIFEST ".", path);
    }
    struct stat found;
    int refused = SRI_OK;
    if (fstatat(directory, MANIFEST, &found, AT_SYMLINK_NOFOLLOW))
        refused =
            fstatat(directory, "bundle", &found, 0)
                ? fail(error, "%s: " MANIFEST " is missing. Point to a bundle folder, or export the guard again.", path)
                : fail(error, "%s: a guard's folder, not a bundle. Its bundle is %s/bundle.", path, path);
    if (!refused) refused = folder_list(entries, path, folder, error);
    for (size_t i = 0; i < folder->count && !refused; i++)
        refused = folder_file(directory, path, &folder->files[i], error);
    closedir(entries);
    if (refused) folder_free(folder);
    return refused;
}

#endif
