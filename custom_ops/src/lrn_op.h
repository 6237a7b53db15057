// The two operators as ONNX Runtime sees them.
#pragma once

#include "ort_abi.h"

namespace onnxnorm {

inline constexpr const char* kDomain = "onnxnorm";

// Adds both operators, for every element type, to a domain of a session. The first error, or null.
ort::Status* add_ops(const ort::Api& api, ort::CustomOpDomain* domain);

}  // namespace onnxnorm
