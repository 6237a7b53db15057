#include "norms.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../src/norm_problem.h"
#include "../src/norm_shapes.h"
#include "../src/pieces.h"
#include "elements.h"

namespace onnxnorm {
namespace {

struct Case {
  NormKind kind;
  std::vector<std::int64_t> shape;
  std::int64_t weights = 1;
  std::int64_t groups = 1;
  std::int64_t axis = 1;
  std::int64_t activation = 0;
  bool residual = false;
  double mean = 0;
};

double bent(double x, std::int64_t activation) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x < 0 ? 0 : x;
    case Activation::kSilu: return x / (1 + std::exp(-x));
    case Activation::kGelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case Activation::kLeakyRelu: return x < 0 ? 0.25 * x : x;
    case Activation::kClip: return std::min(std::max(x, 0.25), 0.75);
    case Activation::kHardSwish: return x * std::min(std::max(x / 6 + 0.5, 0.0), 1.0);
  }
  return x;
}

// Element by element, from the problem alone.
std::vector<double> formula(const NormProblem& p, const std::vector<double>& x, const std::vector<double>& scale,
                            const std::vector<double>& bias, const std::vector<double>& residual,
                            std::int64_t activation) {
  std::vector<double> y(x.size());
  for (std::int64_t vector = 0; vector < p.outer * p.inner; ++vector) {
    const std::int64_t first = vector / p.inner * p.length * p.inner + vector % p.inner;
    const auto at = [&](std::int64_t i) { return static_cast<std::size_t>(first + i * p.inner); };
    long double mean = 0, square = 0, magnitude = 0;  // sums of many numbers, more exact than those of the kernels
    if (p.statistic == Statistic::kLayer)
      for (std::int64_t i = 0; i < p.length; ++i) mean += static_cast<long double>(x[at(i)]) / static_cast<long double>(p.length);
    for (std::int64_t i = 0; i < p.length; ++i) {
      square += (x[at(i)] - mean) * (x[at(i)] - mean);
      magnitude += std::fabs(x[at(i)]);
    }
    const double part = static_cast<double>(square / static_cast<long double>(p.length));
    const double size = p.statistic == Statistic::kNone  ? 1
                        : p.statistic == Statistic::kL1  ? static_cast<double>(magnitude)
                        : p.statistic == Statistic::kL2  ? static_cast<double>(std::sqrt(square))
                        : p.outside                      ? std::sqrt(part) + p.epsilon
                                                         : std::sqrt(part + p.epsilon);
    for (std::int64_t i = 0; i < p.length; ++i) {
      const std::size_t weight = at(i) / static_cast<std::size_t>(p.run) % static_cast<std::size_t>(p.params);
      y[at(i)] = bent(static_cast<double>(x[at(i)] - mean) / size * scale[weight] + bias[weight] + residual[at(i)], activation);
    }
  }
  return y;
}

void run_on_threads(const NormProblem& p, NormKernel kernel, const NormOperands& o, std::int64_t units, int threads) {
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&, t] {
      if (!kernel(p, o, units * t / threads, units * (t + 1) / threads)) std::abort();
    });
  for (std::thread& thread : pool) thread.join();
}

// As the operator runs them: `parted` in chunks of rows whose moments are joined, else by whole rows.
void run(const NormProblem& p, const NormKernels& kernels, NormOperands o, bool parted) {
  if (p.inner > 1) return run_on_threads(p, kernels.columns, o, p.outer * p.blocks, 3);
  if (p.statistic == Statistic::kNone) return run_on_threads(p, kernels.apply, o, p.outer * p.chunks, 3);
  if (!parted) return run_on_threads(p, kernels.rows, o, p.outer, 3);
  std::vector<Moments> moments(static_cast<std::size_t>(p.outer * p.chunks));
  o.moments = moments.data();
  run_on_threads(p, kernels.moments, o, p.outer * p.chunks, 3);
  std::vector<Normal> normals;
  for (std::int64_t row = 0; row < p.outer; ++row) {
    Moments all;
    for (std::int64_t i = row * p.chunks; i < (row + 1) * p.chunks; ++i)
      all = joined(all, moments[static_cast<std::size_t>(i)]);
    normals.push_back(finished(p, all));
  }
  o.normals = normals.data();
  run_on_threads(p, kernels.apply, o, p.outer * p.chunks, 3);
}

