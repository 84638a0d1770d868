/* The little of onnxruntime's C API that scoring needs.
 *
 * onnxruntime ships its library in many packages and its headers in few. Its API is one table of function pointers that
 * only ever grows at the end, so the places below hold for every release since 1.14 (API version 14). Where the real
 * header is included first, its own types are used, and tests/runtimes/native/ort_api_check.c compares every place and
 * type.
 */
#ifndef SRI_ORT_API_H
#define SRI_ORT_API_H

#include <stddef.h>
#include <stdint.h>

enum { SRI_ORT_API_VERSION = 14 };

#ifndef ORT_API_VERSION
typedef struct OrtEnv OrtEnv;
typedef struct OrtStatus OrtStatus;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtSession OrtSession;
typedef struct OrtValue OrtValue;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtAllocator OrtAllocator;
typedef enum OrtLoggingLevel { ORT_LOGGING_LEVEL_FATAL = 4 } OrtLoggingLevel;
typedef enum ONNXTensorElementDataType {
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED = 0,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 = 7,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL = 9,
} ONNXTensorElementDataType;
typedef enum OrtAllocatorType { OrtInvalidAllocator = -1, OrtDeviceAllocator = 0 } OrtAllocatorType;
typedef enum OrtMemType { OrtMemTypeCPUInput = -2, OrtMemTypeDefault = 0 } OrtMemType;

typedef struct OrtApiBase {
    const struct OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;
extern const OrtApiBase *OrtGetApiBase(void);
#endif

typedef void (*sri_ort_unused)(void);

/* The numbers are places in the table; a status of NULL means success. */
struct sri_ort_api {
    sri_ort_unused from_0[2];
    const char *(*GetErrorMessage)(const OrtStatus *); /* 2 */
    OrtStatus *(*CreateEnv)(OrtLoggingLevel, const char *, OrtEnv **);
    sri_ort_unused from_4[4];
    OrtStatus *(*CreateSessionFromArray)(const OrtEnv *, const void *, size_t, const OrtSessionOptions *,
                                         OrtSession **); /* 8 */
    OrtStatus *(*Run)(OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, size_t,
                      const char *const *, size_t, OrtValue **);
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);
    sri_ort_unused from_11[11];
    OrtStatus *(*SetSessionLogSeverityLevel)(OrtSessionOptions *, int); /* 22 */
    sri_ort_unused from_23[1];
    OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int); /* 24 */
    OrtStatus *(*SetInterOpNumThreads)(OrtSessionOptions *, int);
    sri_ort_unused from_26[4];
    OrtStatus *(*SessionGetInputCount)(const OrtSession *, size_t *); /* 30 */
    OrtStatus *(*SessionGetOutputCount)(const OrtSession *, size_t *);
    sri_ort_unused from_32[1];
    OrtStatus *(*SessionGetInputTypeInfo)(const OrtSession *, size_t, OrtTypeInfo **); /* 33 */
    OrtStatus *(*SessionGetOutputTypeInfo)(const OrtSession *, size_t, OrtTypeInfo **);
    sri_ort_unused from_35[1];
    OrtStatus *(*SessionGetInputName)(const OrtSession *, size_t, OrtAllocator *, char **); /* 36 */
    OrtStatus *(*SessionGetOutputName)(const OrtSession *, size_t, OrtAllocator *, char **);
    sri_ort_unused from_38[11];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t,
                                                 ONNXTensorElementDataType, OrtValue **); /* 49 */
    OrtStatus *(*IsTensor)(const OrtValue *, int *);
    OrtStatus *(*GetTensorMutableData)(OrtValue *, void **);
    sri_ort_unused from_52[3];
    OrtStatus *(*CastTypeInfoToTensorInfo)(const OrtTypeInfo *, const OrtTensorTypeAndShapeInfo **); /* 55 */
    sri_ort_unused from_56[4];
    OrtStatus *(*GetTensorElementType)(const OrtTensorTypeAndShapeInfo *, ONNXTensorElementDataType *); /* 60 */
    OrtStatus *(*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo *, size_t *);
    OrtStatus *(*GetDimensions)(const OrtTensorTypeAndShapeInfo *, int64_t *, size_t);
    sri_ort_unused from_63[2];
    OrtStatus *(*GetTensorTypeAndShape)(const OrtValue *, OrtTensorTypeAndShapeInfo **); /* 65 */
    sri_ort_unused from_66[3];
    OrtStatus *(*CreateCpuMemoryInfo)(OrtAllocatorType, OrtMemType, OrtMemoryInfo **); /* 69 */
    sri_ort_unused from_70[6];
    OrtStatus *(*AllocatorFree)(OrtAllocator *, void *); /* 76 */
    sri_ort_unused from_77[1];
    OrtStatus *(*GetAllocatorWithDefaultOptions)(OrtAllocator **); /* 78 */
    sri_ort_unused from_79[13];
    void (*ReleaseEnv)(OrtEnv *); /* 92 */
    void (*ReleaseStatus)(OrtStatus *);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
    void (*ReleaseSession)(OrtSession *);
    void (*ReleaseValue)(OrtValue *);
    sri_ort_unused from_97[1];
    void (*ReleaseTypeInfo)(OrtTypeInfo *); /* 98 */
    void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo *);
    void (*ReleaseSessionOptions)(OrtSessionOptions *);
    sri_ort_unused from_101[29];
    OrtStatus *(*AddSessionConfigEntry)(OrtSessionOptions *, const char *, const char *); /* 130 */
};

#define SRI_ORT_PLACE(name, number)                                                                                    \
    _Static_assert(offsetof(struct sri_ort_api, name) == (number) * sizeof(sri_ort_unused), #name ": another place")
SRI_ORT_PLACE(CreateSessionFromArray, 8);
SRI_ORT_PLACE(SessionGetInputCount, 30);
SRI_ORT_PLACE(GetTensorElementType, 60);
SRI_ORT_PLACE(ReleaseEnv, 92);
SRI_ORT_PLACE(AddSessionConfigEntry, 130);

#endif
