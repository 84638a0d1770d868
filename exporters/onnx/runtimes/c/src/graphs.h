/* The graphs a manifest promises: their files, their edges, and their golden vectors. */
#ifndef SRI_GRAPHS_H
#define SRI_GRAPHS_H

#include "folder.h"
#include "reader.h"

enum { MOST_GOLDEN = 256, LARGEST_PROBE = 1 << 25 };

enum graph { SIGNAL, PREFIX, GRAPHS }; /* those that are loaded; a bundle may also hold `full` and `step` */
static const char *const GRAPH_NAMES[GRAPHS] = {"signal", "prefix"};

struct sizes {
    size_t cells, layers, width; /* T, C, D */
};

struct golden { /* inputs of a graph, and what it must answer */
    size_t rows;
    float *signals;   /* [rows, T, C] */
    int64_t *lengths; /* [rows]; NULL for `signal` */
    float *score;
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
    {"full", true, false, "activations", "float32", "TCD"},
    {"step", true, false, "phi", "float32", "CD"},
    {"step", true, true, "step", "int64", ""},
    {"step", true, true, "state", "float32", "TC"},
    {"*", false, false, "score", "float32", ""},
    {"*", false, false, "valid", "bool", ""},
    {"full", false, false, "sigma", "float32", "TC"},
    {"full", false, false, "logit", "float32", "TC"},
    {"step", false, false, "sigma", "float32", "C"},
    {"step", false, false, "state_out", "float32", "TC"},
};

static bool is_edge_of(const struct edge_entry *edge, const char *graph, bool input) {
    return edge->input == input && (*edge->graph == '*' || !strcmp(edge->graph, graph));
}

/* Writes first and then the dimensions behind it; returns their number. */
static size_t shape_of(const struct edge_entry *edge, const struct sizes *sizes, size_t first, size_t shape[4]) {
    size_t rank = 0;
    shape[rank++] = first;
    for (const char *c = edge->shape; *c; c++)
        shape[rank++] = *c == 'T' ? sizes->cells : *c == 'C' ? sizes->layers : sizes->width;
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
        if (!EDGES[i].stored || !is_edge_of(&EDGES[i], graph, true)) continue;
        bool whole = !strcmp(EDGES[i].dtype, "int64");
        void *values = unpack(r, inputs, inner, EDGES[i].name, EDGES[i].dtype, whole ? sizeof(int64_t) : sizeof(float),
                              shape_of(&EDGES[i], sizes, rows, shape), shape);
        if (!strcmp(EDGES[i].name, "signals")) golden->signals = values;
        else if (!strcmp(EDGES[i].name, "length")) golden->lengths = values;
        else free(values);
        stored++;
    }
    check(r, r->refused || r->json->nodes[inputs].count == stored, inner, "unknown keys");
    golden->score = unpack(r, entry, where, "score", "float32", sizeof(float), 1, &rows);
    golden->valid = unpack(r, entry, where, "valid", "bool", 1, 1, &rows);
    golden->tolerance = unpack(r, entry, where, "tolerance", "float32", sizeof(float), 1, &rows);
    bool some = false, all = true;
    for (size_t i = 0; !r->refused && i < rows; i++) {
        check(r, golden->valid[i] <= 1, where, "a valid that is neither 0 nor 1");
        check(r, golden->tolerance[i] >= 0 && isfinite(golden->tolerance[i]), where, "a tolerance that is no number");
        some = some || golden->valid[i];
        all = all && golden->valid[i];
    }
    check(r, some && !all, where, "rows that are all valid, or none that is");
}

/* Inputs or outputs as the manifest promises them: a first dimension called B, and sizes. */
static void read_edges(struct reader *r, const char *graph, const struct sizes *sizes, uint32_t entry, bool input) {
    char where[48];
    uint32_t count = 0;
    snprintf(where, sizeof where, "graphs.%s.%s", graph, input ? "inputs" : "outputs");
    uint32_t edges = value_of(r, entry, where, input ? "inputs" : "outputs", JSON_OBJECT);
    for (size_t i = 0; i < sizeof EDGES / sizeof *EDGES && !r->refused; i++) {
        size_t shape[4];
        if (!is_edge_of(&EDGES[i], graph, input)) continue;
        uint32_t edge = value_of(r, edges, where, EDGES[i].name, JSON_OBJECT);
        exactly(r, edge, where, "dtype shape");
        uint32_t type = value_of(r, edge, where, "dtype", JSON_TEXT);
        uint32_t dims = value_of(r, edge, where, "shape", JSON_ARRAY);
        if (r->refused) return;
        size_t rank = shape_of(&EDGES[i], sizes, 0, shape);
        bool same = json_is(r->json, type, EDGES[i].dtype) && r->json->nodes[dims].count == rank &&
                    json_is(r->json, dims + 1, "B");
        for (uint32_t k = 1; k < rank && same; k++) same = whole_of(r, dims + 1 + k, where, MOST_NUMBERS) == shape[k];
        check(r, same, where, "has another type or shape");
        count++;
    }
    check(r, r->refused || r->json->nodes[edges].count == count, where, "unknown keys");
}

static void read_graphs(struct reader *r, const struct sizes *sizes, struct golden golden[GRAPHS],
                        const sri_file *files, size_t count, const sri_file *found[GRAPHS]) {
    static const char *const names[] = {"signal", "prefix", "full", "step"};
    uint32_t graphs = value_of(r, 0, "", "graphs", JSON_OBJECT), tests = value_of(r, 0, "", "golden", JSON_OBJECT);
    uint32_t listed = value_of(r, 0, "", "files", JSON_OBJECT), known = 0;
    uint32_t sensitive = value_of(r, 0, "", "sensitive", JSON_BOOL);
    for (size_t which = 0; which < sizeof names / sizeof *names && !r->refused; which++) {
        const char *name = names[which];
        char where[32], file[16];
        struct golden unused = {0};
        if (which >= GRAPHS && !json_get(r->json, graphs, name)) continue;
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
    check(r, known == GRAPHS || sizes->cells * sizes->layers <= LARGEST_PROBE / sizes->width, "signal",
          "too many numbers");
}

#endif
