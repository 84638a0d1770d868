/* onnxruntime, and nothing else: a graph from bytes, with every door closed that a file could open.
 *
 * No external data, no folding of huge constants, no options from the model's own metadata, one thread that never
 * spins. Results lie in onnxruntime's arena, its default: without one, glibc before 2.38 grows the heap with each call
 * whose results are large.
 */
#ifndef SRI_RUNTIME_H
#define SRI_RUNTIME_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "ort_api.h"

/* Older releases read other files on a graph's behalf and allocate gigabytes for a file of 168 bytes. */
enum { OLDEST_MAJOR = 1, OLDEST_MINOR = 27 };

struct runtime {
    const struct sri_ort_api *api;
    OrtEnv *env;
    OrtMemoryInfo *memory;
    OrtAllocator *allocator; /* onnxruntime's own; not released */
};

struct session {
    OrtSession *handle;
    bool prefix; /* also takes `length` */
};

struct layout { /* of what goes into a graph and comes out */
    size_t cells, columns;
    size_t parts; /* scores per row */
    bool flat;    /* one score per row, without a dimension for it */
};

/* Turns a status into a refusal; the status is released. */
static int ort(const struct sri_ort_api *api, OrtStatus *status, const char *subject, const char *doing,
               sri_error *error) {
    if (!status) return SRI_OK;
    const char *message = api->GetErrorMessage(status);
    int length = (int)strcspn(message, "\n");
    fail(error, "%s: onnxruntime %s (%.*s). Export the guard again.", subject, doing, length > 160 ? 160 : length,
         message);
    api->ReleaseStatus(status);
    return SRI_REFUSED;
}

static void runtime_close(struct runtime *runtime) {
    if (runtime->memory) runtime->api->ReleaseMemoryInfo(runtime->memory);
    if (runtime->env) runtime->api->ReleaseEnv(runtime->env);
    memset(runtime, 0, sizeof *runtime);
}

static int runtime_open(struct runtime *runtime, const char *subject, sri_error *error) {
    memset(runtime, 0, sizeof *runtime);
    const char *setting = getenv("ORT_LOAD_CONFIG_FROM_MODEL");
    if (setting && strcmp(setting, "0"))
        return fail(error, "%s: ORT_LOAD_CONFIG_FROM_MODEL is set, so a model could set session options. Unset it.",
                    subject);
    const OrtApiBase *base = OrtGetApiBase();
    const char *version = base ? base->GetVersionString() : "";
    int major = 0, minor = 0;
    if (sscanf(version, "%5d.%5d", &major, &minor) != 2 || major < OLDEST_MAJOR ||
        (major == OLDEST_MAJOR && minor < OLDEST_MINOR))
        return fail(error,
                    "%s: onnxruntime %s is installed, and graphs may only be loaded by %d.%d or later, which checks "
                    "where their data lies and how much they allocate. Install a newer one.",
                    subject, version, OLDEST_MAJOR, OLDEST_MINOR);
    if (!(runtime->api = (const struct sri_ort_api *)(const void *)base->GetApi(SRI_ORT_API_VERSION)))
        return fail(error, "%s: onnxruntime %s has no C API %d. Install another release.", subject, version,
                    SRI_ORT_API_VERSION);
    const struct sri_ort_api *api = runtime->api;
    if (ort(api, api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "sri", &runtime->env), subject, "does not start", error) ||
        ort(api, api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &runtime->memory), subject,
            "does not start", error) ||
        ort(api, api->GetAllocatorWithDefaultOptions(&runtime->allocator), subject, "does not start", error)) {
        runtime_close(runtime);
        return SRI_REFUSED;
    }
    return SRI_OK;
}

/* -- loading ---------------------------------------------------------------------------------------------- */

