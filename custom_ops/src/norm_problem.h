// What a normalization other than LRN computes, in the one form that all kernels take; knows nothing of the runtime or
// of instruction sets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "element.h"

namespace onnxnorm {

// What a vector is divided by: the deviation about its mean, the root of the mean square, the sum of magnitudes, the
// length; or by nothing.
enum class Statistic { kNone, kLayer, kRms, kL1, kL2 };

// In the order of the attribute `activation`.
enum class Activation { kNone, kRelu, kSilu, kGelu, kGeluTanh, kLeakyRelu, kClip, kHardSwish };
inline constexpr int kActivations = 8;

// y = act(scale * (x - mean) * factor + bias + residual). The tensor is outer x length x inner; mean and factor are
// those of the `length` elements that lie `inner` apart. Element i takes scale and bias i / run % params, and those of
// the row that it lies in where row_params is not 0.
struct NormProblem {
  Statistic statistic = Statistic::kNone;
  std::int64_t outer = 0;
  std::int64_t length = 0;
  std::int64_t inner = 1;
  double epsilon = 0;
  bool outside = false;  // epsilon is added to the deviation, not to the variance
  Activation activation = Activation::kNone;
  double alpha = 0;
  double beta = 0;
  std::int64_t params = 1;
  std::int64_t run = 1;
  std::int64_t row_params = 0;
  bool wide = false;  // the constants leave no room for arithmetic in float: compute in double

  // Rows (inner is 1) are worked on in chunks, everything else in blocks of columns.
  std::int64_t chunks = 1;
  std::int64_t blocks = 1;

  std::int64_t elements() const;
  std::int64_t block_begin(std::int64_t block) const;

  // Whether rows are too few for the threads, so that chunks of them are what is worked on, in two passes over all.
  bool parted() const;
  // What the threads take: blocks of columns, chunks, or whole rows.
  std::int64_t units() const;
};

// Of one chunk of a row, and then of the row: about the mean for kLayer, else about zero (of kL1 the magnitudes).
struct Moments {
  double count = 0;
  double mean = 0;
  double squares = 0;
};

// y = act(scale * (x - mean) * factor + ...)
struct Normal {
  double mean = 0;
  double factor = 1;
};

struct NormOperands {
  const void* x = nullptr;
  const void* residual = nullptr;  // null for none
  void* y = nullptr;
  const double* scale = nullptr;
  const double* bias = nullptr;
  Moments* moments = nullptr;      // of each chunk
  const Normal* normals = nullptr;  // of each row
};

std::int64_t chunk_begin(const NormProblem& problem, std::int64_t chunk);
Moments joined(const Moments& a, const Moments& b);
Normal finished(const NormProblem& problem, const Moments& moments);
void set_blocks(NormProblem& problem);

// What is wrong with a shape, in words for the user, or an empty string.
std::string wrong_with_shape(const std::vector<std::int64_t>& shape);

}  // namespace onnxnorm
