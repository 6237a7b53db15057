#include "lrn_op.h"

#include <memory>
#include <string>
#include <vector>

#include "dispatch.h"
#include "lrn_problem.h"
#include "op_support.h"

namespace onnxnorm {
namespace {

enum class Kind { kIntra, kInter };

struct OpType {
  Kind kind;
  const char* name;
};
constexpr OpType kOpTypes[] = {{Kind::kIntra, "IntraChannelLRN"}, {Kind::kInter, "InterChannelLRN"}};

class Kernel {
 public:
  static constexpr std::size_t kInputs = 1;

  Kernel(const ort::Api& api, const ort::KernelInfo* info, const OpObject<OpType>& op) : api_(api), op_(op) {
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
    read(info, "alpha", attributes_.alpha);
    read(info, "beta", attributes_.beta);
    read(info, "bias", attributes_.bias);
  }

  void read(const ort::KernelInfo* info, const char* name, float& value) const {
    if (!read_float(api_, info, name, value)) refuse(std::string("the attribute ") + name + " must be a float");
  }

  // Where the graph knows the input's rank, a wrong one is refused before anything runs.
  void check_rank(const ort::KernelInfo* info) const {
    const std::size_t rank = known_rank(api_, info, 0);
    if (rank == 0) return;
    if (op_.type.kind == Kind::kIntra && rank != attributes_.window.size() + 2)
      refuse("kernel_shape has " + std::to_string(attributes_.window.size()) + " entries and needs an input of rank " +
             std::to_string(attributes_.window.size() + 2) + ", the input has rank " + std::to_string(rank));
    if (op_.type.kind == Kind::kInter && rank < 2)
      refuse("the input must have a batch and a channel axis, it has rank " + std::to_string(rank));
  }

  void run(const ort::KernelContext* context, const LrnProblem& problem, const void* x, void* y) const {
    const LrnKernel kernel = target_->lrn[static_cast<int>(op_.element)];
    const bool ok = in_parallel(
        api_, context, problem.units(), problem.unit_elements(),
        [&](std::int64_t begin, std::int64_t end) { return kernel(problem, x, y, begin, end); });
    if (!ok)
      throw Refused{ort::kRuntimeException, std::string(op_.type.name) + " node '" + name_ + "': out of memory"};
  }

  const ort::Api& api_;
  const OpObject<OpType>& op_;
  std::string name_;
  Attributes attributes_;
  const Target* target_ = nullptr;
};

}  // namespace

ort::Status* add_ops(const ort::Api& api, ort::CustomOpDomain* domain) {
  return add_each<Kernel>(api, domain, kOpTypes);
}

}  // namespace onnxnorm
