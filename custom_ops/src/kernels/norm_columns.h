// Normalization of vectors whose elements lie apart, over the channels of (N, C, pixels) above all: block by block of
// columns, row by row in each, while the block is in the second-level cache.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

// One block of `width` columns, at least one vector of them. What is known of a column lies in arrays with a slot for
// each vector; the last vector of a row may overlap the one before it, its slot does not.
template <class T, class C, Statistic S>
class ColumnBlock {
 public:
  // Rows of x lie `stride` elements apart.
  ColumnBlock(const NormProblem& p, int64_t width, int64_t stride, Scratch& scratch)
      : p_(p), width_(width), stride_(stride), slots_(ceil_div(width, step)) {
    for (C** array : {&centre_, &sum_, &squares_, &all_sum_, &all_squares_, &factor_, &rest_, &staged_})
      *array = scratch.take<C>(slots_ * step);
  }

  static size_t scratch(int64_t width) { return 8 * Scratch::bytes<C>(ceil_div(width, step) * step); }

  // False where numbers were met that C has no room for.
  bool measure(const T* x) {
    if constexpr (S == Statistic::kLayer) first_centre(x);
    for (int tries = 0;; ++tries) {
      add_all(x);
      const bool inside = finish();
      if (S != Statistic::kLayer || !misled_ || tries == 2) return inside || sizeof(C) == sizeof(double);
      // The sums are of differences from a number too far from the mean.
      for (int64_t i = 0; i < slots_ * step; i += step)
        store<C>(centre_ + i, load<C>(centre_ + i) + load<C>(all_sum_ + i) / count());
    }
  }

  // Of the column behind that many others.
  double squares(int64_t at) const {
    const int64_t slot = at / step == slots_ - 1 ? slots_ - 1 : at / step;
    return static_cast<double>(all_squares_[slot * step + at - column(slot)]);
  }

  // Rows of the result, and of what is added to it, lie `stride` elements apart.
  template <Bending B>
  void apply(const T* x, const T* residual, T* y, int64_t stride, const double* scale, const double* bias,
             const Bend<C>& bend) const {
    for (int64_t row = 0; row < p_.length; ++row) {
      const int64_t at = p_.params == 1 ? 0 : row;
      apply_row<B>(x + row * stride_, residual == nullptr ? nullptr : residual + row * stride, y + row * stride,
                   broadcast(static_cast<C>(scale[at])), broadcast(static_cast<C>(bias[at])), bend);
    }
  }

 private:
  static constexpr int64_t step = kLanes<C>;
  static constexpr int64_t kSlab = 128;  // rows whose sums are taken by themselves, for less rounding

  C count() const { return static_cast<C>(p_.length); }
  int64_t column(int64_t slot) const { return smaller(slot * step, width_ - step); }

  void first_centre(const T* x) {
    const int64_t rows = smaller(p_.length, 8);
    const C each = C{1} / static_cast<C>(rows);
    for (int64_t slot = 0; slot < slots_; ++slot) {
      V<C> sum{};
      for (int64_t row = 0; row < rows; ++row) sum += load<C>(x + row * stride_ + column(slot)) * each;
      store<C>(centre_ + slot * step, sum);
    }
  }

  void add_all(const T* x) {
    const size_t bytes = static_cast<size_t>(slots_ * step) * sizeof(C);
    __builtin_memset(all_sum_, 0, bytes);
    __builtin_memset(all_squares_, 0, bytes);
    for (int64_t first = 0; first < p_.length; first += kSlab) {
      const int64_t end = smaller(first + kSlab, p_.length);
      __builtin_memset(sum_, 0, bytes);
      __builtin_memset(squares_, 0, bytes);
      int64_t row = first;
      for (; row + 4 <= end; row += 4) add_rows<4>(x + row * stride_);
      for (; row < end; ++row) add_rows<1>(x + row * stride_);
      for (int64_t i = 0; i < slots_ * step; i += step) {
        store<C>(all_sum_ + i, load<C>(all_sum_ + i) + load<C>(sum_ + i));
        store<C>(all_squares_ + i, load<C>(all_squares_ + i) + load<C>(squares_ + i));
      }
    }
  }

