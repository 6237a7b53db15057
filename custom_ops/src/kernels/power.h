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
  Power power;
  Range range;
};

// The steps below take a vector, or a Pack of several whose chains of operations run beside each other.

// root * (1 - e)^(-1/m) to second order: the step from a root with the relative error e/m to the root itself.
template <class Vec>
ONNXNORM_INLINE Vec corrected(Vec root, Vec e, float first, float second) {
  return root + (root * e) * (first + second * e);
}

template <class Vec>
ONNXNORM_INLINE Vec divided_by_root4(Vec x, Vec base) {
  const Vec r = rough_reciprocal_root(base);
  const Vec y = r * rough_reciprocal_root(r);
  const Vec square = y * y;
  return x * corrected(y, 1.0f - square * (square * base), 0.25f, 0.15625f);
}

template <class Vec>
ONNXNORM_INLINE Vec divided_by_root2(Vec x, Vec base) {
  const Vec r = rough_reciprocal_root(base);
  return x * corrected(r, 1.0f - r * (r * base), 0.5f, 0.375f);
}

template <class Vec>
ONNXNORM_INLINE Vec divided_by_root4_cubed(Vec x, Vec base) {
  const Vec r = rough_reciprocal_root(base);
  const Vec y = (r * r) * rough_reciprocal_root(r);
  // y^4 base^3, in an order whose factors stay far from the ends of the range.
  const Vec up = y * base;
  return x * corrected(y, 1.0f - (up * up) * (y * up), 0.25f, 0.15625f);
}

using Longs = Vector<int64_t, kLanes<double>>;

inline constexpr double kShift = 0x1.8p52;  // added to a number, leaves it rounded to an integer in the low bits

// first + x * (second + x * (...)).
template <int N>
inline V<double> polynomial(V<double> x, const double (&coefficients)[N]) {
  V<double> sum = broadcast(coefficients[N - 1]);
  _Pragma("GCC unroll 16") for (int i = N - 2; i >= 0; --i) sum = coefficients[i] + x * sum;
  return sum;
}

// A normal positive number as 2^exponent * rest, with rest from sqrt(1/2) to sqrt(2).
struct Parts {
  V<double> exponent;
  V<double> rest;
};

inline Parts parts_of(V<double> base) {
  const Longs bits = (Longs)base - 0x3fe6a09e667f3bcd;
  return {(V<double>)((bits >> 52) + (Longs)broadcast(kShift)) - kShift,
          (V<double>)((bits & 0xfffffffffffff) + 0x3fe6a09e667f3bcd)};
}

// 2^n times the power series of exp at `fraction` * ln 2; n is in the low bits of `shifted`.
template <int N>
inline V<double> power_of_two(V<double> shifted, V<double> fraction, const double (&series)[N]) {
  return polynomial(fraction * 0.69314718055994530942, series) *
         (V<double>)(((Longs)shifted << 52) + 0x3ff0000000000000);
}

// base^exponent for normal positive bases, with a relative error below 2^-30: 2^(exponent * log2(base)) in double.
inline V<double> power_for_float(V<double> base, double exponent) {
  const Parts parts = parts_of(base);
  // log2 of the rest by the series of the inverse hyperbolic tangent.
  const V<double> s = (parts.rest - 1.0) / (parts.rest + 1.0);
  const V<double> series =
      polynomial(s * s, {1.0, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15});
  const V<double> log2_base = parts.exponent + s * series * 2.885390081777926815;
  // Beyond 2^-1000 .. 2^1000 the result leaves the range of float either way.
  V<double> t = exponent * log2_base;
  t = t < 1000.0 ? t : broadcast<double>(1000.0);
  t = t > -1000.0 ? t : broadcast<double>(-1000.0);
  const V<double> shifted = t + kShift;
  return power_of_two(shifted, t - (shifted - kShift),
                      {1.0, 1.0, 0.5, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320});
}

