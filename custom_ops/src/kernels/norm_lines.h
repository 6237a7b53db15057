// The result of a normalization along a row: x times a factor, with weights, a residual and an activation.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

inline constexpr int64_t kWideElements = 512;  // of a copy in double

// y = act((x - centre) * factor + rest), all but x the same for every element, or each with a scale and bias of its own.
template <class C>
struct Line {
  C centre;
  C factor;
  C rest;
  const double* scale = nullptr;
  const double* bias = nullptr;
};

template <class T, class C, Bending B, bool kVaries>
ONNXNORM_INLINE void run_line(const T* x, const T* residual, T* y, int64_t n, const Line<C>& line,
                              const Bend<C>& bend) {
  constexpr int64_t step = kLanes<C>;
  constexpr int64_t per_fetch = larger(64 / static_cast<int64_t>(step * sizeof(T)), 1);
  const V<C> centre = broadcast(line.centre), factor = broadcast(line.factor), rest = broadcast(line.rest);
  const double *scale = line.scale, *bias = line.bias;
  // Stores that wait for their line hold up all stores behind them.
  const auto fetch_at = [y](int64_t i) ONNXNORM_INLINED {
    fetch_to_write(y, i + 1024 / static_cast<int64_t>(sizeof(T)));
  };
  const auto value_at = [&](int64_t at) ONNXNORM_INLINED {
    V<C> value = (load<C>(x + at) - centre) * factor + rest;
    if constexpr (kVaries) value = value * load<C>(scale + at) + load<C>(bias + at);
    if (residual != nullptr) value += load<C>(residual + at);
    return value;
  };
  // The last vector overlaps the one before it.
  const auto column = [n](int64_t i) ONNXNORM_INLINED { return i + step <= n ? i : n - step; };
  if constexpr (B == Bending::kAny) {
    constexpr int64_t kStaged = 64 * step;
    alignas(64) C staged[kStaged];
    for (int64_t first = 0; first < n; first += kStaged) {
      const int64_t end = smaller(n, first + kStaged);
      for (int64_t i = first; i < end; i += step) {
        if (i / step % per_fetch == 0) fetch_at(i);
        store<C>(staged + (i - first), value_at(column(i)));
      }
      bend_all(staged, ceil_div(end - first, step) * step, bend);
      for (int64_t i = first; i < end; i += step) store<C>(y + column(i), load<C>(staged + (i - first)));
    }
  } else {
    constexpr int64_t stride = step * per_fetch;
    int64_t i = 0;
    for (; i + stride <= n; i += stride) {
      fetch_at(i);
      ONNXNORM_UNROLL for (int64_t k = 0; k < per_fetch; ++k)
        store<C>(y + i + k * step, bent<B, C>(value_at(i + k * step)));
    }
    for (; i < n; i += step) store<C>(y + column(i), bent<B, C>(value_at(column(i))));
  }
}

// The same of fewer elements than a vector has: copied, so that one can be read and written.
template <class T, class C, Bending B, bool kVaries>
__attribute__((noinline)) void run_short_line(const T* x, const T* residual, T* y, int64_t n, Line<C> line,
                                              const Bend<C>& bend) {
  constexpr int64_t step = kLanes<C>;
  T own[step] = {}, added[step] = {};
  double scale[step] = {}, bias[step] = {};
  __builtin_memcpy(own, x, static_cast<size_t>(n) * sizeof(T));
  if (residual != nullptr) __builtin_memcpy(added, residual, static_cast<size_t>(n) * sizeof(T));
  if constexpr (kVaries) {
    __builtin_memcpy(scale, line.scale, static_cast<size_t>(n) * sizeof(double));
    __builtin_memcpy(bias, line.bias, static_cast<size_t>(n) * sizeof(double));
    line.scale = scale;
    line.bias = bias;
  }
  T result[step];
  run_line<T, C, B, kVaries>(own, residual == nullptr ? nullptr : added, result, step, line, bend);
  __builtin_memcpy(y, result, static_cast<size_t>(n) * sizeof(T));
}

// The same of any number of elements.
template <class T, class C, Bending B, bool kVaries>
ONNXNORM_INLINE void run_whole_line(const T* x, const T* residual, T* y, int64_t n, const Line<C>& line,
                                    const Bend<C>& bend) {
  if (n < kLanes<C>) run_short_line<T, C, B, kVaries>(x, residual, y, n, line, bend);
  else run_line<T, C, B, kVaries>(x, residual, y, n, line, bend);
}

// Out of line, for all types.
template <Bending B, bool kVaries>
__attribute__((noinline)) void run_double_line(const double* x, const double* residual, double* y, int64_t n,
                                               const Line<double>& line, const Bend<double>& bend) {
  run_whole_line<double, double, B, kVaries>(x, residual, y, n, line, bend);
}

// In double, of another type: in copies.
template <class T, Bending B, bool kVaries>
__attribute__((noinline)) void run_wide_line(const T* x, const T* residual, T* y, int64_t n, Line<double> line,
                                             const Bend<double>& bend) {
  double own[kWideElements], added[kWideElements], result[kWideElements];
  for (int64_t i = 0; i < n; i += kWideElements) {
    const int64_t count = smaller(kWideElements, n - i);
    copy_row<double>(x + i, own, count);
    if (residual != nullptr) copy_row<double>(residual + i, added, count);
    run_double_line<B, kVaries>(own, residual == nullptr ? nullptr : added, result, count, line, bend);
    copy_row<double>(result, y + i, count);
    if constexpr (kVaries) {
      line.scale += count;
      line.bias += count;
    }
  }
}

template <class T, class C, Bending B, bool kVaries>
ONNXNORM_INLINE void run_any_line(const T* x, const T* residual, T* y, int64_t n, const Line<C>& line,
                                  const Bend<C>& bend) {
  if constexpr (sizeof(T) < sizeof(C) && sizeof(C) == sizeof(double))
    run_wide_line<T, B, kVaries>(x, residual, y, n, line, bend);
  else
    run_whole_line<T, C, B, kVaries>(x, residual, y, n, line, bend);
}

}  // namespace onnxnorm::ONNXNORM_TARGET
