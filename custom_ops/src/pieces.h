// How the work of one call is cut for the threads of a session; knows nothing of the runtime.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace onnxnorm {

// Units of work in pieces that threads take one after another. There are as many as a power of two, or as units, so
// that 2, 4 or 8 threads end together; with little to do there is one, which the calling thread does.
struct Pieces {
  std::int64_t units = 0;
  std::int64_t count = 1;

  Pieces(std::int64_t units, std::int64_t unit_elements) : units(units) {
    constexpr std::int64_t kElements = 16 * 1024;
    constexpr std::int64_t kMost = 256;
    const std::int64_t full = std::min(units * std::max<std::int64_t>(unit_elements, 1) / kElements, kMost);
    const auto even = std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(full, 1)));
    count = std::clamp<std::int64_t>(units, 1, static_cast<std::int64_t>(even));
  }

  std::int64_t begin(std::int64_t piece) const {
    return units / count * piece + units % count * piece / count;
  }
};

}  // namespace onnxnorm