void check(const Case& c, const Target& target, Element element, bool parted) {
  const Format& format = kFormats[static_cast<int>(element)];
  std::string name = std::string(target.name) + " " + format.name + " normalization " +
                     std::to_string(static_cast<int>(c.kind)) + ", activation " + std::to_string(c.activation) +
                     ", axis " + std::to_string(c.axis) + ", weights " + std::to_string(c.weights) + ", shape";
  for (const std::int64_t dim : c.shape) name += " " + std::to_string(dim);
  NormAttributes attributes;
  attributes.kind = c.kind;
  attributes.groups = c.groups;
  attributes.axis = c.axis;
  if (c.kind == NormKind::kMeanVariance) attributes.axes = {c.axis};
  attributes.activation = c.activation;
  attributes.alpha = 0.25f;
  attributes.beta = 0.75f;
  expect(check_attributes(attributes).empty(), name);
  NormShape shape;
  const std::string wrong = make_shape(attributes, c.shape, c.weights, c.weights, shape);
  expect(wrong.empty(), name + ": " + wrong);
  const NormProblem& p = shape.problem;
  const std::size_t count = static_cast<std::size_t>(p.elements());
  // Tensors end where their memory ends.
  void* const x = std::malloc(count * format.bytes);
  void* const more = std::malloc(count * format.bytes);
  void* const y = std::malloc(count * format.bytes);
  std::mt19937 random(static_cast<unsigned>(count));
  std::normal_distribution<double> normal(0, 2);
  std::vector<double> numbers(count), residual(count);
  for (std::size_t i = 0; i < count; ++i) {
    set_number(element, x, i, normal(random) + c.mean);
    set_number(element, more, i, normal(random));
    numbers[i] = number_at(element, x, i);
    residual[i] = c.residual ? number_at(element, more, i) : 0;
  }
  std::vector<double> scale, bias;
  for (std::int64_t i = 0; i < p.params; ++i) {
    scale.push_back(1 + 0.125 * static_cast<double>(i % 5));
    bias.push_back(0.25 * static_cast<double>(i % 3) - 0.25);
  }
  NormOperands operands;
  operands.x = x;
  operands.residual = c.residual ? more : nullptr;
  operands.y = y;
  operands.scale = scale.data();
  operands.bias = bias.data();
  run(p, target.norm[static_cast<int>(element)], operands, parted);
  const std::vector<double> wanted = formula(p, numbers, scale, bias, residual, c.activation);
  double worst = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double digit = std::ldexp(std::max(std::fabs(wanted[i]), 2.0), 1 - format.digits);
    worst = std::max(worst, std::fabs(number_at(element, y, i) - wanted[i]) / digit);
  }
  // Double is held against a formula in double, which rounds as often.
  expect(worst <= (element == Element::kDouble ? 64 : 6), name + ": off by " + std::to_string(worst));
  std::free(x);
  std::free(more);
  std::free(y);
}

