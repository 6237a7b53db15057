// What all operators need of the runtime: errors on their way to it, shapes, names, attributes, threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "element.h"
#include "ort_abi.h"
#include "pieces.h"

namespace onnxnorm {

inline constexpr ort::ElementType kElementTypes[kElements] = {ort::kFloat, ort::kDouble, ort::kFloat16, ort::kBFloat16};

// What is wrong, for the user; becomes a status at the boundary.
struct Refused {
  ort::ErrorCode code;
  std::string text;
};

// A status of the runtime on its way back to the runtime.
struct Passed {
  ort::Status* status;
};

inline void check(ort::Status* status) {
  if (status != nullptr) throw Passed{status};
}

inline bool succeeded(const ort::Api& api, ort::Status* status) {
  if (status == nullptr) return true;
  api.ReleaseStatus(status);
  return false;
}

// Runs `body`; whatever it throws becomes a status, so that nothing is thrown across the boundary.
template <class Body>
ort::Status* guarded(const ort::Api& api, Body body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Passed& passed) {
    return passed.status;
  } catch (const Refused& refused) {
    return api.CreateStatus(refused.code, refused.text.c_str());
  } catch (const std::exception& error) {
    return api.CreateStatus(ort::kRuntimeException, error.what());
  } catch (...) {
    return api.CreateStatus(ort::kRuntimeException, "unknown error in onnxnorm's kernels");
  }
}

inline std::vector<std::int64_t> dimensions(const ort::Api& api, const ort::TensorInfo* info) {
  std::size_t rank = 0;
  check(api.GetDimensionsCount(info, &rank));
  std::vector<std::int64_t> dims(rank);
  if (rank > 0) check(api.GetDimensions(info, dims.data(), rank));
  return dims;
}

inline std::string node_name(const ort::Api& api, const ort::KernelInfo* info) {
  std::size_t size = 0;
  if (!succeeded(api, api.KernelInfo_GetNodeName(info, nullptr, &size)) || size == 0) return {};
  std::string name(size, '\0');
  if (!succeeded(api, api.KernelInfo_GetNodeName(info, name.data(), &size))) return {};
  name.resize(name.find_last_not_of('\0') + 1);
  return name;
}

// Leaves the value where the attribute is missing; false where it is of another type.
inline bool read_float(const ort::Api& api, const ort::KernelInfo* info, const char* name, float& value) {
  if (succeeded(api, api.KernelInfoGetAttribute_float(info, name, &value))) return true;
  std::int64_t integer = 0;
  std::size_t size = 0;
  return !(succeeded(api, api.KernelInfoGetAttribute_int64(info, name, &integer)) ||
           succeeded(api, api.KernelInfoGetAttributeArray_float(info, name, nullptr, &size)) ||
           succeeded(api, api.KernelInfoGetAttributeArray_int64(info, name, nullptr, &size)) ||
           succeeded(api, api.KernelInfoGetAttribute_string(info, name, nullptr, &size)));
}

// The same of an integer.
inline bool read_int(const ort::Api& api, const ort::KernelInfo* info, const char* name, std::int64_t& value) {
  if (succeeded(api, api.KernelInfoGetAttribute_int64(info, name, &value))) return true;
  float number = 0;
  std::size_t size = 0;
  return !(succeeded(api, api.KernelInfoGetAttribute_float(info, name, &number)) ||
           succeeded(api, api.KernelInfoGetAttributeArray_float(info, name, nullptr, &size)) ||
           succeeded(api, api.KernelInfoGetAttributeArray_int64(info, name, nullptr, &size)) ||
           succeeded(api, api.KernelInfoGetAttribute_string(info, name, nullptr, &size)));
}

// The rank of an input as far as the graph knows it when a node is made; 0 for unknown.
inline std::size_t known_rank(const ort::Api& api, const ort::KernelInfo* info, std::size_t input) {
  ort::TypeInfo* type = nullptr;
  if (!succeeded(api, api.KernelInfo_GetInputTypeInfo(info, input, &type))) return 0;
  std::unique_ptr<ort::TypeInfo, decltype(api.ReleaseTypeInfo)> owner(type, api.ReleaseTypeInfo);
  const ort::TensorInfo* tensor = nullptr;  // owned by `type`
  if (!succeeded(api, api.CastTypeInfoToTensorInfo(type, &tensor)) || tensor == nullptr) return 0;
  std::size_t rank = 0;
  return succeeded(api, api.GetDimensionsCount(tensor, &rank)) ? rank : 0;
}

