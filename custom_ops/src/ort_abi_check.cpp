// Built where the user names the official header: holds our declaration of the C ABI against it.
#include <cstddef>

#include <onnxruntime_c_api.h>

#include "ort_abi.h"

#define ONNXNORM_SAME_ENTRY(index, name) \
  static_assert(offsetof(::OrtApi, name) == offsetof(onnxnorm::ort::Api, name), #name);
ONNXNORM_ORT_API_ENTRIES(ONNXNORM_SAME_ENTRY)

#define ONNXNORM_SAME_FIELD(name) \
  static_assert(offsetof(::OrtCustomOp, name) == offsetof(onnxnorm::ort::CustomOp, name), #name)
ONNXNORM_SAME_FIELD(version);
ONNXNORM_SAME_FIELD(GetName);
ONNXNORM_SAME_FIELD(GetExecutionProviderType);
ONNXNORM_SAME_FIELD(GetInputType);
ONNXNORM_SAME_FIELD(GetInputTypeCount);
ONNXNORM_SAME_FIELD(GetOutputType);
ONNXNORM_SAME_FIELD(GetOutputTypeCount);
ONNXNORM_SAME_FIELD(KernelDestroy);
ONNXNORM_SAME_FIELD(GetInputCharacteristic);
ONNXNORM_SAME_FIELD(GetOutputCharacteristic);
ONNXNORM_SAME_FIELD(GetInputMemoryType);
ONNXNORM_SAME_FIELD(CreateKernelV2);
ONNXNORM_SAME_FIELD(KernelComputeV2);
ONNXNORM_SAME_FIELD(InferOutputShapeFn);
ONNXNORM_SAME_FIELD(GetStartVersion);
ONNXNORM_SAME_FIELD(GetEndVersion);

using onnxnorm::ort::ElementType;
static_assert(static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) == ElementType::kFloat);
static_assert(static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16) == ElementType::kFloat16);
static_assert(static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE) == ElementType::kDouble);
static_assert(static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16) == ElementType::kBFloat16);
