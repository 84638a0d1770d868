/* Compiled, never run: the small table in ort_api.h against the real header, place by place and type by type. */
#include <onnxruntime_c_api.h>

#include <stddef.h>

#include "src/ort_api.h"

#define SAME(name)                                                                                                     \
    _Static_assert(offsetof(OrtApi, name) == offsetof(struct sri_ort_api, name), #name ": another place");             \
    _Static_assert(                                                                                                    \
        __builtin_types_compatible_p(__typeof__(((OrtApi *)0)->name), __typeof__(((struct sri_ort_api *)0)->name)),    \
        #name ": another type")

SAME(GetErrorMessage);
SAME(CreateEnv);
SAME(CreateSessionFromArray);
SAME(Run);
SAME(CreateSessionOptions);
SAME(SetSessionLogSeverityLevel);
SAME(SetIntraOpNumThreads);
SAME(SetInterOpNumThreads);
SAME(SessionGetInputCount);
SAME(SessionGetOutputCount);
SAME(SessionGetInputTypeInfo);
SAME(SessionGetOutputTypeInfo);
SAME(SessionGetInputName);
SAME(SessionGetOutputName);
SAME(CreateTensorWithDataAsOrtValue);
SAME(IsTensor);
SAME(GetTensorMutableData);
SAME(CastTypeInfoToTensorInfo);
SAME(GetTensorElementType);
SAME(GetDimensionsCount);
SAME(GetDimensions);
SAME(GetTensorTypeAndShape);
SAME(CreateCpuMemoryInfo);
SAME(AllocatorFree);
SAME(GetAllocatorWithDefaultOptions);
SAME(ReleaseEnv);
SAME(ReleaseStatus);
SAME(ReleaseMemoryInfo);
SAME(ReleaseSession);
SAME(ReleaseValue);
SAME(ReleaseTypeInfo);
SAME(ReleaseTensorTypeAndShapeInfo);
SAME(ReleaseSessionOptions);
SAME(AddSessionConfigEntry);

_Static_assert(ORT_LOGGING_LEVEL_FATAL == 4, "");
_Static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT == 1 && ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 == 7, "");
_Static_assert(ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL == 9 && OrtDeviceAllocator == 0 && OrtMemTypeDefault == 0, "");