  template <int N>
  ONNXNORM_INLINE void add_rows(const T* x) {
    const auto add = [this](int64_t slot, const T* from) ONNXNORM_INLINED {
      V<C> value[N];
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j) value[j] = load<C>(from + j * stride_);
      const int64_t at = slot * step;
      if constexpr (S == Statistic::kLayer) {
        const V<C> centre = load<C>(centre_ + at);
        ONNXNORM_UNROLL for (int j = 0; j < N; ++j) value[j] -= centre;
        store<C>(sum_ + at, load<C>(sum_ + at) + total<N>(value));
      }
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j)
        value[j] = S == Statistic::kL1 ? (value[j] < C{0} ? -value[j] : value[j]) : value[j] * value[j];
      store<C>(squares_ + at, load<C>(squares_ + at) + total<N>(value));
    };
    for (int64_t slot = 0; slot < slots_; ++slot) add(slot, x + column(slot));
  }

  template <int N>
  static ONNXNORM_INLINE V<C> total(const V<C> (&value)[N]) {
    if constexpr (N == 4) return (value[0] + value[1]) + (value[2] + value[3]);
    else return value[0];
  }

  // False where a statistic lies outside of what C has room for.
  bool finish() {
    using Mask = decltype(V<C>{} < V<C>{});
    Mask outside{}, misled{};
    const C epsilon = static_cast<C>(p_.epsilon);
    for (int64_t i = 0; i < slots_ * step; i += step) {
      V<C> squares = load<C>(all_squares_ + i), mean{}, factor;
      V<C> known;  // must be well inside of the range
      if constexpr (S == Statistic::kLayer || S == Statistic::kRms) {
        squares = squares / count();
        if constexpr (S == Statistic::kLayer) {
          mean = load<C>(all_sum_ + i) / count();
          squares = squares - mean * mean;
          misled |= mean * mean > squares;
          squares = squares < C{0} ? V<C>{} : squares;
        }
        known = p_.outside ? squares + epsilon * epsilon : squares + epsilon;
        factor = C{1} / (p_.outside ? square_root(squares) + epsilon : square_root(squares + epsilon));
      } else {
        V<C> size = S == Statistic::kL1 ? squares : square_root(squares);
        known = squares;
        factor = C{1} / (size < epsilon ? broadcast(epsilon) : size);
        if constexpr (sizeof(C) == sizeof(double)) {
          if (p_.epsilon == 0) factor = size == C{0} ? V<C>{} : factor;
        }
      }
      if constexpr (sizeof(C) == sizeof(float)) outside |= ~((known >= 0x1p-90f) & (known <= 0x1p90f));
      store<C>(factor_ + i, factor);
      if constexpr (S == Statistic::kLayer) {
        const V<C> centre = load<C>(centre_ + i), whole = centre + mean;
        if constexpr (sizeof(C) == sizeof(float))
          outside |= ~((whole >= -0x1p60f) & (whole <= 0x1p60f));
        // What the rounded mean lacks.
        store<C>(rest_ + i, ((whole - centre) - mean) * factor);
        store<C>(sum_ + i, whole);
      }
    }
    misled_ = any(misled);
    return !any(outside);
  }

  template <class Mask>
  static bool any(Mask mask) {
    for (int k = 0; k < kLanes<C>; ++k)
      if (mask[k]) return true;
    return false;
  }

  template <Bending B>
  ONNXNORM_INLINE void apply_row(const T* x, const T* residual, T* y, V<C> scale, V<C> bias,
                                 const Bend<C>& bend) const {
    for (int64_t slot = 0; slot < slots_; ++slot) {
      const int64_t at = column(slot);
      const V<C> factor = load<C>(factor_ + slot * step);
      V<C> value = load<C>(x + at);
      if constexpr (S == Statistic::kLayer)
        value = (value - load<C>(sum_ + slot * step)) * factor + load<C>(rest_ + slot * step);
      else
        value = value * factor;
      value = value * scale + bias;
      if (residual != nullptr) value += load<C>(residual + at);
      if constexpr (B == Bending::kAny) store<C>(staged_ + slot * step, value);
      else store<C>(y + at, bent<B, C>(value));
    }
    if constexpr (B == Bending::kAny) {
      bend_all(staged_, slots_ * step, bend);
      for (int64_t slot = 0; slot < slots_; ++slot) store<C>(y + column(slot), load<C>(staged_ + slot * step));
    }
  }

  const NormProblem& p_;
  int64_t width_, stride_, slots_;
  C *centre_, *sum_, *squares_, *all_sum_, *all_squares_, *factor_, *rest_, *staged_;
  bool misled_ = false;
};

template <class T>
struct Tile {
  const T* x;
  const T* residual;
  T* y;
  int64_t width;
  int64_t stride;         // of x
  int64_t result_stride;  // of the others
};

// One block. The result of a block in float that float has no room for is computed again in double.
template <class T, class C, Statistic S>
bool run_block(const NormProblem& p, const Tile<T>& b, const NormOperands& o, Scratch& scratch) {
  char* const mark = scratch.mark();
  ColumnBlock<T, C, S> block(p, b.width, b.stride, scratch);
  const bool inside = (sizeof(C) == sizeof(double) || !p.wide) && block.measure(b.x);
  if (inside) {
    const Bend<C> bend = bend_of<C>(p);
    with_activation(p.activation, [&](auto chosen) {
      block.template apply<decltype(chosen)::value>(b.x, b.residual, b.y, b.result_stride, o.scale, o.bias, bend);
    });
  }
  scratch.release(mark);
  return inside;
}

// To rows of one vector, with their first column again and again behind them.
template <class T>
void copy_rows(const T* x, T* to, const NormProblem& p) {
  constexpr int64_t narrow = kLanes<float>;
  for (int64_t row = 0; row < p.length; ++row)
    for (int64_t k = 0; k < narrow; ++k) to[row * narrow + k] = x[row * p.inner + (k < p.inner ? k : 0)];
}

