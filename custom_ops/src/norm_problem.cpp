#include "norm_problem.h"

#include <algorithm>
#include <cmath>

namespace onnxnorm {
namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 58;  // every byte offset fits in 64 bits
constexpr std::int64_t kChunk = 16 * 1024;
constexpr std::int64_t kManyRows = 16;         // fewer are cut into chunks for several threads
constexpr std::int64_t kLeastChunk = 4 * 1024;
constexpr std::int64_t kCached = 64 * 1024;
constexpr std::int64_t kAlign = 64;  // elements: chunks and blocks begin at a whole line of the cache

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Where part `index` of `parts` equal ones begins.
std::int64_t part_begin(std::int64_t size, std::int64_t parts, std::int64_t index, std::int64_t align) {
  if (index >= parts) return size;
  const std::int64_t whole = size / parts;
  return (whole * index + size % parts * index / parts) / align * align;
}

}  // namespace

std::int64_t NormProblem::elements() const { return outer * length * inner; }

std::int64_t NormProblem::block_begin(std::int64_t block) const { return part_begin(inner, blocks, block, 16); }

bool NormProblem::parted() const {
  // Rows that stay in the second-level cache are read from there for their results, if they are taken as wholes.
  const std::int64_t many = length <= kCached ? kManyRows / 2 : kManyRows;
  return inner == 1 && (statistic == Statistic::kNone || (outer < many && chunks > 1));
}

std::int64_t NormProblem::units() const {
  return inner > 1 ? outer * blocks : parted() ? outer * chunks : outer;
}

std::int64_t chunk_begin(const NormProblem& p, std::int64_t chunk) {
  return part_begin(p.length, p.chunks, chunk, kAlign);
}

Moments joined(const Moments& a, const Moments& b) {
  if (a.count == 0) return b;
  const double count = a.count + b.count;
  const double apart = b.mean - a.mean;
  return {count, a.mean + apart * (b.count / count),
          a.squares + b.squares + apart * apart * (a.count * (b.count / count))};
}

Normal finished(const NormProblem& p, const Moments& m) {
  switch (p.statistic) {
    case Statistic::kNone: return {};
    case Statistic::kL1:
    case Statistic::kL2: {
      const double size = p.statistic == Statistic::kL1 ? m.squares : std::sqrt(m.squares);
      if (size == 0 && p.epsilon == 0) return {0, 0};
      return {0, 1 / (size < p.epsilon ? p.epsilon : size)};
    }
    case Statistic::kLayer:
    case Statistic::kRms: break;
  }
  const double mean_square = m.squares / m.count;
  return {m.mean, 1 / (p.outside ? std::sqrt(mean_square) + p.epsilon : std::sqrt(mean_square + p.epsilon))};
}

// Blocks of columns stay in the second-level cache from the first pass over them to the last; rows of them are as long
// as that allows, and there are enough of them for several threads.
void set_blocks(NormProblem& p) {
  constexpr std::int64_t kBlock = 48 * 1024;
  constexpr std::int64_t kFewestColumns = 64;
  constexpr std::int64_t kMostColumns = 2048;
  constexpr std::int64_t kUnits = 16;
  p.chunks = p.length == 0 ? 0 : ceil_div(p.length, kChunk);
  const std::int64_t all = p.elements();
  if (all == 0) {
    p.blocks = 0;
    return;
  }
  if (p.outer < kManyRows && all >= kManyRows * kLeastChunk) {
    const std::int64_t wanted = std::max(p.chunks, ceil_div(kManyRows, p.outer));
    p.chunks = ceil_div(wanted, 4) * 4;
  }
  const std::int64_t wanted = std::clamp(std::min(kBlock, all / kUnits) / p.length, kFewestColumns, kMostColumns);
  p.blocks = std::max<std::int64_t>(p.inner / wanted, 1);
}

std::string wrong_with_shape(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t dim : shape) {
    if (dim < 0) return "the input has a negative dimension";
    // Zero dimensions are checked like ones, so that no partial product can wrap either.
    if (__builtin_mul_overflow(elements, std::max<std::int64_t>(dim, 1), &elements) || elements > kMaxElements)
      return "the input has too many elements";
  }
  return {};
}

}  // namespace onnxnorm
