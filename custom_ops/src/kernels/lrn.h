// Local response normalization over a box: the sums of squares axis by axis from the outside in, then the division, row
// by row, while the row is in the first-level cache.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

// One block of one volume, storage type T, computed in C.
template <class T, class C, Power P>
class Block {
 public:
  Block(const LrnProblem& p, Scratch& scratch)
      : p_(p),
        scratch_(scratch),
        constants_(constants_of(p)),
        column_sums_(p.block[2], p.reach[2].width(), scratch),
        wide_column_sums_(p.block[2], p.reach[2].width(), scratch) {
    zeros_ = scratch.take_zeros<T>(padded(slab(p)));
    if (!p.reach[0].trivial()) zero_sums_ = scratch.take_zeros<C>(padded(p.size[2]));
  }

  static size_t scratch(const LrnProblem& p) {
    const int64_t n[3] = {p.reach[0].width(), p.reach[1].width(), p.reach[2].width()};
    size_t bytes = Scratch::bytes<T>(padded(slab(p)));
    if (n[0] > 1) {
      bytes += Scratch::bytes<C>(padded(p.size[2])) + Scratch::bytes<C>(kGroup * padded(slab(p)));
      bytes += window_scratch<C>(n[0], p.block[0], slab(p));
    }
    bytes += ColumnSums<C>::scratch(p.block[2], n[2]) + WideColumnSums<C>::scratch(p.block[2], n[2]);
    return bytes + window_scratch<C>(n[1], p.block[1], p.block[2] + n[2]);
  }

  // False where a base was met that C has no room for.
  bool run(const T* x, T* y, Span z, Span rows, Span columns) {
    outside_ = false;
    const int64_t slice = p_.size[1] * p_.size[2];
    if (p_.reach[0].trivial()) {
      for (int64_t i = z.begin; i < z.end; ++i) {
        const Rows<T> source{x + i * slice, p_.size[2], 0, p_.size[1], zeros_};
        run_slice<true>(source, x + i * slice, y + i * slice, rows, columns);
      }
      return !outside_;
    }
    // All rows of a slice that the block meets, as one long row.
    const Span met{larger(rows.begin - p_.reach[1].back, 0), smaller(rows.end + p_.reach[1].ahead, p_.size[1])};
    const int64_t length = met.size() * p_.size[2];
    const Rows<T> slices{x + met.begin * p_.size[2], slice, 0, p_.size[0], zeros_};
    char* const mark = scratch_.mark();
    const int64_t stride = padded(length);
    SliceReceiver receiver{*this, scratch_.take<C>(kGroup * stride), stride, x, y, z, met, rows, columns};
    sum_windows<C, true>(slices, p_.reach[0].width(), z.begin - p_.reach[0].back, z.size(), length, scratch_, receiver);
    scratch_.release(mark);
    return !outside_;
  }

 private:
  // Sums over slices, which then are summed over rows and columns.
  struct SliceReceiver {
    static constexpr bool kOnlyAsked = false;
    Block& block;
    C* sums;
    int64_t stride;
    const T* x;
    T* y;
    Span z, met, rows, columns;

    StoreSums<C> sink(int64_t) const { return {sums, stride}; }
    void done(int64_t first, int count, const StoreSums<C>&) const {
      const int64_t width = block.p_.size[2];
      for (int j = 0; j < count; ++j) {
        const C* const slice = sums + j * stride - met.begin * width;
        const int64_t at = (z.begin + first + j) * block.p_.size[1] * width;
        block.template run_slice<false>(Rows<C>{slice, width, met.begin, met.end, block.zero_sums_}, x + at, y + at,
                                        rows, columns);
      }
    }
  };

  // Divides by sums, which are all there is to sum.
  struct RowDivider {
    static constexpr bool kOnlyAsked = true;
    Block& block;
    const T* x;
    T* y;
    int64_t columns;
    int64_t ahead = 0;  // elements from a row to the one to be fetched meanwhile