template <class T, class C, Statistic S>
bool run_columns(const NormProblem& p, const NormOperands& o, int64_t begin, int64_t end) {
  constexpr int64_t narrow = kLanes<float>;
  const int64_t most = larger(ceil_div(p.inner, p.blocks) + 32, narrow);
  // Rows shorter than a vector are copied to rows of one; rows a power of two apart, which would take each other's
  // places in the cache, to rows side by side.
  const bool is_narrow = p.inner < narrow;
  const bool is_copied = is_narrow || (p.inner * static_cast<int64_t>(sizeof(T)) % 4096 == 0 && p.length > 4);
  const int64_t copied = is_copied ? p.length * (most + narrow) : 0;
  Scratch scratch(ColumnBlock<T, C, S>::scratch(most) + (is_narrow ? 3 : 1) * Scratch::bytes<T>(copied));
  if (!scratch.ok()) return false;
  T *from = nullptr, *more = nullptr, *to = nullptr;
  if (is_copied) from = scratch.take<T>(copied);
  if (is_narrow) {
    more = scratch.take<T>(copied);
    to = scratch.take<T>(copied);
  }
  for (int64_t i = begin; i < end; ++i) {
    const int64_t first = p.block_begin(i % p.blocks);
    const int64_t at = i / p.blocks * p.length * p.inner + first;
    const T* const residual = static_cast<const T*>(o.residual);
    Tile<T> block{static_cast<const T*>(o.x) + at,        residual == nullptr ? nullptr : residual + at,
                   static_cast<T*>(o.y) + at,              p.block_begin(i % p.blocks + 1) - first,
                   p.inner,                                p.inner};
    T* const target = block.y;
    if (is_narrow) {
      copy_rows(block.x, from, p);
      if (residual != nullptr) copy_rows(block.residual, more, p);
      block = {from, residual == nullptr ? nullptr : more, to, narrow, narrow, narrow};
    } else if (is_copied) {
      block.stride = padded(block.width);
      for (int64_t row = 0; row < p.length; ++row)
        __builtin_memcpy(from + row * block.stride, block.x + row * p.inner,
                         static_cast<size_t>(block.width) * sizeof(T));
      block.x = from;
    }
    if (!run_block<T, C, S>(p, block, o, scratch)) {
      Scratch wide(ColumnBlock<T, double, S>::scratch(block.width));
      if (!wide.ok()) return false;
      run_block<T, double, S>(p, block, o, wide);
    }
    if (is_narrow)
      for (int64_t row = 0; row < p.length; ++row)
        __builtin_memcpy(target + row * p.inner, to + row * narrow, static_cast<size_t>(p.inner) * sizeof(T));
  }
  return true;
}

// The sums of squares of the columns of blocks [begin, end).
template <class T, class C>
bool norm_squares(const NormProblem& p, const NormOperands& o, int64_t begin, int64_t end) {
  const T* const x = static_cast<const T*>(o.x);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t outer = i / p.blocks, first = p.block_begin(i % p.blocks);
    const int64_t width = p.block_begin(i % p.blocks + 1) - first;
    const T* const from = x + outer * p.length * p.inner + first;
    Moments* const to = o.moments + outer * p.inner + first;
    for (int64_t k = 0; k < width; ++k) to[k] = {static_cast<double>(p.length), 0, 0};
    if (width < kLanes<float>) {
      for (int64_t row = 0; row < p.length; ++row)
        for (int64_t k = 0; k < width; ++k) {
          const double value = element<double>(from + row * p.inner + k);
          to[k].squares += value * value;
        }
      continue;
    }
    const auto take = [&](auto zero) {
      using Columns = ColumnBlock<T, decltype(zero), Statistic::kL2>;
      Scratch scratch(Columns::scratch(width));
      if (!scratch.ok()) return -1;
      Columns block(p, width, p.inner, scratch);
      if (!block.measure(from)) return 0;
      for (int64_t k = 0; k < width; ++k) to[k].squares = block.squares(k);
      return 1;
    };
    int done = take(C{});
    if (done == 0) done = take(double{});
    if (done < 0) return false;
  }
  return true;
}

// Blocks [begin, end) of all that is outside of them.
template <class T, class C>
bool norm_columns(const NormProblem& p, const NormOperands& o, int64_t begin, int64_t end) {
  switch (p.statistic) {
    case Statistic::kLayer: return run_columns<T, C, Statistic::kLayer>(p, o, begin, end);
    case Statistic::kRms: return run_columns<T, C, Statistic::kRms>(p, o, begin, end);
    case Statistic::kL1: return run_columns<T, C, Statistic::kL1>(p, o, begin, end);
    case Statistic::kL2: return run_columns<T, C, Statistic::kL2>(p, o, begin, end);
    case Statistic::kNone: break;
  }
  return true;
}

}  // namespace onnxnorm::ONNXNORM_TARGET
