/* The graphs a manifest promises: their files, their edges, and their golden vectors. */
#ifndef SRI_GRAPHS_H
#define SRI_GRAPHS_H

#include "folder.h"
#include "reader.h"

enum { MOST_GOLDEN = 256, LARGEST_PROBE = 1 << 25 };

enum graph { SIGNAL, PREFIX, GRAPHS }; /* those that are loaded; a bundle may also hold `full` and `step` */
static const char *const GRAPH_NAMES[GRAPHS] = {"signal", "prefix"};

struct sizes {
    size_t cells, columns, width; /* T, C, D */
    size_t sri, prompt;           /* S columns of kind sri; L layers of the request column, 0 = there is none */
    size_t parts;                 /* K; 0 in format 1, where a row has one score */
};

struct golden { /* inputs of a graph, and what it must answer */
    size_t rows;
    float *signals;   /* [rows, T, C] */
    int64_t *lengths; /* [rows]; NULL for `signal` */
    float *score;     /* [rows], and in format 2 [rows, K], like the next two */
    uint8_t *valid;
    float *tolerance; /* |score - expected| <= tolerance */
};

/* What goes into a graph and what comes out. Letters are dimensions behind the first, which is the batch. */
static const struct edge_entry {
    const char *graph; /* "*" = any */
    bool input;
    bool stored; /* among the golden inputs; hidden states follow a rule instead */
    const char *name, *dtype, *shape;
} EDGES[] = {
    {"signal", true, true, "signals", "float32", "TC"},
    {"prefix", true, true, "signals", "float32", "TC"},
    {"prefix", true, true, "length", "int64", ""},
    {"full", true, false, "activations", "float32", "TSD"},
    {"full", true, false, "prompt", "float32", "LD"},
    {"step", true, false, "phi", "float32", "SD"},
    {"step", true, true, "step", "int64", ""},
    {"step", true, true, "state", "float32", "TC"},
    {"step", true, false, "prompt", "float32", "LD"},
    {"*", false, false, "score", "float32", "K"},
    {"*", false, false, "valid", "bool", "K"},
    {"full", false, false, "sigma", "float32", "TC"},
    {"full", false, false, "logit", "float32", "TC"},
    {"step", false, false, "sigma", "float32", "C"},
    {"step", false, false, "state_out", "float32", "TC"},
};

/* States of columns, or of a request, that the guard does not have go nowhere. */
static bool is_edge_of(const struct edge_entry *edge, const char *graph, bool input, const struct sizes *sizes) {
    if ((strchr(edge->shape, 'S') && !sizes->sri) || (strchr(edge->shape, 'L') && !sizes->prompt)) return false;
    return edge->input == input && (*edge->graph == '*' || !strcmp(edge->graph, graph));
}

static size_t size_of(char letter, const struct sizes *sizes) {
    switch (letter) {
    case 'T':
        return sizes->cells;
    case 'C':
        return sizes->columns;
    case 'S':
        return sizes->sri;
    case 'L':
        return sizes->prompt;
    case 'K':
        return sizes->parts;
    default:
        return sizes->width;
    }
}

/* Writes first and then the dimensions behind it; returns their number. */
static size_t shape_of(const char *letters, const struct sizes *sizes, size_t first, size_t shape[4]) {
    size_t rank = 0;
    shape[rank++] = first;
    for (const char *c = letters; *c; c++)
        if (*c != 'K' || sizes->parts) shape[rank++] = size_of(*c, sizes);
    return rank;
}

static void golden_free(struct golden *golden) {
    free(golden->signals), free(golden->lengths), free(golden->score), free(golden->valid), free(golden->tolerance);
    memset(golden, 0, sizeof *golden);
}

static void read_golden(struct reader *r, const char *graph, const struct sizes *sizes, struct golden *golden) {
    char where[32], inner[48];
    uint32_t stored = 0;
    snprintf(where, sizeof where, "golden.%s", graph);
    snprintf(inner, sizeof inner, "%s.inputs", where);
    uint32_t entry = value_of(r, value_of(r, 0, "", "golden", JSON_OBJECT), "golden", graph, JSON_OBJECT);
    exactly(r, entry, where, "inputs score tolerance valid");
    uint32_t inputs = value_of(r, entry, where, "inputs", JSON_OBJECT);
    size_t rows = golden->rows = rows_of(r, value_of(r, entry, where, "score", JSON_OBJECT), where, MOST_GOLDEN);
    for (size_t i = 0; i < sizeof EDGES / sizeof *EDGES && !r->refused; i++) {
        size_t shape[4];
        if (!EDGES[i].stored || !is_edge_of(&EDGES[i], graph, true, sizes)) continue;
        bool whole = !strcmp(EDGES[i].dtype, "int64");
        void *values = unpack(r, inputs, inner, EDGES[i].name, EDGES[i].dtype, whole ? sizeof(int64_t) : sizeof(float),
                              shape_of(EDGES[i].shape, sizes, rows, shape), shape);
        if (!strcmp(EDGES[i].name, "signals")) golden->signals = values;
        else if (!strcmp(EDGES[i].name, "length")) golden->lengths = values;
        else free(values);
        stored++;
    }
    check(r, r->refused || r->json->nodes[inputs].count == stored, inner, "unknown keys");
    size_t shape[4], rank = shape_of("K", sizes, rows, shape), parts = sizes->parts ? sizes->parts : 1;
    golden->score = unpack(r, entry, where, "score", "float32", sizeof(float), rank, shape);
    golden->valid = unpack(r, entry, where, "valid", "bool", 1, rank, shape);
    golden->tolerance = unpack(r, entry, where, "tolerance", "float32", sizeof(float), rank, shape);
    for (size_t k = 0; k < parts && !r->refused; k++) {
        bool some = false, all = true;
        for (size_t i = k; !r->refused && i < rows * parts; i += parts) {
            check(r, golden->valid[i] <= 1, where, "a valid that is neither 0 nor 1");
            check(r, golden->tolerance[i] >= 0 && isfinite(golden->tolerance[i]), where,
                  "a tolerance that is no number");
            some = some || golden->valid[i];
            all = all && golden->valid[i];
        }
        check(r, some && !all, where, "rows that are all valid, or none that is");
    }
}