    template <int N>
    ONNXNORM_INLINE DivideRows<T, C, P, N> plain(int64_t first) const {
      const int64_t stride = block.p_.size[2];
      return {Divider<C, P>(block.constants_), x + first * stride, y + first * stride, stride};
    }
    ONNXNORM_INLINE DivideRows<T, C, P, kGroup> sink(int64_t first) const { return plain<kGroup>(first); }
    template <int N>
    ONNXNORM_INLINE DivideAndFetchRows<T, C, P, N> rows(int64_t first) const {
      return {plain<N>(first), ahead};
    }
    template <int N>
    ONNXNORM_INLINE void done(int64_t, int, const DivideRows<T, C, P, N>& sink) const {
      block.outside_ |= sink.divider.outside();
    }
    template <int N>
    ONNXNORM_INLINE void done(int64_t first, int count, const DivideAndFetchRows<T, C, P, N>& sink) const {
      done(first, count, sink.rows);
    }
    void rest(int64_t first, int count, const C* sums, int64_t stride) const {
      for (int j = 0; j < count; ++j, sums += stride) {
        DivideRows<T, C, P, 1> row = plain<1>(first + j);
        constexpr int64_t step = kLanes<C>;
        for (int64_t column = 0; column < columns; column += step) {
          const int64_t at = column + step <= columns ? column : columns - step;
          row.put(at, {{load<C>(sums + at)}});
        }
        done(first, count, row);
      }
    }
  };

  // Sums over rows, which then, some rows at a time, are summed over columns and divided by.
  template <class Columns>
  struct RowReceiver {
    static constexpr bool kOnlyAsked = false;
    Block& block;
    const Columns& columns;
    const T* x;
    T* y;
    int64_t held = 0;

    ONNXNORM_INLINE auto sink(int64_t) const { return columns.sink(held); }
    template <class Sink>
    ONNXNORM_INLINE void done(int64_t, int count, const Sink&) {
      held += count;
      if (held == columns.most_rows()) flush();
    }
    void flush() {
      const int64_t stride = block.p_.size[2];
      const int64_t ahead = (2 * columns.most_rows() + block.p_.reach[1].ahead) * stride;
      RowDivider receiver{block, x, y, columns.length(), ahead};
      columns.sum(held, receiver);
      x += held * stride;
      y += held * stride;
      held = 0;
    }
  };

  static Constants<C> constants_of(const LrnProblem& p) {
    double positions = 1;
    for (const Reach& reach : p.reach) positions *= static_cast<double>(reach.width());
    return {static_cast<C>(p.scale), static_cast<C>(p.bias), p.beta, p.power, float_range(p.scale * positions)};
  }

  // The longest row that is summed: one of the tensor, or all that a block meets in a slice.
  static int64_t slab(const LrnProblem& p) {
    if (p.reach[0].trivial()) return p.size[2];
    return smaller(p.block[1] + p.reach[1].width(), p.size[1]) * p.size[2];
  }

  template <bool kSquare, class S>
  void run_slice(Rows<S> source, const T* x, T* y, Span rows, Span columns) {
    char* const mark = scratch_.mark();
    const Span met{larger(columns.begin - p_.reach[2].back, 0), smaller(columns.end + p_.reach[2].ahead, p_.size[2])};
    source.base += met.begin;
    const int64_t first = rows.begin - p_.reach[1].back;
    const int64_t at = rows.begin * p_.size[2] + columns.begin;
    const int64_t n = p_.reach[2].width();
    if (n == 1) {
      RowDivider receiver{*this, x + at, y + at, columns.size()};
      sum_windows<C, kSquare>(source, p_.reach[1].width(), first, rows.size(), met.size(), scratch_, receiver);
    } else {
      if (n < kWideColumns)
        sum_slice<kSquare>(source, x + at, y + at, first, rows, columns, met, column_sums_);
      else sum_slice<kSquare>(source, x + at, y + at, first, rows, columns, met, wide_column_sums_);
    }
    scratch_.release(mark);
  }

  template <bool kSquare, class S, class Columns>
  void sum_slice(const Rows<S>& source, const T* x, T* y, int64_t first, Span rows, Span columns, Span met,
                 Columns& sums) {
    sums.prepare(columns, larger(p_.reach[2].back - columns.begin, 0));
    RowReceiver<Columns> receiver{*this, sums, x, y};
    sum_windows<C, kSquare>(source, p_.reach[1].width(), first, rows.size(), met.size(), scratch_, receiver);
    if (receiver.held > 0) receiver.flush();
  }

  const LrnProblem& p_;
  Scratch& scratch_;
  Constants<C> constants_;
  ColumnSums<C> column_sums_;
  WideColumnSums<C> wide_column_sums_;
  bool outside_ = false;
  const T* zeros_ = nullptr;
  const C* zero_sums_ = nullptr;
};

}  // namespace onnxnorm::ONNXNORM_TARGET