// Calls `work(begin, end)` for all of `units`, on the threads of the session where there is enough to do. False where a
// call returned it: no memory was left.
template <class Work>
bool in_parallel(const ort::Api& api, const ort::KernelContext* context, std::int64_t units, std::int64_t unit_elements,
                 const Work& work) {
  struct Call {
    const Work& work;
    Pieces pieces;
    std::atomic<bool> ok;
  };
  Call call{work, Pieces(units, unit_elements), true};
  const auto run_piece = [](void* data, std::size_t index) {
    Call& self = *static_cast<Call*>(data);
    const std::int64_t piece = static_cast<std::int64_t>(index);
    const bool done = self.work(self.pieces.begin(piece), self.pieces.begin(piece + 1));
    if (!done) self.ok.store(false, std::memory_order_relaxed);
  };
  const std::size_t count = static_cast<std::size_t>(call.pieces.count);
  if (count == 1) run_piece(&call, 0);
  else check(api.KernelContext_ParallelFor(context, run_piece, count, 0, &call));
  return call.ok;
}

// What the runtime asks of an operator beside its kernel: T in, T out, of the shape of the first input.
template <class Object>
void set_common(Object& op) {
  op.version = ort::kApiVersion;
  op.GetExecutionProviderType = [](const ort::CustomOp*) -> const char* { return nullptr; };
  op.GetInputType = [](const ort::CustomOp* self, std::size_t) {
    return kElementTypes[static_cast<int>(static_cast<const Object*>(self)->element)];
  };
  op.GetOutputType = op.GetInputType;
  op.GetOutputTypeCount = [](const ort::CustomOp*) -> std::size_t { return 1; };
  op.GetInputCharacteristic = [](const ort::CustomOp*, std::size_t) { return ort::kRequired; };
  op.GetOutputCharacteristic = op.GetInputCharacteristic;
  op.GetInputMemoryType = [](const ort::CustomOp*, std::size_t) { return 0; };
  op.GetVariadicInputMinArity = [](const ort::CustomOp*) { return 0; };
  op.GetVariadicInputHomogeneity = [](const ort::CustomOp*) { return 1; };
  op.GetVariadicOutputMinArity = op.GetVariadicInputMinArity;
  op.GetVariadicOutputHomogeneity = op.GetVariadicInputHomogeneity;
  op.GetStartVersion = [](const ort::CustomOp*) { return 1; };
  op.GetEndVersion = [](const ort::CustomOp*) { return 0x7fffffff; };
}

// Set before any op is added: shape inference gets no other.
inline std::atomic<const ort::Api*> g_api{nullptr};

inline ort::Status* ONNXNORM_ORT_CALL infer_shape(const ort::CustomOp*, ort::ShapeInferContext* context) {
  const ort::Api& api = *g_api.load();
  return guarded(api, [&] {
    ort::TensorInfo* info = nullptr;  // owned by the context
    check(api.ShapeInferContext_GetInputTypeShape(context, 0, &info));
    check(api.ShapeInferContext_SetOutputTypeShape(context, 0, info));
  });
}

// An operator as the runtime keeps it, one for each name and element type. `OpType` has a `name`.
template <class OpType>
struct OpObject : ort::CustomOp {
  OpType type;
  Element element;
};

// The runtime's functions for operators whose nodes are of class `Kernel`: it is made of the api, the node's info and
// the operator, and has `api`, `compute` and the number of inputs.
template <class Kernel, class OpType>
struct OpFunctions {
  using Object = OpObject<OpType>;

  static const Object& as_object(const ort::CustomOp* op) { return *static_cast<const Object*>(op); }

  static ort::Status* ONNXNORM_ORT_CALL create_kernel(const ort::CustomOp* op, const ort::Api* api,
                                                      const ort::KernelInfo* info, void** kernel) {
    return guarded(*api, [&] { *kernel = new Kernel(*api, info, as_object(op)); });
  }

  static ort::Status* ONNXNORM_ORT_CALL compute(void* kernel, ort::KernelContext* context) {
    const Kernel& self = *static_cast<const Kernel*>(kernel);
    return guarded(self.api(), [&] { self.compute(context); });
  }

  static Object make_op(const OpType& type, int element) {
    Object op{};
    op.type = type;
    op.element = static_cast<Element>(element);
    set_common(op);
    op.GetName = [](const ort::CustomOp* self) { return as_object(self).type.name; };
    op.GetInputTypeCount = [](const ort::CustomOp*) -> std::size_t { return Kernel::kInputs; };
    op.CreateKernelV2 = create_kernel;
    op.KernelComputeV2 = compute;
    op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    op.InferOutputShapeFn = infer_shape;
    return op;
  }
};

// Adds operators, each for every element type, to a domain of a session. The first error, or null.
template <class Kernel, class OpType, std::size_t N>
ort::Status* add_each(const ort::Api& api, ort::CustomOpDomain* domain, const OpType (&types)[N]) {
  return guarded(api, [&] {
    static const std::vector<OpObject<OpType>> ops = [&types] {
      std::vector<OpObject<OpType>> made;
      for (const OpType& type : types)
        for (int element = 0; element < kElements; ++element)
          made.push_back(OpFunctions<Kernel, OpType>::make_op(type, element));
      return made;
    }();
    g_api.store(&api);
    for (const OpObject<OpType>& op : ops) check(api.CustomOpDomain_Add(domain, &op));
  });
}

}  // namespace onnxnorm
