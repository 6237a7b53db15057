// Vectors of the target's width as the compiler's own vector types, and the few operations that those lack.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

#define ONNXNORM_INLINE __attribute__((always_inline)) inline
#define ONNXNORM_INLINED __attribute__((always_inline))  // of a lambda
#define ONNXNORM_UNROLL _Pragma("GCC unroll 8")

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline constexpr int kGroup = 4;  // rows that are computed beside each other

inline constexpr int kBytes = ONNXNORM_VECTOR_BYTES;

template <class E, int N>
struct VectorOf {
  typedef E type __attribute__((vector_size(N * sizeof(E))));
};
template <class E, int N>
using Vector = typename VectorOf<E, N>::type;

template <class C>
inline constexpr int kLanes = kBytes / static_cast<int>(sizeof(C));

// The vector of the target for elements of type C.
template <class C>
using V = Vector<C, kLanes<C>>;

template <class E, int N>
inline Vector<E, N> load_raw(const void* from) {
  Vector<E, N> v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <class Vec>
inline void store_raw(void* to, Vec v) {
  __builtin_memcpy(to, &v, sizeof v);
}

// A number that is known when the kernels are compiled, as an argument.
template <int kValue>
struct Number {
  static constexpr int value = kValue;
};

// Ask for the line of the cache so many elements behind `from`, which need not belong to the tensor.
template <class T>
ONNXNORM_INLINE void fetch_to_read(const T* from, int64_t behind) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(from) + behind * sizeof(T)));
}
template <class T>
ONNXNORM_INLINE void fetch_to_write(const T* from, int64_t behind) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(from) + behind * sizeof(T)), 1);
}

template <class C>
inline V<C> broadcast(C value) {
  return value - V<C>{};
}

inline V<float> square_root(V<float> v) {
#if defined(__AVX512F__)
  return (V<float>)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__) && ONNXNORM_VECTOR_BYTES == 32
  return (V<float>)_mm256_sqrt_ps((__m256)v);
#elif defined(__x86_64__) && ONNXNORM_VECTOR_BYTES == 16
  return (V<float>)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
  return (V<float>)vsqrtq_f32((float32x4_t)v);
#else
  for (int i = 0; i < kLanes<float>; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

inline V<double> square_root(V<double> v) {
#if defined(__AVX512F__)
  return (V<double>)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__) && ONNXNORM_VECTOR_BYTES == 32
  return (V<double>)_mm256_sqrt_pd((__m256d)v);
#elif defined(__x86_64__) && ONNXNORM_VECTOR_BYTES == 16
  return (V<double>)_mm_sqrt_pd((__m128d)v);
#elif defined(__aarch64__)
  return (V<double>)vsqrtq_f64((float64x2_t)v);
#else
  for (int i = 0; i < kLanes<double>; ++i) v[i] = __builtin_sqrt(v[i]);
  return v;
#endif
}

// 1 / sqrt(v) for normal positive v, with a relative error below 2^-11.
inline V<float> rough_reciprocal_root(V<float> v) {
#if defined(__AVX512F__)
  return (V<float>)_mm512_rsqrt14_ps((__m512)v);
#elif defined(__AVX2__) && ONNXNORM_VECTOR_BYTES == 32
  return (V<float>)_mm256_rsqrt_ps((__m256)v);
#elif defined(__AVX2__) && ONNXNORM_VECTOR_BYTES == 64
  __m256 halves[2];
  __builtin_memcpy(halves, &v, sizeof v);
  halves[0] = _mm256_rsqrt_ps(halves[0]);
  halves[1] = _mm256_rsqrt_ps(halves[1]);
  __builtin_memcpy(&v, halves, sizeof v);
  return v;
#elif defined(__x86_64__) && ONNXNORM_VECTOR_BYTES == 16
  return (V<float>)_mm_rsqrt_ps((__m128)v);
#elif defined(__aarch64__)
  const float32x4_t x = (float32x4_t)v;
  const float32x4_t r = vrsqrteq_f32(x);
  return (V<float>)vmulq_f32(r, vrsqrtsq_f32(vmulq_f32(x, r), r));
#else
  return 1.0f / square_root(v);
#endif
}

