// What an LRN call computes, in the one form that all kernels take; knows nothing of the runtime or of instruction
// sets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "element.h"

namespace onnxnorm {

// beta in the values that need square roots alone, and all others.
enum class Power { kQuarter, kHalf, kThreeQuarters, kOne, kGeneral };

struct Attributes {
  std::vector<std::int64_t> window;  // one entry: channels; more: the spatial axes
  float alpha = 1e-4f;
  float beta = 0.75f;
  float bias = 1.0f;
};

// The window of one axis: positions [i - back, i + ahead], cut at the border.
struct Reach {
  std::int64_t back = 0;
  std::int64_t ahead = 0;
  std::int64_t width() const { return back + ahead + 1; }
  bool trivial() const { return back == 0 && ahead == 0; }
};

struct Span {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t size() const { return end - begin; }
};

// Y = X / (bias + scale * S)^beta over `volumes` contiguous volumes of size[0] x size[1] x size[2], S the sum of
// squares over a box. Inter-channel LRN is the case (1, channels, pixels) with a window along the channels.
struct LrnProblem {
  std::int64_t volumes = 0;
  std::int64_t size[3] = {1, 1, 1};
  Reach reach[3];
  double scale = 0;  // alpha over the whole window's width, also where the border cuts it
  double bias = 1;
  double beta = 0.75;
  Power power = Power::kThreeQuarters;
  bool wide = false;  // the constants leave no room for arithmetic in float: compute in double
  std::int64_t block[3] = {1, 1, 1};
  std::int64_t blocks[3] = {0, 0, 0};

  // A unit is one block of one volume; units are independent of each other.
  std::int64_t units() const { return volumes * blocks[0] * blocks[1] * blocks[2]; }
  std::int64_t unit_elements() const { return block[0] * block[1] * block[2]; }
};

// Each returns what is wrong, in words for the user, or an empty string.
std::string check_intra(const Attributes& attributes);
std::string check_inter(const Attributes& attributes);
std::string make_intra(const Attributes& attributes, const std::vector<std::int64_t>& shape, LrnProblem& out);
std::string make_inter(const Attributes& attributes, const std::vector<std::int64_t>& shape, LrnProblem& out);

}  // namespace onnxnorm
