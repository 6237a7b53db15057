#include "lrn_problem.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

namespace onnxnorm {
namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 58;  // every byte offset fits in 64 bits

std::string joined(const std::vector<std::int64_t>& values) {
  std::string text = "[";
  for (std::size_t i = 0; i < values.size(); ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + "]";
}

std::string check_constants(const Attributes& a) {
  if (!std::isfinite(a.alpha)) return "alpha must be finite";
  if (!std::isfinite(a.beta)) return "beta must be finite";
  if (!std::isfinite(a.bias)) return "bias must be finite";
  return {};
}

std::string check_shape(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t dim : shape) {
    if (dim < 0) return "the input has a negative dimension: " + joined(shape);
    // Zero dimensions are checked like ones, so that no partial product can wrap either.
    if (__builtin_mul_overflow(elements, std::max<std::int64_t>(dim, 1), &elements) || elements > kMaxElements)
      return "the input has too many elements: " + joined(shape);
  }
  return {};
}

std::int64_t product(const std::int64_t* first, const std::int64_t* last) {
  std::int64_t result = 1;
  while (first != last) result *= *first++;
  return result;
}

// A window that reaches past both borders everywhere is cut to what it can meet.
Reach reach_of(std::int64_t window, std::int64_t size) {
  const std::int64_t most = std::max<std::int64_t>(size - 1, 0);
  const std::int64_t back = (window - 1) / 2;
  return {std::min(back, most), std::min(window - 1 - back, most)};
}

Power power_of(float beta) {
  if (beta == 0.25f) return Power::kQuarter;
  if (beta == 0.5f) return Power::kHalf;
  if (beta == 0.75f) return Power::kThreeQuarters;
  if (beta == 1.0f) return Power::kOne;
  return Power::kGeneral;
}

void set_constants(const Attributes& a, LrnProblem& out) {
  double positions = 1;
  for (const std::int64_t n : a.window) positions *= static_cast<double>(n);
  out.scale = static_cast<double>(a.alpha) / positions;
  out.bias = a.bias;
  out.beta = a.beta;
  out.power = power_of(a.beta);
  const bool scale_in_float = out.scale == 0 || (out.scale >= FLT_MIN && out.scale <= FLT_MAX);
  const bool bias_in_float = out.bias == 0 || out.bias >= FLT_MIN;
  out.wide = !(scale_in_float && bias_in_float);
  // Square roots are no power of a negative base: 0.5 of -inf is inf, of -0 is 0.
  if (out.scale < 0 || out.bias < 0 || std::signbit(a.bias)) out.power = Power::kGeneral;
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Blocks small enough that several threads find work, and large against the window, whose rows beyond the block are
// summed again by the neighbour. Between these, as long a stretch of each row as can be: that is what memory serves best.
void set_blocks(LrnProblem& p) {
  constexpr std::int64_t kUnits = 16;
  constexpr std::int64_t kFewestElements = 32 * 1024;
  constexpr std::int64_t kFewestColumns = 512;
  constexpr std::int64_t kMostColumns = 8 * 1024;
  constexpr std::int64_t kWindowColumns = 4 * 1024;  // of windows along the columns
  const auto split = [&p](int axis, std::int64_t wanted) {
    const std::int64_t size = p.size[axis];
    const std::int64_t least = std::min(2 * p.reach[axis].width(), ceil_div(size, 4));
    const std::int64_t count =
        size == 0 ? 0 : ceil_div(size, std::clamp<std::int64_t>(wanted, std::max<std::int64_t>(least, 1), size));
    p.block[axis] = count == 0 ? 0 : ceil_div(size, count);
    p.blocks[axis] = p.block[axis] == 0 ? 0 : ceil_div(size, p.block[axis]);
  };
  const std::int64_t most = p.reach[0].trivial() ? 256 * 1024 : 64 * 1024;  // sums over slices are stored as such
  const std::int64_t all = p.volumes * p.size[0] * p.size[1] * p.size[2];
  const std::int64_t elements = std::clamp(all / kUnits, kFewestElements, most);
  const std::int64_t rows = std::max<std::int64_t>(p.size[1], 1);
  split(2, p.reach[2].trivial() ? std::clamp(elements / rows, kFewestColumns, kMostColumns) : kWindowColumns);
  const std::int64_t columns = std::max<std::int64_t>(p.block[2], 1);
  split(1, elements / columns);
  split(0, elements / (columns * std::max<std::int64_t>(p.block[1], 1)));
}

}  // namespace

std::string check_intra(const Attributes& a) {
  if (a.window.empty() || a.window.size() > 3)
    return "kernel_shape must have 1, 2 or 3 entries, it is " + joined(a.window);
  for (const std::int64_t n : a.window)
    if (n < 1) return "every entry of kernel_shape must be at least 1, it is " + joined(a.window);
  return check_constants(a);
}

std::string check_inter(const Attributes& a) {
  if (a.window.size() != 1 || a.window[0] < 1) return "size must be at least 1";
  return check_constants(a);
}

std::string make_intra(const Attributes& a, const std::vector<std::int64_t>& shape, LrnProblem& out) {
  if (shape.size() != a.window.size() + 2)
    return "kernel_shape " + joined(a.window) + " needs an input of rank " + std::to_string(a.window.size() + 2) +
           ", the input has the shape " + joined(shape);
  if (std::string wrong = check_shape(shape); !wrong.empty()) return wrong;
  LrnProblem p;
  p.volumes = shape[0] * shape[1];
  const std::size_t first = 3 - a.window.size();
  for (std::size_t i = 0; i < a.window.size(); ++i) {
    p.size[first + i] = shape[2 + i];
    p.reach[first + i] = reach_of(a.window[i], shape[2 + i]);
  }
  // Axes without a window join the one outside of them.
  if (p.reach[0].trivial()) {
    p.volumes *= p.size[0];
    p.size[0] = 1;
    if (p.reach[1].trivial()) {
      p.size[1] *= p.volumes;
      p.volumes = 1;
    }
  }
  set_constants(a, p);
  set_blocks(p);
  out = p;
  return {};
}

std::string make_inter(const Attributes& a, const std::vector<std::int64_t>& shape, LrnProblem& out) {
  if (shape.size() < 2)
    return "the input must have a batch and a channel axis, its shape is " + joined(shape);
  if (std::string wrong = check_shape(shape); !wrong.empty()) return wrong;
  LrnProblem p;
  const std::int64_t pixels = product(shape.data() + 2, shape.data() + shape.size());
  const Reach reach = reach_of(a.window[0], shape[1]);
  if (pixels == 1) {
    p.volumes = 1;
    p.size[1] = shape[0];
    p.size[2] = shape[1];
    p.reach[2] = reach;
  } else {
    p.volumes = shape[0];
    p.size[1] = shape[1];
    p.size[2] = pixels;
    p.reach[1] = reach;
  }
  set_constants(a, p);
  set_blocks(p);
  out = p;
  return {};
}

}  // namespace onnxnorm