// Elements of a and b (4 and up are b's) within blocks of four.
template <int P0, int P1, int P2, int P3, class Vec>
ONNXNORM_INLINE Vec blockwise(Vec a, Vec b) {
  constexpr int n = static_cast<int>(sizeof(Vec) / sizeof(a[0]));
#define ONNXNORM_AT(block, p) (p < 4 ? block + p : n + block + p - 4)
#define ONNXNORM_BLOCK(block) \
  ONNXNORM_AT(block, P0), ONNXNORM_AT(block, P1), ONNXNORM_AT(block, P2), ONNXNORM_AT(block, P3)
  if constexpr (n == 4) return __builtin_shufflevector(a, b, ONNXNORM_BLOCK(0));
  if constexpr (n == 8) return __builtin_shufflevector(a, b, ONNXNORM_BLOCK(0), ONNXNORM_BLOCK(4));
  if constexpr (n == 16)
    return __builtin_shufflevector(a, b, ONNXNORM_BLOCK(0), ONNXNORM_BLOCK(4), ONNXNORM_BLOCK(8), ONNXNORM_BLOCK(12));
#undef ONNXNORM_BLOCK
#undef ONNXNORM_AT
}

// Elements kFrom .. kFrom + n - 1 of a and b behind each other.
template <int kFrom, class Vec>
ONNXNORM_INLINE Vec joined(Vec a, Vec b) {
  constexpr int n = static_cast<int>(sizeof(Vec) / sizeof(a[0]));
#define ONNXNORM_FOUR(i) kFrom + i, kFrom + i + 1, kFrom + i + 2, kFrom + i + 3
  if constexpr (n == 8) return __builtin_shufflevector(a, b, ONNXNORM_FOUR(0), ONNXNORM_FOUR(4));
  if constexpr (n == 16)
    return __builtin_shufflevector(a, b, ONNXNORM_FOUR(0), ONNXNORM_FOUR(4), ONNXNORM_FOUR(8), ONNXNORM_FOUR(12));
#undef ONNXNORM_FOUR
}

// Elements kFrom .. of a vector, half as many as it has.
template <int kFrom, class E, int N>
ONNXNORM_INLINE Vector<E, N / 2> half_of(Vector<E, N> v) {
  if constexpr (N == 4) return __builtin_shufflevector(v, v, kFrom, kFrom + 1);
  if constexpr (N == 8) return __builtin_shufflevector(v, v, kFrom, kFrom + 1, kFrom + 2, kFrom + 3);
  if constexpr (N == 16)
    return __builtin_shufflevector(v, v, kFrom, kFrom + 1, kFrom + 2, kFrom + 3, kFrom + 4, kFrom + 5, kFrom + 6,
                                   kFrom + 7);
}

// Two halves behind each other. By way of memory the load of the whole would wait for the stores of both.
template <class E, int N>
ONNXNORM_INLINE Vector<E, 2 * N> whole_of(Vector<E, N> a, Vector<E, N> b) {
  if constexpr (N == 2) return __builtin_shufflevector(a, b, 0, 1, 2, 3);
  if constexpr (N == 4) return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  if constexpr (N == 8) return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// Vectors whose operations alternate: while one waits for its last result, the others' next operations run.
template <class C, int N>
struct Pack {
  V<C> v[N];
};

#define ONNXNORM_PACK_OPERATOR(op)                                                \
  template <class C, int N>                                                       \
  ONNXNORM_INLINE Pack<C, N> operator op(const Pack<C, N>& a, const Pack<C, N>& b) { \
    Pack<C, N> result;                                                            \
    ONNXNORM_UNROLL for (int i = 0; i < N; ++i) result.v[i] = a.v[i] op b.v[i];   \
    return result;                                                                \
  }                                                                               \
  template <class C, int N>                                                       \
  ONNXNORM_INLINE Pack<C, N> operator op(C a, const Pack<C, N>& b) {              \
    Pack<C, N> result;                                                            \
    ONNXNORM_UNROLL for (int i = 0; i < N; ++i) result.v[i] = a op b.v[i];        \
    return result;                                                                \
  }
ONNXNORM_PACK_OPERATOR(+)
ONNXNORM_PACK_OPERATOR(-)
ONNXNORM_PACK_OPERATOR(*)
#undef ONNXNORM_PACK_OPERATOR

template <int N>
ONNXNORM_INLINE Pack<float, N> rough_reciprocal_root(const Pack<float, N>& a) {
  Pack<float, N> result;
  ONNXNORM_UNROLL for (int i = 0; i < N; ++i) result.v[i] = rough_reciprocal_root(a.v[i]);
  return result;
}

}  // namespace onnxnorm::ONNXNORM_TARGET