// Half of the digits of each number: products of two such halves are exact.
inline V<double> upper_half(V<double> v) { return (V<double>)((Longs)v & ~int64_t{0x7ffffff}); }

// What a * b, once rounded, lacks.
inline V<double> rounding_of_product(V<double> a, V<double> b, V<double> product) {
  const V<double> a1 = upper_half(a), b1 = upper_half(b), a2 = a - a1, b2 = b - b1;
  return a2 * b2 - (((product - a1 * b1) - a2 * b1) - a1 * b2);
}

// x * base^exponent where both are normal numbers and base is positive, within two units of the last digit; returns
// false where a lane is not so. The exponent has the digits of a float.
inline bool multiply_by_power(V<double>& x, V<double> base, double exponent) {
  constexpr double kScale = 0x1.71547652b82fep+1, kScaleRest = 0x1.777d0ffda0d24p-55;  // 2 / ln 2
  const Parts parts = parts_of(base);
  // log2 of the rest = 2 / ln 2 * (s + s^3 / 3 + ...) with s = (rest - 1) / (rest + 1), the first term in twice the
  // digits.
  const V<double> over = parts.rest - 1.0, under = parts.rest + 1.0, under_rest = parts.rest - (under - 1.0);
  const V<double> s = over / under;
  const V<double> back = s * under;
  const V<double> s_rest = (((over - back) - rounding_of_product(s, under, back)) - s * under_rest) / under;
  const V<double> q = s * s;
  const V<double> series = polynomial(q, {1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17,
                                          1.0 / 19, 1.0 / 21, 1.0 / 23});
  const V<double> scale = broadcast(kScale);
  const V<double> first = s * scale;
  const V<double> rest =
      rounding_of_product(s, scale, first) + (s * kScaleRest + (s_rest * kScale + s * (q * series) * kScale));
  // The exponent times that of the base, and times half of the first term's digits, are exact.
  const V<double> whole = parts.exponent * exponent;
  const V<double> upper = upper_half(first);
  const V<double> part = upper * exponent;
  const V<double> small = ((first - upper) + rest) * exponent;
  const V<double> t = whole + (part + small);
  for (int i = 0; i < kLanes<double>; ++i)
    if (!(base[i] >= DBL_MIN && base[i] <= DBL_MAX && t[i] > -1000 && t[i] < 1000)) return false;
  const V<double> shifted = t + kShift;
  x = x * power_of_two(shifted, ((whole - (shifted - kShift)) + part) + small,
                       {1.0, 1.0, 0.5, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
                        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800});
  return true;
}

// For any beta, also those that need roots alone; out of line, because the kernels would grow by it.
__attribute__((noinline)) inline void divide_any(V<float>& x, const V<float>& base, const Constants<float>& constants) {
  switch (constants.power) {
    case Power::kOne: x = x / base; return;
    case Power::kHalf: x = divided_by_root2(x, base); return;
    case Power::kQuarter: x = divided_by_root4(x, base); return;
    case Power::kThreeQuarters: x = divided_by_root4_cubed(x, base); return;
    case Power::kGeneral: break;
  }
  constexpr int lanes = kLanes<float>, half = lanes / 2;
  const auto quotient = [&](Floats<half> some, Floats<half> some_bases) ONNXNORM_INLINED {
    const V<double> power = power_for_float(__builtin_convertvector(some_bases, V<double>), -constants.beta);
    return __builtin_convertvector(__builtin_convertvector(some, V<double>) * power, Floats<half>);
  };
  x = whole_of<float, half>(quotient(half_of<0, float, lanes>(x), half_of<0, float, lanes>(base)),
                            quotient(half_of<half, float, lanes>(x), half_of<half, float, lanes>(base)));
}

