// Normalization of vectors that lie together: sums over a chunk in one pass, or two where its first elements misled, and
// the result in another.
//
// Sums are of differences from a number near the mean, which are exact where the mean is large, so that nothing cancels;
// sums in float are handed on to double every few hundred additions.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

template <class Lanes>
ONNXNORM_INLINE double lane_sum(Lanes v) {
  constexpr int n = static_cast<int>(sizeof v / sizeof v[0]);
  double part[n];
  ONNXNORM_UNROLL for (int k = 0; k < n; ++k) part[k] = static_cast<double>(v[k]);
  ONNXNORM_UNROLL for (int half = n / 2; half > 0; half /= 2) {
    ONNXNORM_UNROLL for (int k = 0; k < half; ++k) part[k] += part[k + half];
  }
  return part[0];
}

// Fewer elements than a vector has lanes, in the last of them; the other lanes are zero.
template <class C, class T>
ONNXNORM_INLINE V<C> load_some(const T* x, int64_t n) {
  T lanes[kLanes<C>] = {};
  __builtin_memcpy(lanes + (kLanes<C> - n), x, static_cast<size_t>(n) * sizeof(T));
  return load<C>(lanes);
}

// 0, 1, 2 and so on.
template <class C>
ONNXNORM_INLINE V<C> lane_numbers() {
  V<C> v{};
  ONNXNORM_UNROLL for (int k = 0; k < kLanes<C>; ++k) v[k] = static_cast<C>(k);
  return v;
}

// Sums and sums of squares (or of magnitudes) of x - centre over n elements.
template <class T, class C, Statistic S>
struct RowSums {
  double sum = 0;
  double squares = 0;

  ONNXNORM_INLINE RowSums(const T* x, int64_t n, C centre) {
    constexpr int64_t step = kLanes<C>;
    constexpr int64_t kBlock = 4 * step * 32;
    const V<C> middle = broadcast(centre);
    Wide wide_sums{}, wide_others{};
    int64_t i = 0;
    while (n - i >= 4 * step) {
      const int64_t end = i + smaller(kBlock, (n - i) / (4 * step) * (4 * step));
      V<C> sums[4] = {}, others[4] = {};
      for (; i < end; i += 4 * step) {
        ONNXNORM_UNROLL for (int k = 0; k < 4; ++k) add(load<C>(x + i + k * step), middle, sums[k], others[k]);
      }
      if constexpr (S == Statistic::kLayer)
        wide_sums += __builtin_convertvector((sums[0] + sums[1]) + (sums[2] + sums[3]), Wide);
      wide_others += __builtin_convertvector((others[0] + others[1]) + (others[2] + others[3]), Wide);
    }
    if (i < n) {
      V<C> sums{}, others{};
      for (; n - i >= step; i += step) add(load<C>(x + i), middle, sums, others);
      if (i < n) {
        // The last vector overlaps the one before it, whose elements do not count again.
        const V<C> last = n >= step ? load<C>(x + n - step) : load_some<C>(x, n);
        add(lane_numbers<C>() >= static_cast<C>(step - (n - i)) ? last : middle, middle, sums, others);
      }
      wide_sums += __builtin_convertvector(sums, Wide);
      wide_others += __builtin_convertvector(others, Wide);
    }
    if constexpr (S == Statistic::kLayer) sum = lane_sum(wide_sums);
    squares = lane_sum(wide_others);
  }

 private:
  using Wide = Vector<double, kLanes<C>>;

  static ONNXNORM_INLINE void add(V<C> x, V<C> middle, V<C>& sums, V<C>& others) {
    if constexpr (S == Statistic::kLayer) {
      const V<C> apart = x - middle;
      sums += apart;
      others += apart * apart;
    } else if constexpr (S == Statistic::kL1) {
      others += x < C{0} ? -x : x;
    } else {
      others += x * x;
    }
  }
};

