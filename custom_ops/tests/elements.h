// Numbers of every element type in memory, and the count of what failed.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "../src/element.h"

namespace onnxnorm {

inline int failures = 0;

inline void expect(bool right, const std::string& what) {
  if (right) return;
  std::printf("FAILED: %s\n", what.c_str());
  ++failures;
}

struct Format {
  const char* name;
  std::size_t bytes;
  int digits;  // of the significand, with the hidden one
  int least;   // exponent of the smallest positive number
};
inline constexpr Format kFormats[kElements] = {
    {"float", 4, 24, -149}, {"double", 8, 53, -1074}, {"float16", 2, 11, -24}, {"bfloat16", 2, 8, -133}};

inline std::uint16_t half_of(double value) {
  const int sign = std::signbit(value) ? 0x8000 : 0;
  int exponent = 0;
  std::frexp(value, &exponent);
  if (value == 0 || exponent < -13)
    return static_cast<std::uint16_t>(sign + std::nearbyint(std::ldexp(std::fabs(value), 24)));
  const double digits = std::nearbyint(std::ldexp(std::fabs(value), 11 - exponent));  // 1024 .. 2048
  return static_cast<std::uint16_t>(sign + ((exponent + 13) << 10) + static_cast<int>(digits));
}

inline double number_at(Element element, const void* at, std::size_t i) {
  switch (element) {
    case Element::kFloat: return static_cast<const float*>(at)[i];
    case Element::kDouble: return static_cast<const double*>(at)[i];
    case Element::kBFloat16: {
      const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(at)[i]) << 16;
      float value;
      std::memcpy(&value, &bits, sizeof value);
      return value;
    }
    case Element::kFloat16: break;
  }
  const int bits = static_cast<const std::uint16_t*>(at)[i];
  const int exponent = bits >> 10 & 31;
  const double magnitude =
      exponent == 0 ? std::ldexp(bits & 1023, -24) : std::ldexp(1024 + (bits & 1023), exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

inline void set_number(Element element, void* at, std::size_t i, double value) {
  const float single = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  switch (element) {
    case Element::kFloat: static_cast<float*>(at)[i] = single; return;
    case Element::kDouble: static_cast<double*>(at)[i] = value; return;
    case Element::kBFloat16: static_cast<std::uint16_t*>(at)[i] = static_cast<std::uint16_t>(bits >> 16); return;
    case Element::kFloat16: static_cast<std::uint16_t*>(at)[i] = half_of(value); return;
  }
}

}  // namespace onnxnorm
