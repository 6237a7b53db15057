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

struct Unit {
  int64_t volume;
  Span z, rows, columns;
};

inline Unit unit_at(const LrnProblem& p, int64_t index) {
  Span span[3];
  for (int axis = 2; axis >= 0; --axis) {
    const int64_t begin = index % p.blocks[axis] * p.block[axis];
    span[axis] = {begin, smaller(begin + p.block[axis], p.size[axis])};
    index /= p.blocks[axis];
  }
  return {index, span[0], span[1], span[2]};
}

// The unit in double, for bases that float has no room for.
template <class T>
bool run_wide(const LrnProblem& p, const T* x, T* y, const Unit& unit) {
  using Wide = Block<T, double, Power::kGeneral>;
  Scratch scratch(Wide::scratch(p));
  if (!scratch.ok()) return false;
  Wide(p, scratch).run(x, y, unit.z, unit.rows, unit.columns);
  return true;
}

template <class T, class C, Power P>
bool run_units(const LrnProblem& p, const T* x, T* y, int64_t begin, int64_t end) {
  Scratch scratch(Block<T, C, P>::scratch(p));
  if (!scratch.ok()) return false;
  Block<T, C, P> block(p, scratch);
  for (int64_t i = begin; i < end; ++i) {
    const Unit unit = unit_at(p, i);
    const int64_t at = unit.volume * p.size[0] * p.size[1] * p.size[2];
    const bool inside = (!p.wide || sizeof(C) == sizeof(double)) &&
                        block.run(x + at, y + at, unit.z, unit.rows, unit.columns);
    if (!inside && !run_wide(p, x + at, y + at, unit)) return false;
  }
  return true;
}

// Rows shorter than one vector: the unit is copied to rows of one vector, whose further columns are zero like all that
// lies outside of the tensor.
template <class T, class C, Power P>
bool run_narrow_units(const LrnProblem& p, const T* x, T* y, int64_t begin, int64_t end) {
  constexpr int64_t width = kLanes<float>;
  LrnProblem wider = p;
  wider.size[2] = wider.block[2] = width;
  for (int64_t i = begin; i < end; ++i) {
    const Unit unit = unit_at(p, i);
    const int64_t narrow = p.size[2];
    const Span met_z{larger(unit.z.begin - p.reach[0].back, 0), smaller(unit.z.end + p.reach[0].ahead, p.size[0])};
    const Span met{larger(unit.rows.begin - p.reach[1].back, 0), smaller(unit.rows.end + p.reach[1].ahead, p.size[1])};
    const int64_t rows = met_z.size() * met.size();
    Scratch scratch(Scratch::bytes<T>(2 * rows * width));
    if (!scratch.ok()) return false;
    T* const from = scratch.take_zeros<T>(2 * rows * width);
    T* const to = from + rows * width;
    const auto offset = [&](int64_t z, int64_t row) {
      return ((unit.volume * p.size[0] + z) * p.size[1] + row) * narrow;
    };
    for (int64_t z = met_z.begin, at = 0; z < met_z.end; ++z)
      for (int64_t row = met.begin; row < met.end; ++row, at += width)
        __builtin_memcpy(from + at, x + offset(z, row), static_cast<size_t>(narrow) * sizeof(T));
    wider.volumes = 1;
    wider.size[0] = met_z.size();
    wider.size[1] = met.size();
    const Unit inner{0,
                     {unit.z.begin - met_z.begin, unit.z.end - met_z.begin},
                     {unit.rows.begin - met.begin, unit.rows.end - met.begin},
                     {0, width}};
    Scratch work(Block<T, C, P>::scratch(wider));
    if (!work.ok()) return false;
    const bool inside = (!p.wide || sizeof(C) == sizeof(double)) &&
                        Block<T, C, P>(wider, work).run(from, to, inner.z, inner.rows, inner.columns);
    if (!inside && !run_wide(wider, from, to, inner)) return false;
    for (int64_t z = unit.z.begin; z < unit.z.end; ++z)
      for (int64_t row = unit.rows.begin; row < unit.rows.end; ++row)
        __builtin_memcpy(y + offset(z, row), to + ((z - met_z.begin) * met.size() + row - met.begin) * width,
                         static_cast<size_t>(narrow) * sizeof(T));
  }
  return true;
}

template <class T, class C, Power P>
bool run(const LrnProblem& p, const T* x, T* y, int64_t begin, int64_t end) {
  return p.size[2] < kLanes<float> ? run_narrow_units<T, C, P>(p, x, y, begin, end)
                                   : run_units<T, C, P>(p, x, y, begin, end);
}

template <class T, class C>
bool lrn(const LrnProblem& p, const void* from, void* to, int64_t begin, int64_t end) {
  const T* const x = static_cast<const T*>(from);
  T* const y = static_cast<T*>(to);
  if constexpr (sizeof(T) == sizeof(float)) {
    if (p.power == Power::kThreeQuarters) return run<T, C, Power::kThreeQuarters>(p, x, y, begin, end);
  }
  return run<T, C, Power::kGeneral>(p, x, y, begin, end);
}

}  // namespace onnxnorm::ONNXNORM_TARGET