__attribute__((noinline)) inline void divide_any(V<double>& x, const V<double>& base,
                                                 const Constants<double>& constants) {
  switch (constants.power) {
    case Power::kOne: x = x / base; return;
    case Power::kHalf: x = x / square_root(base); return;
    case Power::kQuarter: x = x / square_root(square_root(base)); return;
    case Power::kThreeQuarters: {
      const V<double> root = square_root(base);
      x = x / (root * square_root(root));
      return;
    }
    case Power::kGeneral: break;
  }
  // Two lanes take as long as `pow` for each.
  if (kLanes<double> > 2 && multiply_by_power(x, base, -constants.beta)) return;
  for (int i = 0; i < kLanes<double>; ++i) x[i] /= __builtin_pow(base[i], constants.beta);
}

// Divides by the power of sums, and notes whether a base lay outside of the range. P is kGeneral where the constants
// are asked which power.
template <class C, Power P>
struct Divider {
  const Constants<C>* constants;
  V<C> scale;
  V<C> bias;
  Words<kLanes<float>> least;
  Words<kLanes<float>> furthest;

  explicit Divider(const Constants<C>& from)
      : constants(&from), scale(broadcast(from.scale)), bias(broadcast(from.bias)),
        least(Words<kLanes<float>>{} + from.range.least_bits), furthest{} {}

  template <int N>
  ONNXNORM_INLINE Pack<C, N> divide(Pack<C, N> x, const Pack<C, N>& sums) {
    Pack<C, N> base;
    ONNXNORM_UNROLL for (int j = 0; j < N; ++j) base.v[j] = sums.v[j] * scale + bias;
    if constexpr (sizeof(C) == sizeof(float)) {
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j) {
        const auto past = (Words<kLanes<float>>)base.v[j] - least;
        furthest = past > furthest ? past : furthest;
      }
    }
    if constexpr (P == Power::kThreeQuarters) {
      return divided_by_root4_cubed(x, base);
    } else {
      for (int j = 0; j < N; ++j) divide_any(x.v[j], base.v[j], *constants);
      return x;
    }
  }

  bool outside() const {
    if constexpr (sizeof(C) == sizeof(float)) {
      for (int lane = 0; lane < kLanes<float>; ++lane)
        if (furthest[lane] > constants->range.width) return true;
    }
    return false;
  }
};

// Divides the elements of N rows.
template <class T, class C, Power P, int N>
struct DivideRows {
  Divider<C, P> divider;
  const T* x;
  T* y;
  int64_t stride;

  ONNXNORM_INLINE void put(int64_t column, const Pack<C, N>& sums) {
    constexpr int kBeside = N < 2 ? N : 2;  // more of them than registers for their operands slow each other down
    ONNXNORM_UNROLL for (int i = 0; i < N; i += kBeside) {
      Pack<C, kBeside> quotients, some;
      ONNXNORM_UNROLL for (int j = 0; j < kBeside; ++j) {
        quotients.v[j] = load<C>(x + (i + j) * stride + column);
        some.v[j] = sums.v[i + j];
      }
      quotients = divider.divide(quotients, some);
      ONNXNORM_UNROLL for (int j = 0; j < kBeside; ++j) store<C>(y + (i + j) * stride + column, quotients.v[j]);
    }
  }
};

// The same, and fetches into the cache what lies `ahead` elements on, of x to be read and of y to be written.
template <class T, class C, Power P, int N>
struct DivideAndFetchRows {
  DivideRows<T, C, P, N> rows;
  int64_t ahead;

  ONNXNORM_INLINE void put(int64_t column, const Pack<C, N>& sums) {
    const uintptr_t offset = static_cast<uintptr_t>(ahead + N * column) * sizeof(T);
    ONNXNORM_UNROLL for (uintptr_t byte = 0; byte < N * kLanes<C> * sizeof(T); byte += 64) {
      __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(rows.x) + offset + byte));
      __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(rows.y) + offset + byte), 1);
    }
    rows.put(column, sums);
  }
};

}  // namespace onnxnorm::ONNXNORM_TARGET
