// The part of ONNX Runtime's C ABI that this library uses, declared here because the runtime's Python package ships no
// header. The function table only grows at its end, so an index is valid for every runtime that has the function.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(_WIN32)
#define ONNXNORM_ORT_CALL __stdcall
#define ONNXNORM_EXPORT __declspec(dllexport)
#else
#define ONNXNORM_ORT_CALL
#define ONNXNORM_EXPORT __attribute__((visibility("default")))
#endif

namespace onnxnorm::ort {

struct Status;
struct Value;
struct KernelInfo;
struct KernelContext;
struct TypeInfo;
struct TensorInfo;
struct SessionOptions;
struct CustomOpDomain;
struct ShapeInferContext;
struct CustomOp;

inline constexpr std::uint32_t kApiVersion = 17;  // the first with shape inference and ParallelFor

enum ErrorCode : int { kFail = 1, kInvalidArgument = 2, kRuntimeException = 6, kInvalidGraph = 10 };
enum ElementType : int { kUndefined = 0, kFloat = 1, kFloat16 = 10, kDouble = 11, kBFloat16 = 16 };
enum Characteristic : int { kRequired = 0 };

struct Api {
  Status*(ONNXNORM_ORT_CALL* CreateStatus)(ErrorCode, const char*);
  void* unused_1[25];
  Status*(ONNXNORM_ORT_CALL* CreateCustomOpDomain)(const char*, CustomOpDomain**);
  Status*(ONNXNORM_ORT_CALL* CustomOpDomain_Add)(CustomOpDomain*, const CustomOp*);
  Status*(ONNXNORM_ORT_CALL* AddCustomOpDomain)(SessionOptions*, CustomOpDomain*);
  void* unused_29[22];
  Status*(ONNXNORM_ORT_CALL* GetTensorMutableData)(Value*, void**);
  void* unused_52[3];
  Status*(ONNXNORM_ORT_CALL* CastTypeInfoToTensorInfo)(const TypeInfo*, const TensorInfo**);
  void* unused_56[5];
  Status*(ONNXNORM_ORT_CALL* GetDimensionsCount)(const TensorInfo*, std::size_t*);
  Status*(ONNXNORM_ORT_CALL* GetDimensions)(const TensorInfo*, std::int64_t*, std::size_t);
  void* unused_63[2];
  Status*(ONNXNORM_ORT_CALL* GetTensorTypeAndShape)(const Value*, TensorInfo**);
  void* unused_66[19];
  Status*(ONNXNORM_ORT_CALL* KernelInfoGetAttribute_float)(const KernelInfo*, const char*, float*);
  Status*(ONNXNORM_ORT_CALL* KernelInfoGetAttribute_int64)(const KernelInfo*, const char*, std::int64_t*);
  Status*(ONNXNORM_ORT_CALL* KernelInfoGetAttribute_string)(const KernelInfo*, const char*, char*, std::size_t*);
  void* unused_88[2];
  Status*(ONNXNORM_ORT_CALL* KernelContext_GetInput)(const KernelContext*, std::size_t, const Value**);
  Status*(ONNXNORM_ORT_CALL* KernelContext_GetOutput)(KernelContext*, std::size_t, const std::int64_t*, std::size_t,
                                                      Value**);
  void* unused_92[1];
  void(ONNXNORM_ORT_CALL* ReleaseStatus)(Status*);
  void* unused_94[4];
  void(ONNXNORM_ORT_CALL* ReleaseTypeInfo)(TypeInfo*);
  void(ONNXNORM_ORT_CALL* ReleaseTensorTypeAndShapeInfo)(TensorInfo*);
  void* unused_100[62];
  Status*(ONNXNORM_ORT_CALL* KernelInfoGetAttributeArray_float)(const KernelInfo*, const char*, float*, std::size_t*);
  Status*(ONNXNORM_ORT_CALL* KernelInfoGetAttributeArray_int64)(const KernelInfo*, const char*, std::int64_t*,
                                                                std::size_t*);
  void* unused_164[70];
  Status*(ONNXNORM_ORT_CALL* KernelInfo_GetInputTypeInfo)(const KernelInfo*, std::size_t, TypeInfo**);
  void* unused_235[9];
  Status*(ONNXNORM_ORT_CALL* KernelInfo_GetNodeName)(const KernelInfo*, char*, std::size_t*);
  void* unused_245[23];
  Status*(ONNXNORM_ORT_CALL* ShapeInferContext_GetInputTypeShape)(const ShapeInferContext*, std::size_t, TensorInfo**);
  void* unused_269[1];
  Status*(ONNXNORM_ORT_CALL* ShapeInferContext_SetOutputTypeShape)(const ShapeInferContext*, std::size_t,
                                                                   const TensorInfo*);
  void* unused_271[3];
  Status*(ONNXNORM_ORT_CALL* KernelContext_ParallelFor)(const KernelContext*, void (*)(void*, std::size_t), std::size_t,
                                                        std::size_t, void*);
};

struct ApiBase {
  const Api*(ONNXNORM_ORT_CALL* GetApi)(std::uint32_t);
  const char*(ONNXNORM_ORT_CALL* GetVersionString)();
};

struct CustomOp {
  std::uint32_t version;
  void* CreateKernel;
  const char*(ONNXNORM_ORT_CALL* GetName)(const CustomOp*);
  const char*(ONNXNORM_ORT_CALL* GetExecutionProviderType)(const CustomOp*);
  ElementType(ONNXNORM_ORT_CALL* GetInputType)(const CustomOp*, std::size_t);
  std::size_t(ONNXNORM_ORT_CALL* GetInputTypeCount)(const CustomOp*);
  ElementType(ONNXNORM_ORT_CALL* GetOutputType)(const CustomOp*, std::size_t);
  std::size_t(ONNXNORM_ORT_CALL* GetOutputTypeCount)(const CustomOp*);
  void* KernelCompute;
  void(ONNXNORM_ORT_CALL* KernelDestroy)(void*);
  Characteristic(ONNXNORM_ORT_CALL* GetInputCharacteristic)(const CustomOp*, std::size_t);
  Characteristic(ONNXNORM_ORT_CALL* GetOutputCharacteristic)(const CustomOp*, std::size_t);
  int(ONNXNORM_ORT_CALL* GetInputMemoryType)(const CustomOp*, std::size_t);
  int(ONNXNORM_ORT_CALL* GetVariadicInputMinArity)(const CustomOp*);
  int(ONNXNORM_ORT_CALL* GetVariadicInputHomogeneity)(const CustomOp*);
  int(ONNXNORM_ORT_CALL* GetVariadicOutputMinArity)(const CustomOp*);
  int(ONNXNORM_ORT_CALL* GetVariadicOutputHomogeneity)(const CustomOp*);
  Status*(ONNXNORM_ORT_CALL* CreateKernelV2)(const CustomOp*, const Api*, const KernelInfo*, void**);
  Status*(ONNXNORM_ORT_CALL* KernelComputeV2)(void*, KernelContext*);
  Status*(ONNXNORM_ORT_CALL* InferOutputShapeFn)(const CustomOp*, ShapeInferContext*);
  int(ONNXNORM_ORT_CALL* GetStartVersion)(const CustomOp*);
  int(ONNXNORM_ORT_CALL* GetEndVersion)(const CustomOp*);
  void* GetMayInplace;
  void* ReleaseMayInplace;
  void* GetAliasMap;
  void* ReleaseAliasMap;
};

// What the table above must hold, by index; ort_abi_check.cpp holds the official header against the same list.
#define ONNXNORM_ORT_API_ENTRIES(X)               \
  X(0, CreateStatus)                              \
  X(26, CreateCustomOpDomain)                     \
  X(27, CustomOpDomain_Add)                       \
  X(28, AddCustomOpDomain)                        \
  X(51, GetTensorMutableData)                     \
  X(55, CastTypeInfoToTensorInfo)                 \
  X(61, GetDimensionsCount)                       \
  X(62, GetDimensions)                            \
  X(65, GetTensorTypeAndShape)                    \
  X(85, KernelInfoGetAttribute_float)             \
  X(86, KernelInfoGetAttribute_int64)             \
  X(87, KernelInfoGetAttribute_string)            \
  X(90, KernelContext_GetInput)                   \
  X(91, KernelContext_GetOutput)                  \
  X(93, ReleaseStatus)                            \
  X(98, ReleaseTypeInfo)                          \
  X(99, ReleaseTensorTypeAndShapeInfo)            \
  X(162, KernelInfoGetAttributeArray_float)       \
  X(163, KernelInfoGetAttributeArray_int64)       \
  X(234, KernelInfo_GetInputTypeInfo)             \
  X(244, KernelInfo_GetNodeName)                  \
  X(268, ShapeInferContext_GetInputTypeShape)     \
  X(270, ShapeInferContext_SetOutputTypeShape)    \
  X(274, KernelContext_ParallelFor)
#define ONNXNORM_HELD(index, name) static_assert(offsetof(Api, name) == (index) * sizeof(void*), #name);
ONNXNORM_ORT_API_ENTRIES(ONNXNORM_HELD)
#undef ONNXNORM_HELD
static_assert(sizeof(CustomOp) == 26 * sizeof(void*));

}  // namespace onnxnorm::ort
