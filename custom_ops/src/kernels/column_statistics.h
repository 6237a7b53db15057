// Statistics of vectors whose elements lie apart: those of a block of columns, row by row.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

// A block of columns of one tensor and its result.
template <class T>
struct Tile {
  const T* x;
  const T* residual;
  T* y;
  int64_t width;
  int64_t stride;         // of x
  int64_t result_stride;  // of the others
  T* copy = nullptr;      // where rows of x are put side by side when they are first read; null where they are not
};

// What is known of a column lies in arrays with a slot for each vector; the last vector of a row may overlap the one
// before it, its slot does not. There is at least one vector of columns.
template <class C>
struct Columns {
  static constexpr int64_t step = kLanes<C>;

  Columns(int64_t width, Scratch& scratch) : width(width), slots(ceil_div(width, step)) {
    for (C** array : {&centre, &sum, &squares, &all_sum, &all_squares, &mean, &factor, &rest})
      *array = scratch.take<C>(slots * step);
  }

  static size_t scratch(int64_t width) { return 8 * Scratch::bytes<C>(ceil_div(width, step) * step); }

  ONNXNORM_INLINE int64_t column(int64_t slot) const { return smaller(slot * step, width - step); }

  int64_t width, slots;
  C *centre, *sum, *squares, *all_sum, *all_squares;
  C *mean, *factor, *rest;  // a result is (x - mean) * factor + rest
};

template <class T, class C, Statistic S>
class ColumnSums {
 public:
  ColumnSums(const NormProblem& p, const Columns<C>& columns) : p_(p), c_(columns) {}

  // False where numbers were met that C has no room for. What is copied of the tile is read from there later.
  bool measure(Tile<T>& tile) {
    if constexpr (S == Statistic::kLayer) first_centre(tile);
    for (int tries = 0;; ++tries) {
      add_all(tile);
      if (tile.copy != nullptr) {
        tile.x = tile.copy;
        tile.stride = padded(tile.width);
        tile.copy = nullptr;
      }
      const bool inside = finish();
      if (S != Statistic::kLayer || !misled_ || tries == 2) return inside || sizeof(C) == sizeof(double);
      // The sums are of differences from a number too far from the mean.
      for (int64_t i = 0; i < c_.slots * step; i += step)
        store<C>(c_.centre + i, load<C>(c_.centre + i) + load<C>(c_.all_sum + i) / count());
    }
  }

  // Of the column behind that many others.
  double squares(int64_t at) const {
    const int64_t slot = smaller(at / step, c_.slots - 1);
    return static_cast<double>(c_.all_squares[slot * step + at - c_.column(slot)]);
  }

 private:
  static constexpr int64_t step = kLanes<C>;
  static constexpr int64_t kSlab = 128;  // rows whose sums are taken by themselves, for less rounding

  C count() const { return static_cast<C>(p_.length); }

  void first_centre(const Tile<T>& tile) {
    const int64_t rows = smaller(p_.length, 8);
    const C each = C{1} / static_cast<C>(rows);
    for (int64_t slot = 0; slot < c_.slots; ++slot) {
      V<C> sum{};
      for (int64_t row = 0; row < rows; ++row) sum += load<C>(tile.x + row * tile.stride + c_.column(slot)) * each;
      store<C>(c_.centre + slot * step, sum);
    }
  }

  void add_all(const Tile<T>& tile) {
    const size_t bytes = static_cast<size_t>(c_.slots * step) * sizeof(C);
    const int64_t copied = padded(tile.width);
    __builtin_memset(c_.all_sum, 0, bytes);
    __builtin_memset(c_.all_squares, 0, bytes);
    for (int64_t first = 0; first < p_.length; first += kSlab) {
      const int64_t end = smaller(first + kSlab, p_.length);
      __builtin_memset(c_.sum, 0, bytes);
      __builtin_memset(c_.squares, 0, bytes);
      int64_t row = first;
      const auto copy = [&] { return tile.copy == nullptr ? nullptr : tile.copy + row * copied; };
      for (; row + 4 <= end; row += 4) add_rows<4>(tile.x + row * tile.stride, tile.stride, copy(), copied);
      for (; row < end; ++row) add_rows<1>(tile.x + row * tile.stride, tile.stride, copy(), copied);
      for (int64_t i = 0; i < c_.slots * step; i += step) {
        store<C>(c_.all_sum + i, load<C>(c_.all_sum + i) + load<C>(c_.sum + i));
        store<C>(c_.all_squares + i, load<C>(c_.all_squares + i) + load<C>(c_.squares + i));
      }
    }
  }

  template <int N>
  ONNXNORM_INLINE void add_rows(const T* x, int64_t stride, T* copy, int64_t copied) {
    constexpr int64_t per_line = larger(64 / static_cast<int64_t>(step * sizeof(T)), 1);
    for (int64_t slot = 0; slot < c_.slots; ++slot) {
      const int64_t column = c_.column(slot), at = slot * step;
      if (slot % per_line == 0) {  // the processor itself fetches along a row, not the rows that come next
        ONNXNORM_UNROLL for (int j = 0; j < N; ++j) fetch_to_read(x, column + (j + N) * stride);
      }
      V<C> value[N];
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j) value[j] = load<C>(x + column + j * stride);
      if (copy != nullptr) {
        ONNXNORM_UNROLL for (int j = 0; j < N; ++j)
          __builtin_memcpy(copy + column + j * copied, x + column + j * stride, step * sizeof(T));
      }
      if constexpr (S == Statistic::kLayer) {
        const V<C> centre = load<C>(c_.centre + at);
        ONNXNORM_UNROLL for (int j = 0; j < N; ++j) value[j] -= centre;
        store<C>(c_.sum + at, load<C>(c_.sum + at) + total<N>(value));
      }
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j)
        value[j] = S == Statistic::kL1 ? (value[j] < C{0} ? -value[j] : value[j]) : value[j] * value[j];
      store<C>(c_.squares + at, load<C>(c_.squares + at) + total<N>(value));
    }
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
    for (int64_t i = 0; i < c_.slots * step; i += step) {
      V<C> squares = load<C>(c_.all_squares + i), mean{}, factor;
      V<C> known;  // must be well inside of the range
      if constexpr (S == Statistic::kLayer || S == Statistic::kRms) {
        squares = squares / count();
        if constexpr (S == Statistic::kLayer) {
          mean = load<C>(c_.all_sum + i) / count();
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
      store<C>(c_.factor + i, factor);
      if constexpr (S == Statistic::kLayer) {
        const V<C> centre = load<C>(c_.centre + i), whole = centre + mean;
        if constexpr (sizeof(C) == sizeof(float))
          outside |= ~((whole >= -0x1p60f) & (whole <= 0x1p60f));
        // What the rounded mean lacks.
        store<C>(c_.rest + i, ((whole - centre) - mean) * factor);
        store<C>(c_.mean + i, whole);
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

  const NormProblem& p_;
  const Columns<C>& c_;
  bool misled_ = false;
};

}  // namespace onnxnorm::ONNXNORM_TARGET