template <class C, class T>
ONNXNORM_INLINE C element(const T* x) {
  if constexpr (sizeof(T) >= sizeof(float)) {
    return static_cast<C>(*x);
  } else {
    T several[kLanes<C>] = {*x};
    return load<C>(several)[0];
  }
}

template <class T, class C, Statistic S>
Moments moments_about(const T* x, int64_t n, C centre) {
  const RowSums<T, C, S> sums(x, n, centre);
  if constexpr (S != Statistic::kLayer) return {static_cast<double>(n), 0, sums.squares};
  const double count = static_cast<double>(n), apart = sums.sum / count;
  const double squares = sums.squares - sums.sum * apart;
  return {count, static_cast<double>(centre) + apart, squares > 0 || squares != squares ? squares : 0};
}

template <class T, class C, Statistic S>
Moments moments_of(const T* x, int64_t n) {
  if constexpr (S != Statistic::kLayer) return moments_about<T, C, S>(x, n, C{0});
  constexpr int64_t step = kLanes<C>;
  const int64_t vectors = smaller(n / step, 4);
  V<C> sum = vectors == 0 ? load_some<C>(x, n) : load<C>(x);
  for (int64_t i = 1; i < vectors; ++i) sum += load<C>(x + i * step);
  C centre = static_cast<C>(lane_sum(sum) / static_cast<double>(vectors == 0 ? n : vectors * step));
  for (int tries = 0;; ++tries) {
    const Moments found = moments_about<T, C, S>(x, n, centre);
    const double apart = found.mean - static_cast<double>(centre);
    if (!(apart * apart * found.count > found.squares) || tries == 2) return found;
    centre = static_cast<C>(found.mean);
  }
}

// Whether sums over so many elements in float have kept all digits.
inline bool in_range(const Moments& m) {
  return m.squares >= m.count * 0x1p-90 && m.squares <= 0x1p120 && m.mean >= -0x1p120 && m.mean <= 0x1p120;
}

// The moments of numbers that float has no room for, in copies: what runs in double is there once for all types.
template <class T, Statistic S>
Moments wide_moments(const T* x, int64_t n) {
  Moments all;
  double wide[kWideElements];
  for (int64_t i = 0; i < n; i += kWideElements) {
    const int64_t count = smaller(kWideElements, n - i);
    copy_row<double>(x + i, wide, count);
    all = joined(all, moments_of<double, double, S>(wide, count));
  }
  return all;
}

template <class T, class C, Statistic S>
Moments chunk_moments(const NormProblem& p, const T* x, int64_t n) {
  const Moments found = moments_of<T, C, S>(x, n);
  if constexpr (sizeof(C) == sizeof(double)) return found;
  // What is lost of the squares of very small numbers is nothing beside epsilon.
  const bool small_is_lost = S == Statistic::kLayer || S == Statistic::kRms
                                 ? p.epsilon >= (p.outside ? 1e-10 : 1e-20) && found.squares >= 0 && found.squares < 1
                                 : false;
  if (in_range(found) || (small_is_lost && found.mean >= -0x1p120 && found.mean <= 0x1p120)) return found;
  return wide_moments<T, S>(x, n);
}

template <class T, class C>
Moments chunk_moments(const NormProblem& p, const T* x, int64_t n) {
  switch (p.statistic) {
    case Statistic::kLayer: return chunk_moments<T, C, Statistic::kLayer>(p, x, n);
    case Statistic::kL1: return chunk_moments<T, C, Statistic::kL1>(p, x, n);
    case Statistic::kRms:
    case Statistic::kL2: return chunk_moments<T, C, Statistic::kL2>(p, x, n);
    case Statistic::kNone: break;
  }
  return {};
}

// A number that float holds with all its digits, and with room for products.
inline bool fits(double value) {
  const double size = value < 0 ? -value : value;
  return size == 0 || (size >= 0x1p-60 && size <= 0x1p60);
}