static int session_options(const struct runtime *runtime, const char *subject, OrtSessionOptions *options,
                           sri_error *error) {
    static const char *const entries[][2] = {
        {"session.intra_op.allow_spinning", "0"},
        {"session.load_model_format", "ONNX"},
        {"optimization.constant_folding_max_output_size_in_bytes", "1048576"},
        /* Without this, a model from bytes may read external data from the working directory. */
        {"session.model_external_initializers_file_folder_path", "/nonexistent"},
    };
    const struct sri_ort_api *api = runtime->api;
    const char *doing = "does not take its options";
    int refused = ort(api, api->SetIntraOpNumThreads(options, 1), subject, doing, error) ||
                  ort(api, api->SetInterOpNumThreads(options, 1), subject, doing, error) ||
                  ort(api, api->SetSessionLogSeverityLevel(options, ORT_LOGGING_LEVEL_FATAL), subject, doing, error);
    for (size_t i = 0; i < sizeof entries / sizeof *entries && !refused; i++)
        refused = ort(api, api->AddSessionConfigEntry(options, entries[i][0], entries[i][1]), subject, doing, error);
    return refused ? SRI_REFUSED : SRI_OK;
}

/* Whether a tensor is of `type` and has the dimensions [first, ...tail]. */
static bool has_shape(const struct sri_ort_api *api, const OrtTensorTypeAndShapeInfo *info,
                      ONNXTensorElementDataType type, int64_t first, const size_t *tail, size_t tail_rank) {
    ONNXTensorElementDataType found = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    size_t rank = 0;
    int64_t dims[3] = {0};
    OrtStatus *status = info ? api->GetTensorElementType(info, &found) : NULL;
    if (info && !status) status = api->GetDimensionsCount(info, &rank);
    if (info && !status && rank == tail_rank + 1) status = api->GetDimensions(info, dims, rank);
    if (status) api->ReleaseStatus(status);
    if (!info || status || found != type || rank != tail_rank + 1 || dims[0] != first) return false;
    for (size_t i = 0; i < tail_rank; i++)
        if (dims[i + 1] != (int64_t)tail[i]) return false;
    return true;
}

struct edge {
    const char *name;
    ONNXTensorElementDataType type;
    size_t tail[2]; /* dimensions behind the batch */
    size_t rank;    /* how many */
};

/* Whether a session has exactly these inputs (or outputs), in any order. */
static bool has_edges(const struct runtime *runtime, const struct session *session, bool inputs,
                      const struct edge *edges, size_t count) {
    const struct sri_ort_api *api = runtime->api;
    size_t found = 0, matched = 0;
    OrtStatus *status = (inputs ? api->SessionGetInputCount : api->SessionGetOutputCount)(session->handle, &found);
    for (size_t i = 0; i < found && !status && found == count; i++) {
        char *name = NULL;
        OrtTypeInfo *type = NULL;
        const OrtTensorTypeAndShapeInfo *info = NULL;
        status = (inputs ? api->SessionGetInputName : api->SessionGetOutputName)(session->handle, i, runtime->allocator,
                                                                                 &name);
        if (!status)
            status = (inputs ? api->SessionGetInputTypeInfo : api->SessionGetOutputTypeInfo)(session->handle, i, &type);
        if (!status) status = api->CastTypeInfoToTensorInfo(type, &info); /* NULL for what is not a tensor */
        for (size_t k = 0; k < count && !status; k++)
            matched +=
                !strcmp(name, edges[k].name) && has_shape(api, info, edges[k].type, -1, edges[k].tail, edges[k].rank);
        if (type) api->ReleaseTypeInfo(type);
        if (name && !status) status = api->AllocatorFree(runtime->allocator, name);
    }
    if (status) api->ReleaseStatus(status);
    return !status && found == count && matched == count;
}

static void session_close(const struct runtime *runtime, struct session *session) {
    if (session->handle) runtime->api->ReleaseSession(session->handle);
    session->handle = NULL;
}

