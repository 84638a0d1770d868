/* Says of each JSON text on its standard input whether the library's parser accepts it. In front of a text is a line with its
 * number of bytes. */
#define _POSIX_C_SOURCE 200809L /* for newlocale */
#include <stdio.h>
#include <stdlib.h>

#include "src/json.h"

int main(void) {
    size_t size;
    while (scanf("%zu", &size) == 1 && getchar() == '\n') {
        /* Of the text's own size: a sanitizer sees whoever reads beyond it. */
        char *text = malloc(size ? size : 1);
        struct json doc;
        if (text == NULL || fread(text, 1, size, stdin) != size) return 1;
        puts(json_read(&doc, text, size, false) ? "accepted" : "refused");
        json_free(&doc);
        free(text);
    }
    return 0;
}