// Elements [begin, end) of the tensor, all of one row, or of any where nothing is normalized.
template <class T, class C>
void apply(const NormProblem& p, const NormOperands& o, int64_t begin, int64_t end, const Normal& normal) {
  if constexpr (sizeof(C) == sizeof(float)) {
    if (p.wide || !(fits(normal.factor) && normal.mean >= -0x1p60 && normal.mean <= 0x1p60))
      return apply<T, double>(p, o, begin, end, normal);
  }
  const T* const x = static_cast<const T*>(o.x);
  const T* const residual = static_cast<const T*>(o.residual);
  T* const y = static_cast<T*>(o.y);
  const Bend<C> bend = bend_of<C>(p);
  const C centre = static_cast<C>(normal.mean);
  const double less = normal.mean - static_cast<double>(centre);  // of the mean, in the digits that C lacks
  const int64_t row = p.row_params == 0 ? 0 : begin / p.length * p.row_params;
  const double* const scale = o.scale + row;
  const double* const bias = o.bias + row;
  with_activation(p.activation, [&](auto chosen) {
    constexpr Bending B = decltype(chosen)::value;
    for (int64_t at = begin, part = begin / p.run; at < end; ++part) {
      const int64_t index = p.run == 1 ? at % p.params : part % p.params;
      int64_t stop;
      Line<C> line{centre, C{}, C{}, nullptr, nullptr};
      if (p.run == 1) {
        stop = smaller(end, at - index + p.params);
        line.factor = static_cast<C>(normal.factor);
        line.rest = static_cast<C>(-less * normal.factor);
        line.scale = scale + index;
        line.bias = bias + index;
      } else {
        stop = smaller(end, (part + 1) * p.run);
        const double factor = normal.factor * scale[index];
        line.factor = static_cast<C>(factor);
        line.rest = static_cast<C>(bias[index] - less * factor);
      }
      const T* const more = residual == nullptr ? nullptr : residual + at;
      const int64_t n = stop - at;
      if (p.run == 1) run_any_line<T, C, B, true>(x + at, more, y + at, n, line, bend);
      else run_any_line<T, C, B, false>(x + at, more, y + at, n, line, bend);
      at = stop;
    }
  });
}

// The moments of chunks [begin, end) of all rows.
template <class T, class C>
bool norm_moments(const NormProblem& p, const NormOperands& o, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i / p.chunks, from = chunk_begin(p, i % p.chunks), to = chunk_begin(p, i % p.chunks + 1);
    o.moments[i] = chunk_moments<T, C>(p, static_cast<const T*>(o.x) + row * p.length + from, to - from);
  }
  return true;
}

// The results of chunks [begin, end) of all rows, whose means and factors are known.
template <class T, class C>
bool norm_apply(const NormProblem& p, const NormOperands& o, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i / p.chunks, at = row * p.length;
    apply<T, C>(p, o, at + chunk_begin(p, i % p.chunks), at + chunk_begin(p, i % p.chunks + 1),
                o.normals == nullptr ? Normal{} : o.normals[row]);
  }
  return true;
}

// Rows [begin, end), each as a whole.
template <class T, class C>
bool norm_rows(const NormProblem& p, const NormOperands& o, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const int64_t at = row * p.length;
    Moments all;
    if (p.chunks == 1) {
      all = chunk_moments<T, C>(p, static_cast<const T*>(o.x) + at, p.length);
    } else {
      for (int64_t chunk = 0; chunk < p.chunks; ++chunk) {
        const int64_t from = chunk_begin(p, chunk), to = chunk_begin(p, chunk + 1);
        all = joined(all, chunk_moments<T, C>(p, static_cast<const T*>(o.x) + at + from, to - from));
      }
    }
    apply<T, C>(p, o, at, at + p.length, finished(p, all));
  }
  return true;
}

}  // namespace onnxnorm::ONNXNORM_TARGET