/* Inputs or outputs as the manifest promises them: a first dimension called B, and sizes. */
static void read_edges(struct reader *r, const char *graph, const struct sizes *sizes, uint32_t entry, bool input) {
    char where[48];
    uint32_t count = 0;
    snprintf(where, sizeof where, "graphs.%s.%s", graph, input ? "inputs" : "outputs");
    uint32_t edges = value_of(r, entry, where, input ? "inputs" : "outputs", JSON_OBJECT);
    for (size_t i = 0; i < sizeof EDGES / sizeof *EDGES && !r->refused; i++) {
        size_t shape[4];
        if (!is_edge_of(&EDGES[i], graph, input, sizes)) continue;
        uint32_t edge = value_of(r, edges, where, EDGES[i].name, JSON_OBJECT);
        exactly(r, edge, where, "dtype shape");
        uint32_t type = value_of(r, edge, where, "dtype", JSON_TEXT);
        uint32_t dims = value_of(r, edge, where, "shape", JSON_ARRAY);
        if (r->refused) return;
        size_t rank = shape_of(EDGES[i].shape, sizes, 0, shape);
        bool same = json_is(r->json, type, EDGES[i].dtype) && r->json->nodes[dims].count == rank &&
                    json_is(r->json, dims + 1, "B");
        for (uint32_t k = 1; k < rank && same; k++) same = whole_of(r, dims + 1 + k, where, MOST_NUMBERS) == shape[k];
        check(r, same, where, "has another type or shape");
        count++;
    }
    check(r, r->refused || r->json->nodes[edges].count == count, where, "unknown keys");
}

/* Whether hidden states for golden rows are few enough to be made: whole generations of them, and `rows` single cells.
 */
static void check_states(struct reader *r, const struct sizes *sizes, bool whole, size_t rows) {
    size_t most = LARGEST_PROBE / sizes->width, cell = sizes->sri > sizes->prompt ? sizes->sri : sizes->prompt;
    size_t all = sizes->cells * sizes->sri > sizes->prompt ? sizes->cells * sizes->sri : sizes->prompt;
    check(r, !whole || all <= most, "signal", "too many numbers");
    check(r, rows * cell <= most, "golden.step", "too many numbers");
}

static void read_graphs(struct reader *r, const struct sizes *sizes, struct golden golden[GRAPHS],
                        const sri_file *files, size_t count, const sri_file *found[GRAPHS]) {
    static const char *const names[] = {"signal", "prefix", "full", "step"};
    uint32_t graphs = value_of(r, 0, "", "graphs", JSON_OBJECT), tests = value_of(r, 0, "", "golden", JSON_OBJECT);
    uint32_t listed = value_of(r, 0, "", "files", JSON_OBJECT), known = 0;
    uint32_t sensitive = value_of(r, 0, "", "sensitive", JSON_BOOL);
    bool full = false, step = false;
    size_t step_rows = 0;
    for (size_t which = 0; which < sizeof names / sizeof *names && !r->refused; which++) {
        const char *name = names[which];
        char where[32], file[16];
        struct golden unused = {0};
        if (which >= GRAPHS && !json_get(r->json, graphs, name)) continue;
        full = full || !strcmp(name, "full");
        step = step || !strcmp(name, "step");
        snprintf(where, sizeof where, "graphs.%s", name);
        snprintf(file, sizeof file, "%s.onnx", name);
        value_of(r, listed, "files", file, JSON_OBJECT);
        uint32_t graph = value_of(r, graphs, "graphs", name, JSON_OBJECT);
        exactly(r, graph, where, "file inputs outputs");
        uint32_t text = value_of(r, graph, where, "file", JSON_TEXT);
        check(r, r->refused || json_is(r->json, text, file), where, "a graph in another file");
        read_edges(r, name, sizes, graph, true);
        read_edges(r, name, sizes, graph, false);
        read_golden(r, name, sizes, which < GRAPHS ? &golden[which] : &unused);
        if (!strcmp(name, "step")) step_rows = unused.rows;
        golden_free(&unused);
        for (size_t i = 0; i < count && which < GRAPHS; i++)
            if (!strcmp(files[i].name, file)) found[which] = &files[i];
        check(r, which >= GRAPHS || found[which], "files", "a graph without a file");
        known++;
    }
    if (r->refused) return;
    const struct json_node *nodes = r->json->nodes;
    check(r, nodes[graphs].count == known, "graphs", "an unknown graph; allowed: signal, prefix, full, step");
    check(r, nodes[tests].count == known, "golden", "every graph needs golden vectors, and nothing else");
    check(r, nodes[listed].count == known, "files", "files and graphs differ");
    check(r, (known > GRAPHS) == (nodes[sensitive].kind == JSON_TRUE), "sensitive",
          "must say whether anchors are inside");
    check(r, !step || sizes->sri, "graphs.step", "needs a column of kind sri");
    check_states(r, sizes, full || (step && !sizes->parts), step_rows);
}

#endif
