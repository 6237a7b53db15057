// The operators of all normalizations but LRN as ONNX Runtime sees them.
#pragma once

#include "ort_abi.h"

namespace onnxnorm {

// Adds the operators, for every element type, to a domain of a session. The first error, or null.
ort::Status* add_norm_ops(const ort::Api& api, ort::CustomOpDomain* domain);

}  // namespace onnxnorm
