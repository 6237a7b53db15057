// Checks of the kernels of all normalizations but LRN.
#pragma once

#include <cstddef>

#include "../src/dispatch.h"

namespace onnxnorm {

// Runs them against the formula; returns how many cases there were.
std::size_t check_norms(const Target& target, bool quick);

}  // namespace onnxnorm
