// The activations that a normalization can end in. In float by series and an exponential of their own, within two or
// three units of the last digit; in double by the C library.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

template <class C>
struct Bend {
  Activation activation;
  C alpha;
  C beta;
};

using Ints = Vector<int32_t, kLanes<float>>;

// e^x, and infinity from 88.4 on; below -87.3, and for NaN, what it is at -87.3, which is next to nothing.
ONNXNORM_INLINE V<float> exponential(V<float> x) {
  constexpr float kMagic = 0x1.8p23f;  // added to a number, leaves it rounded to an integer in the low bits
  x = x > -87.3f ? x : broadcast(-87.3f);
  x = x < 88.8f ? x : broadcast(88.8f);
  const V<float> shifted = x * 0x1.715476p0f + kMagic;
  const V<float> n = shifted - kMagic;
  const V<float> r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
  // 1 + r + r^2 times a polynomial fitted to 3e-9.
  V<float> sum = r * 0.0013814597f + 0.0083687170f;
  sum = sum * r + 0.0416683881f;
  sum = sum * r + 0.1666652063f;
  sum = sum * r + 0.4999999345f;
  sum = (r * r) * sum + (r + 1.0f);
  return sum * (V<float>)(((Ints)shifted - (0x4b400000 - 127)) << 23);
}

ONNXNORM_INLINE V<float> minus_magnitude(V<float> x) { return (V<float>)((Ints)x | INT32_MIN); }

// x / (1 + e^-s)
ONNXNORM_INLINE V<float> times_sigmoid(V<float> x, V<float> s) { return x / (1.0f + exponential(-s)); }

// x times the normal distribution at x. The tail at -u is e^(-u^2 / 2) times a function without poles or zeros: a
// polynomial in 1 / (1 + 0.35 u), fitted to 4e-8.
ONNXNORM_INLINE V<float> gelu(V<float> x) {
  const V<float> minus_u = minus_magnitude(x);
  const V<float> t = 1.0f / (1.0f - 0.35f * minus_u);
  V<float> sum = t * -0.02952965662660f + 0.14578344440513f;
  sum = sum * t - 0.25932797079649f;
  sum = sum * t + 0.16313549247083f;
  sum = sum * t - 0.02570860448864f;
  sum = sum * t + 0.10654790905152f;
  sum = sum * t + 0.11958617772947f;
  sum = sum * t + 0.13989344985861f;
  sum = sum * t + 0.13961973959431f;
  const V<float> tail = exponential(minus_u * (-0.5f * minus_u)) * (t * sum);
  return x * (x < 0.0f ? tail : 1.0f - tail);
}

inline constexpr double kRootOf2OverPi = 0.79788456080286535588;
inline constexpr double kCubic = 0.044715;

template <class Function>
ONNXNORM_INLINE void for_each(float* values, int64_t n, Function function) {
  constexpr int64_t step = kLanes<float>;
  for (int64_t i = 0; i < n; i += step) store<float>(values + i, function(load<float>(values + i)));
}

// What a kernel has computed of some vectors, which lie in the first-level cache. Out of line: all kernels share it.
__attribute__((noinline)) inline void bend_all(float* values, int64_t n, const Bend<float>& bend) {
  using F = V<float>;
  const F low = broadcast(bend.alpha), high = broadcast(bend.beta);
  switch (bend.activation) {
    case Activation::kNone: return;
    case Activation::kRelu: return for_each(values, n, [](F x) ONNXNORM_INLINED { return x < 0.0f ? F{} : x; });
    case Activation::kSilu: return for_each(values, n, [](F x) ONNXNORM_INLINED { return times_sigmoid(x, x); });
    case Activation::kGelu: return for_each(values, n, [](F x) ONNXNORM_INLINED { return gelu(x); });
    case Activation::kGeluTanh:
      return for_each(values, n, [](F x) ONNXNORM_INLINED {
        constexpr float first = static_cast<float>(2 * kRootOf2OverPi);
        constexpr float third = static_cast<float>(2 * kRootOf2OverPi * kCubic);
        return times_sigmoid(x, x * (first + third * (x * x)));
      });
    case Activation::kLeakyRelu:
      return for_each(values, n, [=](F x) ONNXNORM_INLINED { return x < 0.0f ? x * low : x; });
    case Activation::kClip:
      return for_each(values, n, [=](F x) ONNXNORM_INLINED {
        x = x < low ? low : x;
        return x > high ? high : x;
      });
    case Activation::kHardSwish:
      return for_each(values, n, [](F x) ONNXNORM_INLINED {
        F ramp = x * (1.0f / 6) + 0.5f;
        ramp = ramp < 0.0f ? F{} : ramp;
        return x * (ramp > 1.0f ? broadcast(1.0f) : ramp);
      });
  }
}

inline double bent_one(double x, const Bend<double>& bend) {
  const auto sigmoid = [](double s) {
    const double e = __builtin_exp(-__builtin_fabs(s));
    return (s < 0 ? e : 1) / (1 + e);
  };
  switch (bend.activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x < 0 ? 0 : x;
    case Activation::kSilu: return x * sigmoid(x);
    case Activation::kGelu: return 0.5 * x * __builtin_erfc(x * -0.70710678118654752440);
    case Activation::kGeluTanh: return x * sigmoid(2 * kRootOf2OverPi * x * (1 + kCubic * x * x));
    case Activation::kLeakyRelu: return x < 0 ? x * bend.alpha : x;
    case Activation::kClip: {
      const double low = x < bend.alpha ? bend.alpha : x;
      return low > bend.beta ? bend.beta : low;
    }
    case Activation::kHardSwish: {
      const double ramp = x / 6 + 0.5;
      return x * (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp);
    }
  }
  return x;
}

__attribute__((noinline)) inline void bend_all(double* values, int64_t n, const Bend<double>& bend) {
  for (int64_t i = 0; i < n; ++i) values[i] = bent_one(values[i], bend);
}

// How the kernels are told: without an activation, with the commonest one, with one that the constants name; for that
// they put their results into a buffer first.
enum class Bending { kNone, kRelu, kAny };

template <Bending B, class C>
ONNXNORM_INLINE V<C> bent(V<C> x) {
  if constexpr (B == Bending::kRelu) return x < C{0} ? V<C>{} : x;
  return x;
}

template <Bending B>
struct Chosen {
  static constexpr Bending value = B;
};

template <class Run>
ONNXNORM_INLINE void with_activation(Activation activation, Run run) {
  if (activation == Activation::kNone) return run(Chosen<Bending::kNone>{});
  if (activation == Activation::kRelu) return run(Chosen<Bending::kRelu>{});
  return run(Chosen<Bending::kAny>{});
}

template <class C>
Bend<C> bend_of(const NormProblem& p) {
  return {p.activation, static_cast<C>(p.alpha), static_cast<C>(p.beta)};
}

}  // namespace onnxnorm::ONNXNORM_TARGET
