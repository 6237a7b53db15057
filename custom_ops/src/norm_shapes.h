// From the attributes of an operator and a shape to the one form that the kernels take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "norm_problem.h"

namespace onnxnorm {

enum class NormKind { kGroup, kChannelLayer, kChannelRms, kChannelLp, kMeanVariance, kGlobalResponse, kAffine };

struct NormAttributes {
  NormKind kind = NormKind::kGroup;
  float epsilon = -1;  // the operator's default
  std::int64_t groups = 0;
  std::int64_t axis = 1;
  std::int64_t p = 2;
  std::vector<std::int64_t> axes;
  std::int64_t activation = 0;
  float alpha = 0;
  float beta = 0;
};

struct NormShape {
  NormProblem problem;
  // Of the global response: what comes behind the lengths, and how many of them there are.
  NormProblem affine;
  std::int64_t items = 0;
  std::int64_t channels = 0;
};

// Each returns what is wrong, in words for the user, or an empty string.
std::string check_attributes(NormAttributes& attributes);
std::string check_rank(const NormAttributes& attributes, std::size_t rank);
std::string make_shape(const NormAttributes& attributes, const std::vector<std::int64_t>& shape, std::int64_t scales,
                       std::int64_t biases, NormShape& out);

}  // namespace onnxnorm
