#include "norm_op.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "dispatch.h"
#include "norm_problem.h"
#include "norm_shapes.h"
#include "op_support.h"

namespace onnxnorm {
namespace {

struct OpType {
  NormKind kind;
  const char* name;
};
constexpr OpType kOpTypes[] = {{NormKind::kGroup, "GroupNorm"},
                               {NormKind::kChannelLayer, "ChannelLayerNorm"},
                               {NormKind::kChannelRms, "ChannelRMSNorm"},
                               {NormKind::kChannelLp, "ChannelLpNorm"},
                               {NormKind::kMeanVariance, "MeanVarianceNorm"},
                               {NormKind::kGlobalResponse, "GlobalResponseNorm"},
                               {NormKind::kAffine, "ChannelAffine"}};

struct Tensor {
  void* data = nullptr;
  std::vector<std::int64_t> shape;
  std::int64_t elements = 1;
};

double half_to_double(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, digits = bits & 1023;
  const double size = exponent == 31  ? (digits == 0 ? HUGE_VAL : std::nan(""))
                      : exponent == 0 ? std::ldexp(digits, -24)
                                      : std::ldexp(1024 + digits, exponent - 25);
  return bits & 0x8000 ? -size : size;
}

double number_at(Element element, const void* data, std::int64_t i) {
  switch (element) {
    case Element::kFloat: return static_cast<const float*>(data)[i];
    case Element::kDouble: return static_cast<const double*>(data)[i];
    case Element::kFloat16: return half_to_double(static_cast<const std::uint16_t*>(data)[i]);
    case Element::kBFloat16: break;
  }
  const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(data)[i]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// A vector of parameters in double, one of them repeated where there are more of the other.
std::vector<double> parameters(Element element, const Tensor& from, std::int64_t count) {
  std::vector<double> result(static_cast<std::size_t>(count));
  const std::int64_t each = count / from.elements;
  double* to = result.data();
  for (std::int64_t i = 0; i < from.elements; ++i, to += each) std::fill_n(to, each, number_at(element, from.data, i));
  return result;
}

// Whether float holds the parameters, and their products with a factor, with all digits.
bool fit_in_float(const std::vector<double>& scale, const std::vector<double>& bias) {
  for (const double value : scale)
    if (!(value == 0 || (std::fabs(value) >= 0x1p-60 && std::fabs(value) <= 0x1p60))) return false;
  for (const double value : bias)
    if (!(std::fabs(value) <= 0x1p60)) return false;
  return true;
}

class Kernel {
 public:
  static constexpr std::size_t kInputs = 4;  // X, scale, bias, residual

  Kernel(const ort::Api& api, const ort::KernelInfo* info, const OpObject<OpType>& op) : api_(api), op_(op) {
    name_ = node_name(api, info);
    attributes_.kind = op.type.kind;
    read_attributes(info);
    const std::string wrong = check_attributes(attributes_);
    if (!wrong.empty()) refuse(wrong);
    const std::size_t rank = known_rank(api, info, 0);
    if (rank != 0) {
      const std::string mismatch = check_rank(attributes_, rank);
      if (!mismatch.empty()) refuse(mismatch);
    }
    std::string no_target;
    const Target* target = choose_target(no_target);
    if (target == nullptr) refuse(no_target);
    kernels_ = &target->norm[static_cast<int>(op.element)];
  }

  const ort::Api& api() const { return api_; }

  void compute(ort::KernelContext* context) const {
    Tensor inputs[kInputs];
    for (std::size_t i = 0; i < kInputs; ++i) inputs[i] = input(context, i);
    const Tensor& x = inputs[0];
    NormShape shape;
    const std::string wrong =
        make_shape(attributes_, x.shape, inputs[1].elements, inputs[2].elements, shape);
    if (!wrong.empty()) refuse(wrong);
    if (inputs[3].elements != 1 && inputs[3].shape != x.shape)
      refuse("the residual must have the shape of the input, or one element");

    ort::Value* output = nullptr;
    check(api_.KernelContext_GetOutput(context, 0, x.shape.data(), x.shape.size(), &output));
    if (x.elements == 0) return;
    NormOperands operands;
    operands.x = x.data;
    check(api_.GetTensorMutableData(output, &operands.y));
    std::vector<double> scale = parameters(op_.element, inputs[1], shape.problem.params);
    std::vector<double> bias = parameters(op_.element, inputs[2], shape.problem.params);
    if (inputs[3].shape == x.shape && x.elements > 1) {
      operands.residual = inputs[3].data;
    } else {  // one number for all
      const double more = number_at(op_.element, inputs[3].data, 0);
      if (more != 0)
        for (double& value : bias) value += more;
    }
    operands.scale = scale.data();
    operands.bias = bias.data();
    shape.problem.wide = op_.element != Element::kDouble && !fit_in_float(scale, bias);
    bool ok;
    if (attributes_.kind == NormKind::kGlobalResponse) ok = respond(context, shape, operands, scale, bias);
    else if (shape.problem.statistic == Statistic::kNone) ok = run(context, kernels_->apply, shape.problem, operands);
    else if (shape.problem.inner > 1) ok = run_blocks(context, kernels_->columns, shape.problem, operands);
    else ok = run_rows(context, shape.problem, operands);
    if (!ok) throw Refused{ort::kRuntimeException, std::string(op_.type.name) + " node '" + name_ + "': out of memory"};
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const {
    throw Refused{ort::kInvalidArgument, std::string(op_.type.name) + " node '" + name_ + "': " + reason};
  }

  void read_attributes(const ort::KernelInfo* info) {
    read(info, "epsilon", attributes_.epsilon);
    read(info, "alpha", attributes_.alpha);
    read(info, "beta", attributes_.beta);
    read(info, "activation", attributes_.activation);
    if (op_.type.kind == NormKind::kGroup) read(info, "num_groups", attributes_.groups);
    if (op_.type.kind == NormKind::kChannelLp) read(info, "p", attributes_.p);
    if (op_.type.kind == NormKind::kMeanVariance) {
      std::size_t count = 0;
      if (!succeeded(api_, api_.KernelInfoGetAttributeArray_int64(info, "axes", nullptr, &count)))
        refuse("the attribute axes (integers) is missing or of another type");
      attributes_.axes.resize(count);
      if (count > 0) check(api_.KernelInfoGetAttributeArray_int64(info, "axes", attributes_.axes.data(), &count));
    } else if (op_.type.kind != NormKind::kGroup) {
      read(info, "axis", attributes_.axis);
    }
  }

  void read(const ort::KernelInfo* info, const char* name, float& value) const {
    if (!read_float(api_, info, name, value)) refuse(std::string("the attribute ") + name + " must be a float");
  }

  void read(const ort::KernelInfo* info, const char* name, std::int64_t& value) const {
    if (!read_int(api_, info, name, value)) refuse(std::string("the attribute ") + name + " must be an integer");
  }

  Tensor input(ort::KernelContext* context, std::size_t index) const {
    const ort::Value* value = nullptr;
    check(api_.KernelContext_GetInput(context, index, &value));
    if (value == nullptr) refuse("it takes four inputs: X, scale, bias, residual");
    ort::TensorInfo* info = nullptr;
    check(api_.GetTensorTypeAndShape(value, &info));
    std::unique_ptr<ort::TensorInfo, decltype(api_.ReleaseTensorTypeAndShapeInfo)> owner(
        info, api_.ReleaseTensorTypeAndShapeInfo);
    Tensor result;
    result.shape = dimensions(api_, info);
    const std::string wrong = wrong_with_shape(result.shape);
    if (!wrong.empty()) refuse(wrong);
    for (const std::int64_t dim : result.shape) result.elements *= dim;
    check(api_.GetTensorMutableData(const_cast<ort::Value*>(value), &result.data));
    return result;
  }

  // Chunk by chunk.
  bool run(const ort::KernelContext* context, NormKernel kernel, const NormProblem& p,
           const NormOperands& operands) const {
    return in_parallel(api_, context, p.outer * p.chunks, p.length / p.chunks,
                       [&](std::int64_t begin, std::int64_t end) { return kernel(p, operands, begin, end); });
  }

  bool run_blocks(const ort::KernelContext* context, NormKernel kernel, const NormProblem& p,
                  const NormOperands& operands) const {
    return in_parallel(api_, context, p.outer * p.blocks, p.length * (p.inner / p.blocks),
                       [&](std::int64_t begin, std::int64_t end) { return kernel(p, operands, begin, end); });
  }

  // Each row is taken as a whole, while it is in the cache, unless there are too few of them for the threads.
  bool run_rows(const ort::KernelContext* context, const NormProblem& p, NormOperands operands) const {
    if (!p.parted())
      return in_parallel(api_, context, p.units(), p.length, [&](std::int64_t begin, std::int64_t end) {
        return kernels_->rows(p, operands, begin, end);
      });
    std::vector<Moments> moments(static_cast<std::size_t>(p.outer * p.chunks));
    operands.moments = moments.data();
    if (!run(context, kernels_->moments, p, operands)) return false;
    std::vector<Normal> normals(static_cast<std::size_t>(p.outer));
    for (std::int64_t row = 0; row < p.outer; ++row)
      normals[static_cast<std::size_t>(row)] = finished(p, row_moments(p, moments, row));
    operands.normals = normals.data();
    return run(context, kernels_->apply, p, operands);
  }

  static Moments row_moments(const NormProblem& p, const std::vector<Moments>& moments, std::int64_t row) {
    Moments all;
    for (std::int64_t i = row * p.chunks; i < (row + 1) * p.chunks; ++i)
      all = joined(all, moments[static_cast<std::size_t>(i)]);
    return all;
  }

  // y = x + scale * x * length / (mean length + epsilon) + bias: lengths of each channel of each item, then an affine.
  bool respond(const ort::KernelContext* context, const NormShape& shape, NormOperands operands,
               const std::vector<double>& scale, const std::vector<double>& bias) const {
    const NormProblem& p = shape.problem;
    const std::int64_t all = shape.items * shape.channels;
    const bool apart = p.inner > 1;
    std::vector<Moments> moments(static_cast<std::size_t>(apart ? all : all * p.chunks));
    operands.moments = moments.data();
    const bool ok = apart ? run_blocks(context, kernels_->squares, p, operands)
                          : run(context, kernels_->moments, p, operands);
    if (!ok) return false;
    std::vector<double> scales(static_cast<std::size_t>(all)), biases(scales);
    for (std::int64_t item = 0; item < shape.items; ++item) {
      double mean = 0;
      for (std::int64_t c = 0; c < shape.channels; ++c) {
        const std::int64_t at = item * shape.channels + c;
        const Moments one = apart ? moments[static_cast<std::size_t>(at)] : row_moments(p, moments, at);
        mean += (scales[static_cast<std::size_t>(at)] = std::sqrt(one.squares)) / static_cast<double>(shape.channels);
      }
      for (std::int64_t c = 0; c < shape.channels; ++c) {
        const std::size_t at = static_cast<std::size_t>(item * shape.channels + c);
        const std::size_t param = static_cast<std::size_t>(c % p.params);
        scales[at] = 1 + scale[param] * (scales[at] / (mean + p.epsilon));
        biases[at] = bias[param];
      }
    }
    NormProblem affine = shape.affine;
    affine.wide = op_.element != Element::kDouble && !fit_in_float(scales, biases);
    operands.scale = scales.data();
    operands.bias = biases.data();
    return run(context, kernels_->apply, affine, operands);
  }

  const ort::Api& api_;
  const OpObject<OpType>& op_;
  std::string name_;
  NormAttributes attributes_;
  const NormKernels* kernels_ = nullptr;
};

}  // namespace

ort::Status* add_norm_ops(const ort::Api& api, ort::CustomOpDomain* domain) {
  return add_each<Kernel>(api, domain, kOpTypes);
}

}  // namespace onnxnorm