/* Loads a graph from bytes and checks its edges. */
static int session_open(const struct runtime *runtime, struct session *session, const char *subject,
                        const sri_file *file, const struct layout *layout, sri_error *error) {
    const struct sri_ort_api *api = runtime->api;
    OrtSessionOptions *options = NULL;
    session->handle = NULL;
    int refused = ort(api, api->CreateSessionOptions(&options), subject, "does not start", error);
    if (!refused) refused = session_options(runtime, subject, options, error);
    if (!refused)
        refused =
            ort(api, api->CreateSessionFromArray(runtime->env, file->bytes, file->size, options, &session->handle),
                subject, "cannot load it", error);
    if (options) api->ReleaseSessionOptions(options);
    if (refused) return SRI_REFUSED;
    const struct edge in[] = {{"signals", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, {layout->cells, layout->columns}, 2},
                              {"length", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, {0}, 0}};
    const struct edge out[] = {{"score", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, {layout->parts}, layout->flat ? 0 : 1},
                               {"valid", ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, {layout->parts}, layout->flat ? 0 : 1}};
    if (has_edges(runtime, session, true, in, session->prefix ? 2 : 1) && has_edges(runtime, session, false, out, 2))
        return SRI_OK;
    session_close(runtime, session);
    return fail(error, "%s: its inputs or outputs are not those the manifest promises. Export the guard again.",
                subject);
}

/* -- running ---------------------------------------------------------------------------------------------- */

/* Rows [rows, T, C] (and lengths [rows]) -> score [rows, K], valid [rows, K]. What a graph declares is checked again on
 * what it returns: onnxruntime only warns where they differ. */
static int session_run(const struct runtime *runtime, const struct session *session, const char *subject,
                       const float *signals, const int64_t *lengths, size_t rows, const struct layout *layout,
                       float *score, bool *valid, sri_error *error) {
    static const char *const in[] = {"signals", "length"}, *const out[] = {"score", "valid"};
    const struct sri_ort_api *api = runtime->api;
    const int64_t shape[3] = {(int64_t)rows, (int64_t)layout->cells, (int64_t)layout->columns};
    size_t scores = rows * layout->parts;
    const char *doing = "fails on a signal";
    OrtValue *values[4] = {NULL}; /* two inputs, two outputs */
    /* Inputs are not written to, whatever the type of the argument says. */
    int refused = ort(api,
                      api->CreateTensorWithDataAsOrtValue(runtime->memory, (void *)(uintptr_t)signals,
                                                          rows * layout->cells * layout->columns * sizeof *signals,
                                                          shape, 3, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &values[0]),
                      subject, doing, error);
    if (!refused && session->prefix)
        refused =
            ort(api,
                api->CreateTensorWithDataAsOrtValue(runtime->memory, (void *)(uintptr_t)lengths, rows * sizeof *lengths,
                                                    shape, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &values[1]),
                subject, doing, error);
    if (!refused)
        refused = ort(api,
                      api->Run(session->handle, NULL, in, (const OrtValue *const *)values, session->prefix ? 2 : 1, out,
                               2, values + 2),
                      subject, doing, error);
    for (int i = 0; i < 2 && !refused; i++) {
        OrtTensorTypeAndShapeInfo *info = NULL;
        void *data = NULL;
        int tensor = 0;
        refused = ort(api, api->IsTensor(values[2 + i], &tensor), subject, doing, error);
        if (!refused && tensor)
            refused = ort(api, api->GetTensorTypeAndShape(values[2 + i], &info), subject, doing, error);
        if (!refused &&
            !has_shape(api, info, i ? ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                       (int64_t)rows, &layout->parts, layout->flat ? 0 : 1))
            refused = fail(
                error, "%s: it returns another number of scores, or of another type. Export the guard again.", subject);
        if (info) api->ReleaseTensorTypeAndShapeInfo(info);
        if (!refused) refused = ort(api, api->GetTensorMutableData(values[2 + i], &data), subject, doing, error);
        if (!refused && i == 0) memcpy(score, data, scores * sizeof *score);
        for (size_t at = 0; i == 1 && at < scores && !refused; at++) valid[at] = ((const unsigned char *)data)[at] != 0;
    }
    for (int i = 0; i < 4; i++)
        if (values[i]) api->ReleaseValue(values[i]);
    return refused;
}

#endif