std::vector<Case> cases(bool quick) {
  std::vector<Case> all;
  const std::vector<std::int64_t> pixels = quick ? std::vector<std::int64_t>{1, 3, 9, 17}
                                                 : std::vector<std::int64_t>{1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33};
  for (const std::int64_t n : pixels) {
    for (const std::int64_t weights : {1, 3, 6}) all.push_back({NormKind::kGroup, {2, 6, n}, weights, 3});
    for (const NormKind kind : {NormKind::kChannelLayer, NormKind::kChannelRms, NormKind::kChannelLp, NormKind::kAffine})
      all.push_back({kind, {2, 19, n}, 19});
    all.push_back({NormKind::kChannelLayer, {2, 3, n}, n, 1, -1});
    all.push_back({NormKind::kAffine, {2, 3, n}, n, 1, -1});
    for (const std::int64_t axis : {0, 1, 2}) all.push_back({NormKind::kMeanVariance, {3, 5, n}, 1, 1, axis});
  }
  for (std::int64_t activation = 0; activation < kActivations; ++activation)
    for (const bool residual : {false, true}) {
      all.push_back({NormKind::kGroup, {1, 4, 21}, 4, 2, 1, activation, residual});
      all.push_back({NormKind::kChannelLayer, {1, 5, 21}, 5, 1, 1, activation, residual});
    }
  all.push_back({NormKind::kGroup, {1, 2, 20000}, 2, 1, 1, 0, true, 1000});
  all.push_back({NormKind::kChannelLayer, {1, 300, 1024}, 300, 1, 1, 2, true, 1000});
  return all;
}

}  // namespace

// Threads take one piece after another: with two of them, none has more than 1 / 1.8 of the work.
void check_pieces() {
  using Shape = std::vector<std::int64_t>;
  for (const Shape& shape :
       {Shape{1, 96, 56, 56}, Shape{1, 256, 128, 128}, Shape{1, 128, 256, 256}, Shape{1, 64, 56, 56},
        Shape{1, 32, 64, 64}, Shape{1, 320, 32, 32}, Shape{2, 24, 40, 40}, Shape{1, 96, 3000}})
    for (const std::int64_t groups : {1, 2, 8, 0, -1, -2}) {
      // Groups as many as channels; then the channels of each pixel, and no statistics at all.
      const NormKind kind = groups == -1 ? NormKind::kChannelLayer : groups == -2 ? NormKind::kAffine : NormKind::kGroup;
      NormAttributes attributes;
      attributes.kind = kind;
      attributes.groups = groups > 0 ? groups : shape[1];
      NormShape made;
      expect(make_shape(attributes, shape, 1, 1, made).empty(), "a shape that is cut in pieces");
      const NormProblem& p = made.problem;
      const auto work = [&p](std::int64_t unit) {
        if (p.inner > 1) return p.length * (p.block_begin(unit % p.blocks + 1) - p.block_begin(unit % p.blocks));
        if (!p.parted()) return p.length;
        return chunk_begin(p, unit % p.chunks + 1) - chunk_begin(p, unit % p.chunks);
      };
      const Pieces pieces(p.units(), p.elements() / p.units());
      std::int64_t busy[2] = {};
      for (std::int64_t i = 0; i < pieces.count; ++i) {
        std::int64_t& thread = busy[0] <= busy[1] ? busy[0] : busy[1];
        for (std::int64_t unit = pieces.begin(i); unit < pieces.begin(i + 1); ++unit) thread += work(unit);
      }
      expect(busy[0] + busy[1] == p.elements(), "every element is in one piece");
      expect(1.8 * static_cast<double>(std::max(busy[0], busy[1])) <= static_cast<double>(p.elements()),
             "two threads have the same to do: normalization " + std::to_string(static_cast<int>(kind)) + " of " +
                 std::to_string(shape[1]) + " channels in " + std::to_string(attributes.groups) + " groups");
    }
  expect(Pieces(5, 1000).count == 1, "little work is left to one thread");
  expect(Pieces(std::int64_t{1} << 40, 1 << 18).count == 256, "no more than 256 pieces of much work");
}

std::size_t check_norms(const Target& target, bool quick) {
  check_pieces();
  std::size_t count = 0;
  for (const Case& c : cases(quick))
    for (int element = 0; element < kElements; ++element) {
      if (c.mean != 0 && element > 1) continue;  // half types have no digits for it
      if (target.norm[element].rows == nullptr) continue;
      check(c, target, static_cast<Element>(element), count++ % 2 != 0);
    }
  return count;
}

}  // namespace onnxnorm
