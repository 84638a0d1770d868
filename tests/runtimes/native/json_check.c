/* Says of the JSON text on its standard input whether the library's parser accepts it. */
#define _POSIX_C_SOURCE 200809L /* for newlocale */
#include <stdio.h>

#include "src/json.h"

int main(void) {
    static char text[1 << 22];
    struct json doc;
    size_t size = fread(text, 1, sizeof text, stdin);
    puts(json_read(&doc, text, size, false) ? "accepted" : "refused");
    json_free(&doc);
    return 0;
}
