// Elements as they lie in tensors, and their way into and out of vectors of the type that is computed in.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <int N>
using Words = Vector<uint32_t, N>;
template <int N>
using Shorts = Vector<uint16_t, N>;
template <int N>
using Floats = Vector<float, N>;

template <int N>
inline Floats<N> widen(Shorts<N> bits, Float16) {
#if defined(__AVX512F__)
  if constexpr (N == 16) return (Floats<N>)_mm512_cvtph_ps((__m256i)bits);
#endif
#if defined(__F16C__)
  if constexpr (N == 8) return (Floats<N>)_mm256_cvtph_ps((__m128i)bits);
#endif
  const Words<N> word = __builtin_convertvector(bits, Words<N>);
  const Words<N> magnitude = word & 0x7fffu;
  const Words<N> normal = (magnitude << 13) + (112u << 23);
  const Words<N> special = (magnitude << 13) | 0x7f800000u;
  const Words<N> subnormal =
      (Words<N>)(__builtin_convertvector((Vector<int32_t, N>)magnitude, Floats<N>) * 0x1p-24f);
  Words<N> result = magnitude < 0x400u ? subnormal : normal;
  result = magnitude >= 0x7c00u ? special : result;
  return (Floats<N>)(result | ((word & 0x8000u) << 16));
}

template <int N>
inline Floats<N> widen(Shorts<N> bits, BFloat16) {
  return (Floats<N>)(__builtin_convertvector(bits, Words<N>) << 16);
}

// Round to nearest, ties to even.
template <int N>
inline Shorts<N> narrow(Floats<N> value, Float16) {
#if defined(__AVX512F__)
  if constexpr (N == 16)
    return (Shorts<N>)_mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
#if defined(__F16C__)
  if constexpr (N == 8) return (Shorts<N>)_mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
  const Words<N> word = (Words<N>)value;
  const Words<N> magnitude = word & 0x7fffffffu;
  const Words<N> normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
  // Added to one half, a number keeps exactly the digits that a subnormal half has.
  const Words<N> subnormal = (Words<N>)((Floats<N>)magnitude + 0.5f) - 0x3f000000u;
  Words<N> result = magnitude < 0x38800000u ? subnormal : normal;
  result = magnitude >= 0x477ff000u ? (Words<N>{} + 0x7c00u) : result;
  result = magnitude > 0x7f800000u ? (Words<N>{} + 0x7e00u) : result;
  return __builtin_convertvector(result | ((word >> 16) & 0x8000u), Shorts<N>);
}

template <int N>
inline Shorts<N> narrow(Floats<N> value, BFloat16) {
  const Words<N> word = (Words<N>)value;
  const Words<N> rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  const Words<N> quiet = (word >> 16) | 0x40u;
  return __builtin_convertvector((word & 0x7fffffffu) > 0x7f800000u ? quiet : rounded, Shorts<N>);
}

template <class C, class T>
inline V<C> load(const T* from) {
  constexpr int n = kLanes<C>;
  if constexpr (sizeof(T) == sizeof(C)) {
    return load_raw<C, n>(from);
  } else if constexpr (sizeof(T) == sizeof(uint16_t)) {
    return __builtin_convertvector(widen<n>(load_raw<uint16_t, n>(from), T{}), V<C>);
  } else {
    return __builtin_convertvector(load_raw<T, n>(from), V<C>);
  }
}

template <class C, class T>
inline void store(T* to, V<C> value) {
  constexpr int n = kLanes<C>;
  if constexpr (sizeof(T) == sizeof(uint16_t)) {
    store_raw(to, narrow<n>(__builtin_convertvector(value, Floats<n>), T{}));
  } else {
    store_raw(to, __builtin_convertvector(value, Vector<T, n>));
  }
}

// Each element of a row as type To; C is the wider type of the two.
template <class C, class From, class To>
void copy_row(const From* from, To* to, int64_t length) {
  if constexpr (sizeof(From) == sizeof(To)) {
    __builtin_memcpy(to, from, static_cast<size_t>(length) * sizeof(From));
  } else {
    constexpr int64_t step = kLanes<C>;
    if (length >= step) {
      // The last vector overlaps the one before it.
      for (int64_t i = 0; i < length; i += step) {
        const int64_t at = smaller(i, length - step);
        store<C>(to + at, load<C>(from + at));
      }
      return;
    }
    From some[step] = {};
    To made[step];
    __builtin_memcpy(some, from, static_cast<size_t>(length) * sizeof(From));
    store<C>(made, load<C>(some));
    __builtin_memcpy(to, made, static_cast<size_t>(length) * sizeof(To));
  }
}

// The same of rows that many elements apart.
template <class C, class From, class To>
void copy_rows(const From* from, int64_t from_stride, To* to, int64_t to_stride, int64_t rows, int64_t length) {
  if (from_stride == length && to_stride == length) return copy_row<C>(from, to, rows * length);
  for (int64_t row = 0; row < rows; ++row) copy_row<C>(from + row * from_stride, to + row * to_stride, length);
}

}  // namespace onnxnorm::ONNXNORM_TARGET
