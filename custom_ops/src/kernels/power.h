// y = x / (bias + scale * sum)^beta along a row. In double by the formula itself; in float without a root or a division
// where beta is a multiple of 1/4.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

// Bases outside of these bits (NaN among them) lose too much in float: they are noted, and the block that holds them is
// computed again in double.
struct Range {
  uint32_t least_bits;
  uint32_t width;
};

inline uint32_t bits_of(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The squares of small numbers round to multiples of 2^-149, or to zero where the runtime flushes subnormals; a base
// below alpha * 2^-100 could show that.
inline Range float_range(double alpha) {
  const double floor = alpha * 0x1p-100;
  const float least = floor > FLT_MIN ? (floor < FLT_MAX ? static_cast<float>(floor) : FLT_MAX) : FLT_MIN;
  return {bits_of(least), bits_of(FLT_MAX) - bits_of(least)};
}

template <class C>
struct Constants {
  C scale;
  C bias;
  double beta;
  Range range;
};

// root * (1 - e)^(-1/m) to second order: the step from a root with the relative error e/m to the root itself.
inline V<float> corrected(V<float> root, V<float> e, float first, float second) {
  return root + root * (e * (first + second * e));
}

template <Power P>
inline V<float> divided(V<float> x, V<float> base, const Constants<float>& constants) {
  if constexpr (P == Power::kOne) {
    return x / base;
  } else if constexpr (P == Power::kHalf) {
    const V<float> r = rough_reciprocal_root(base);
    return x * corrected(r, 1.0f - r * (r * base), 0.5f, 0.375f);
  } else if constexpr (P == Power::kQuarter) {
    const V<float> r = rough_reciprocal_root(base);
    const V<float> y = r * rough_reciprocal_root(r);
    const V<float> square = y * y;
    return x * corrected(y, 1.0f - square * (square * base), 0.25f, 0.15625f);
  } else if constexpr (P == Power::kThreeQuarters) {
    const V<float> r = rough_reciprocal_root(base);
    const V<float> y = r * rough_reciprocal_root(r) * r;
    // y^4 base^3, in an order whose factors stay far from the ends of the range.
    const V<float> up = y * base;
    return x * corrected(y, 1.0f - (up * up) * (y * up), 0.25f, 0.15625f);
  } else {
    for (int i = 0; i < kLanes<float>; ++i)
      x[i] = static_cast<float>(x[i] / __builtin_pow(static_cast<double>(base[i]), constants.beta));
    return x;
  }
}

template <Power P>
inline V<double> divided(V<double> x, V<double> base, const Constants<double>& constants) {
  if constexpr (P == Power::kOne) {
    return x / base;
  } else if constexpr (P == Power::kHalf) {
    return x / square_root(base);
  } else if constexpr (P == Power::kQuarter) {
    return x / square_root(square_root(base));
  } else if constexpr (P == Power::kThreeQuarters) {
    const V<double> root = square_root(base);
    return x / (root * square_root(root));
  } else {
    for (int i = 0; i < kLanes<double>; ++i) x[i] /= __builtin_pow(base[i], constants.beta);
    return x;
  }
}

// Divides one row of at least one vector; true where a base lay outside of the range.
template <class T, class C, Power P>
bool divide_row(const T* x, T* y, const C* sums, int64_t length, const Constants<C>& given) {
  const Constants<C> constants = given;
  constexpr int64_t step = kLanes<C>;
  Vector<uint32_t, kLanes<float>> furthest{};
  for (int64_t column = 0; column < length; column += step) {
    const int64_t i = column + step <= length ? column : length - step;
    const V<C> base = constants.scale * load<C>(sums + i) + constants.bias;
    if constexpr (sizeof(C) == sizeof(float)) {
      const auto past = (Vector<uint32_t, kLanes<float>>)base - constants.range.least_bits;
      furthest = past > furthest ? past : furthest;
    }
    store<C>(y + i, divided<P>(load<C>(x + i), base, constants));
  }
  if constexpr (sizeof(C) == sizeof(float)) {
    for (int lane = 0; lane < kLanes<float>; ++lane)
      if (furthest[lane] > constants.range.width) return true;
  }
  return false;
}

template <class T, class C>
using DivideRow = bool (*)(const T* x, T* y, const C* sums, int64_t length, const Constants<C>& constants);

template <class T, class C>
DivideRow<T, C> divide_row_for(Power power) {
  switch (power) {
    case Power::kQuarter: return divide_row<T, C, Power::kQuarter>;
    case Power::kHalf: return divide_row<T, C, Power::kHalf>;
    case Power::kThreeQuarters: return divide_row<T, C, Power::kThreeQuarters>;
    case Power::kOne: return divide_row<T, C, Power::kOne>;
    case Power::kGeneral: break;
  }
  return divide_row<T, C, Power::kGeneral>;
}

}  // namespace onnxnorm::ONNXNORM_TARGET
