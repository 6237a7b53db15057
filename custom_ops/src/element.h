// The element types of all operators.
#pragma once

namespace onnxnorm {

enum class Element { kFloat, kDouble, kFloat16, kBFloat16 };
inline constexpr int kElements = 4;

}  // namespace onnxnorm
