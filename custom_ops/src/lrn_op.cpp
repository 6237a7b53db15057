#include "lrn_op.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "dispatch.h"
#include "lrn_problem.h"

namespace onnxnorm {
namespace {

enum class Kind { kIntra, kInter };

struct OpType {
  Kind kind;
  const char* name;
};
constexpr OpType kOpTypes[] = {{Kind::kIntra, "IntraChannelLRN"}, {Kind::kInter, "InterChannelLRN"}};

constexpr ort::ElementType kElementTypes[kElements] = {ort::kFloat, ort::kDouble, ort::kFloat16, ort::kBFloat16};

// What is wrong, for the user; becomes a status at the boundary.
struct Refused {
  ort::ErrorCode code;
  std::string text;
};

// A status of the runtime on its way back to the runtime.
struct Passed {
  ort::Status* status;
};

void check(ort::Status* status) {
  if (status != nullptr) throw Passed{status};
}

bool succeeded(const ort::Api& api, ort::Status* status) {
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

std::vector<std::int64_t> dimensions(const ort::Api& api, const ort::TensorInfo* info) {
  std::size_t rank = 0;
  check(api.GetDimensionsCount(info, &rank));
  std::vector<std::int64_t> dims(rank);
  if (rank > 0) check(api.GetDimensions(info, dims.data(), rank));
  return dims;
}

std::string node_name(const ort::Api& api, const ort::KernelInfo* info) {
  std::size_t size = 0;
  if (!succeeded(api, api.KernelInfo_GetNodeName(info, nullptr, &size)) || size == 0) return {};
  std::string name(size, '\0');
  if (!succeeded(api, api.KernelInfo_GetNodeName(info, name.data(), &size))) return {};
  name.resize(name.find_last_not_of('\0') + 1);
  return name;
}

struct OpObject : ort::CustomOp {
  OpType type;
  Element element;
};

class Kernel {
 public:
  Kernel(const ort::Api& api, const ort::KernelInfo* info, const OpObject& op) : api_(api), op_(op) {
    name_ = node_name(api, info);
    read_attributes(info);
    const std::string wrong = op.type.kind == Kind::kIntra ? check_intra(attributes_) : check_inter(attributes_);
    if (!wrong.empty()) refuse(wrong);
    check_rank(info);
    std::string no_target;
    target_ = choose_target(no_target);
    if (target_ == nullptr) refuse(no_target);
  }

  const ort::Api& api() const { return api_; }

  void compute(ort::KernelContext* context) const {
    const ort::Value* input = nullptr;
    check(api_.KernelContext_GetInput(context, 0, &input));
    ort::TensorInfo* info = nullptr;
    check(api_.GetTensorTypeAndShape(input, &info));
    std::unique_ptr<ort::TensorInfo, decltype(api_.ReleaseTensorTypeAndShapeInfo)> owner(
        info, api_.ReleaseTensorTypeAndShapeInfo);
    const std::vector<std::int64_t> shape = dimensions(api_, info);
    LrnProblem problem;
    const std::string wrong = op_.type.kind == Kind::kIntra ? make_intra(attributes_, shape, problem)
                                                            : make_inter(attributes_, shape, problem);
    if (!wrong.empty()) refuse(wrong);

    ort::Value* output = nullptr;
    check(api_.KernelContext_GetOutput(context, 0, shape.data(), shape.size(), &output));
    if (problem.units() == 0) return;
    void* x = nullptr;
    void* y = nullptr;
    check(api_.GetTensorMutableData(const_cast<ort::Value*>(input), &x));
    check(api_.GetTensorMutableData(output, &y));
    run(context, problem, x, y);
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    throw Refused{ort::kInvalidArgument, std::string(op_.type.name) + " node '" + name_ + "': " + reason};
  }

  void read_attributes(const ort::KernelInfo* info) {
    const bool intra = op_.type.kind == Kind::kIntra;
    if (intra) {
      std::size_t count = 0;
      if (!succeeded(api_, api_.KernelInfoGetAttributeArray_int64(info, "kernel_shape", nullptr, &count)))
        refuse("the attribute kernel_shape (integers) is missing or of another type");
      attributes_.window.resize(count);
      if (count > 0)
        check(api_.KernelInfoGetAttributeArray_int64(info, "kernel_shape", attributes_.window.data(), &count));
    } else {
      attributes_.window.resize(1);
      if (!succeeded(api_, api_.KernelInfoGetAttribute_int64(info, "size", attributes_.window.data())))
        refuse("the attribute size (integer) is missing or of another type");
    }
    read_float(info, "alpha", attributes_.alpha);
    read_float(info, "beta", attributes_.beta);
    read_float(info, "bias", attributes_.bias);
  }

  // Leaves the default where the attribute is missing.
  void read_float(const ort::KernelInfo* info, const char* name, float& value) const {
    if (succeeded(api_, api_.KernelInfoGetAttribute_float(info, name, &value))) return;
    std::int64_t integer = 0;
    std::size_t size = 0;
    if (succeeded(api_, api_.KernelInfoGetAttribute_int64(info, name, &integer)) ||
        succeeded(api_, api_.KernelInfoGetAttributeArray_float(info, name, nullptr, &size)) ||
        succeeded(api_, api_.KernelInfoGetAttributeArray_int64(info, name, nullptr, &size)) ||
        succeeded(api_, api_.KernelInfoGetAttribute_string(info, name, nullptr, &size)))
      refuse(std::string("the attribute ") + name + " must be a float");
  }

  // Where the graph knows the input's rank, a wrong one is refused before anything runs.
  void check_rank(const ort::KernelInfo* info) const {
    ort::TypeInfo* type = nullptr;
    if (!succeeded(api_, api_.KernelInfo_GetInputTypeInfo(info, 0, &type))) return;
    std::unique_ptr<ort::TypeInfo, decltype(api_.ReleaseTypeInfo)> owner(type, api_.ReleaseTypeInfo);
    const ort::TensorInfo* tensor = nullptr;  // owned by `type`
    if (!succeeded(api_, api_.CastTypeInfoToTensorInfo(type, &tensor)) || tensor == nullptr) return;
    std::size_t rank = 0;
    if (!succeeded(api_, api_.GetDimensionsCount(tensor, &rank)) || rank == 0) return;  // 0: unknown
    if (op_.type.kind == Kind::kIntra && rank != attributes_.window.size() + 2)
      refuse("kernel_shape has " + std::to_string(attributes_.window.size()) + " entries and needs an input of rank " +
             std::to_string(attributes_.window.size() + 2) + ", the input has rank " + std::to_string(rank));
    if (op_.type.kind == Kind::kInter && rank < 2)
      refuse("the input must have a batch and a channel axis, it has rank " + std::to_string(rank));
  }

  struct Call {
    const LrnProblem& problem;
    LrnKernel kernel;
    const void* x;
    void* y;
    std::int64_t tasks;
    std::atomic<bool> ok;
  };

  static void run_task(void* data, std::size_t index) noexcept {
    Call& call = *static_cast<Call*>(data);
    const std::int64_t units = call.problem.units();
    const std::int64_t i = static_cast<std::int64_t>(index);
    const std::int64_t each = units / call.tasks;
    const std::int64_t more = units % call.tasks;  // the first tasks take one unit more
    const std::int64_t begin = i * each + std::min(i, more);
    const std::int64_t end = begin + each + (i < more ? 1 : 0);
    if (!call.kernel(call.problem, call.x, call.y, begin, end)) call.ok.store(false, std::memory_order_relaxed);
  }

  void run(const ort::KernelContext* context, const LrnProblem& problem, const void* x, void* y) const {
    constexpr std::int64_t kElementsPerTask = 32 * 1024;
    constexpr std::int64_t kMostTasks = 256;
    const std::int64_t units = problem.units();
    const std::int64_t per_task = std::max<std::int64_t>(kElementsPerTask / problem.unit_elements(), 1);
    const std::int64_t tasks = std::min((units + per_task - 1) / per_task, kMostTasks);
    Call call{problem, target_->lrn[static_cast<int>(op_.element)], x, y, tasks, true};
    if (tasks == 1) {
      run_task(&call, 0);
    } else {
      check(api_.KernelContext_ParallelFor(context, run_task, static_cast<std::size_t>(tasks), 0, &call));
    }
    if (!call.ok)
      throw Refused{ort::kRuntimeException, std::string(op_.type.name) + " node '" + name_ + "': out of memory"};
  }

  const ort::Api& api_;
  const OpObject& op_;
  std::string name_;
  Attributes attributes_;
  const Target* target_ = nullptr;
};

// Set before any op is added: shape inference gets no other.
std::atomic<const ort::Api*> g_api{nullptr};

const OpObject& as_object(const ort::CustomOp* op) { return *static_cast<const OpObject*>(op); }

ort::Status* ONNXNORM_ORT_CALL create_kernel(const ort::CustomOp* op, const ort::Api* api, const ort::KernelInfo* info,
                                             void** kernel) {
  return guarded(*api, [&] { *kernel = new Kernel(*api, info, as_object(op)); });
}

ort::Status* ONNXNORM_ORT_CALL compute(void* kernel, ort::KernelContext* context) {
  const Kernel& self = *static_cast<const Kernel*>(kernel);
  return guarded(self.api(), [&] { self.compute(context); });
}

ort::Status* ONNXNORM_ORT_CALL infer_shape(const ort::CustomOp*, ort::ShapeInferContext* context) {
  const ort::Api& api = *g_api.load();
  return guarded(api, [&] {
    ort::TensorInfo* info = nullptr;  // owned by the context
    check(api.ShapeInferContext_GetInputTypeShape(context, 0, &info));
    check(api.ShapeInferContext_SetOutputTypeShape(context, 0, info));
  });
}

OpObject make_op(OpType type, int element) {
  OpObject op{};
  op.type = type;
  op.element = static_cast<Element>(element);
  op.version = ort::kApiVersion;
  op.GetName = [](const ort::CustomOp* self) { return as_object(self).type.name; };
  op.GetExecutionProviderType = [](const ort::CustomOp*) -> const char* { return nullptr; };
  op.GetInputType = [](const ort::CustomOp* self, std::size_t) {
    return kElementTypes[static_cast<int>(as_object(self).element)];
  };
  op.GetOutputType = op.GetInputType;
  op.GetInputTypeCount = [](const ort::CustomOp*) -> std::size_t { return 1; };
  op.GetOutputTypeCount = op.GetInputTypeCount;
  op.GetInputCharacteristic = [](const ort::CustomOp*, std::size_t) { return ort::kRequired; };
  op.GetOutputCharacteristic = op.GetInputCharacteristic;
  op.GetInputMemoryType = [](const ort::CustomOp*, std::size_t) { return 0; };
  op.GetVariadicInputMinArity = [](const ort::CustomOp*) { return 0; };
  op.GetVariadicInputHomogeneity = [](const ort::CustomOp*) { return 1; };
  op.GetVariadicOutputMinArity = op.GetVariadicInputMinArity;
  op.GetVariadicOutputHomogeneity = op.GetVariadicInputHomogeneity;
  op.CreateKernelV2 = create_kernel;
  op.KernelComputeV2 = compute;
  op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  op.InferOutputShapeFn = infer_shape;
  op.GetStartVersion = [](const ort::CustomOp*) { return 1; };
  op.GetEndVersion = [](const ort::CustomOp*) { return INT_MAX; };
  return op;
}

}  // namespace

ort::Status* add_ops(const ort::Api& api, ort::CustomOpDomain* domain) {
  return guarded(api, [&] {
    static const std::vector<OpObject> ops = [] {
      std::vector<OpObject> made;
      for (const OpType& type : kOpTypes)
        for (int element = 0; element < kElements; ++element) made.push_back(make_op(type, element));
      return made;
    }();
    g_api.store(&api);
    for (const OpObject& op : ops) check(api.CustomOpDomain_Add(domain, &op));
  });
}

}  // namespace onnxnorm
