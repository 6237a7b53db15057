// Normalization of vectors whose elements lie apart, over the channels of (N, C, pixels) above all: block by block of
// columns, row by row in each, while the block is in the second-level cache.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

// N rows of the result, beside each other, so that what is known of the columns is loaded once for all of them.
template <class T, class C, Bending B, bool kCentred, int N>
ONNXNORM_INLINE void apply_rows(const Tile<T>& tile, const Columns<C>& c, int64_t row, const V<C> (&scale)[N],
                                const V<C> (&bias)[N], const Bend<C>& bend) {
  constexpr int64_t step = kLanes<C>;
  constexpr int64_t per_line = larger(64 / static_cast<int64_t>(step * sizeof(T)), 1);
  const T* const x = tile.x + row * tile.stride;
  const T* const residual = tile.residual == nullptr ? nullptr : tile.residual + row * tile.result_stride;
  T* const y = tile.y + row * tile.result_stride;
  for (int64_t slot = 0; slot < c.slots; ++slot) {
    const int64_t column = c.column(slot), at = slot * step;
    if (slot % per_line == 0) {
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j) fetch_to_write(y, column + (j + N) * tile.result_stride);
    }
    const V<C> factor = load<C>(c.factor + at);
    V<C> mean{}, rest{};
    if constexpr (kCentred) {
      mean = load<C>(c.mean + at);
      rest = load<C>(c.rest + at);
    }
    ONNXNORM_UNROLL for (int j = 0; j < N; ++j) {
      V<C> value = load<C>(x + column + j * tile.stride);
      if constexpr (kCentred) value = (value - mean) * factor + rest;
      else value = value * factor;
      value = value * scale[j] + bias[j];
      if (residual != nullptr) value += load<C>(residual + column + j * tile.result_stride);
      if constexpr (B == Bending::kAny) store<C>(c.sum + at, value);
      else store<C>(y + column + j * tile.result_stride, bent<B, C>(value));
    }
  }
  if constexpr (B == Bending::kAny) {
    static_assert(N == 1);
    bend_all(c.sum, c.slots * step, bend);
    for (int64_t slot = 0; slot < c.slots; ++slot) store<C>(y + c.column(slot), load<C>(c.sum + slot * step));
  }
}

template <class T, class C, Bending B, bool kCentred>
void apply_block(const NormProblem& p, const Tile<T>& tile, const Columns<C>& c, const NormOperands& o) {
  const Bend<C> bend = bend_of<C>(p);
  int64_t row = 0;
  const auto run = [&](auto rows) ONNXNORM_INLINED {
    constexpr int N = decltype(rows)::value;
    for (; row + N <= p.length; row += N) {
      V<C> scale[N], bias[N];
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j) {
        const int64_t at = p.params == 1 ? 0 : row + j;
        scale[j] = broadcast(static_cast<C>(o.scale[at]));
        bias[j] = broadcast(static_cast<C>(o.bias[at]));
      }
      apply_rows<T, C, B, kCentred, N>(tile, c, row, scale, bias, bend);
    }
  };
  if constexpr (B != Bending::kAny) run(Number<4>{});
  run(Number<1>{});
}

// One block. The result of a block in float that float has no room for is computed again in double.
template <class T, class C, Statistic S>
bool run_block(const NormProblem& p, Tile<T>& tile, const NormOperands& o, Scratch& scratch) {
  char* const mark = scratch.mark();
  const Columns<C> columns(tile.width, scratch);
  ColumnSums<T, C, S> sums(p, columns);
  const bool inside = (sizeof(C) == sizeof(double) || !p.wide) && sums.measure(tile);
  if (inside)
    with_activation(p.activation, [&](auto chosen) {
      apply_block<T, C, decltype(chosen)::value, S == Statistic::kLayer>(p, tile, columns, o);
    });
  scratch.release(mark);
  return inside;
}

// A block in double, its result yet to be computed: what runs in double is there once for all types.
template <class T>
Tile<double> wide_tile(const NormProblem& p, const Tile<T>& tile, Scratch& scratch) {
  const int64_t width = padded(tile.width), elements = p.length * width;
  double* const x = scratch.take<double>(elements);
  double* const residual = tile.residual == nullptr ? nullptr : scratch.take<double>(elements);
  double* const y = tile.y == nullptr ? nullptr : scratch.take<double>(elements);
  copy_rows<double>(tile.x, tile.stride, x, width, p.length, tile.width);
  if (residual != nullptr)
    copy_rows<double>(tile.residual, tile.result_stride, residual, width, p.length, tile.width);
  return {x, residual, y, tile.width, width, width};
}

inline size_t wide_scratch(const NormProblem& p, int64_t width) {
  return Columns<double>::scratch(width) + 3 * Scratch::bytes<double>(p.length * padded(width));
}

// False where no memory was left.
template <class T, Statistic S>
bool run_wide_block(const NormProblem& p, const Tile<T>& tile, const NormOperands& o) {
  Scratch scratch(wide_scratch(p, tile.width));
  if (!scratch.ok()) return false;
  Tile<double> wide = wide_tile(p, tile, scratch);
  run_block<double, double, S>(p, wide, o, scratch);
  copy_rows<double>(wide.y, wide.stride, tile.y, tile.result_stride, p.length, tile.width);
  return true;
}

// To rows of one vector, with their first column again and again behind them.
template <class T>
void fill_rows(const T* x, T* to, const NormProblem& p) {
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
  Scratch scratch(Columns<C>::scratch(most) + (is_narrow ? 3 : 1) * Scratch::bytes<T>(copied));
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
      fill_rows(block.x, from, p);
      if (residual != nullptr) fill_rows(block.residual, more, p);
      block = {from, residual == nullptr ? nullptr : more, to, narrow, narrow, narrow};
    } else {
      block.copy = from;
    }
    const bool inside = run_block<T, C, S>(p, block, o, scratch);
    if constexpr (sizeof(C) == sizeof(float)) {
      if (!inside && !run_wide_block<T, S>(p, block, o)) return false;
    }
    if (is_narrow)
      for (int64_t row = 0; row < p.length; ++row)
        __builtin_memcpy(target + row * p.inner, to + row * narrow, static_cast<size_t>(p.inner) * sizeof(T));
  }
  return true;
}

// The sums of squares of the columns of a block; false where C has no room for them.
template <class T, class C>
bool squares_of(const NormProblem& p, Tile<T>& tile, Scratch& scratch, Moments* to) {
  const Columns<C> columns(tile.width, scratch);
  ColumnSums<T, C, Statistic::kL2> sums(p, columns);
  if (!sums.measure(tile)) return false;
  for (int64_t k = 0; k < tile.width; ++k) to[k].squares = sums.squares(k);
  return true;
}

// The same of blocks [begin, end).
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
    Tile<T> tile{from, nullptr, nullptr, width, p.inner, p.inner};
    Scratch scratch(Columns<C>::scratch(width));
    if (!scratch.ok()) return false;
    const bool inside = squares_of<T, C>(p, tile, scratch, to);
    if constexpr (sizeof(C) == sizeof(float)) {
      if (inside) continue;
      Scratch wide(wide_scratch(p, width));
      if (!wide.ok()) return false;
      Tile<double> copy = wide_tile(p, tile, wide);
      squares_of<double, double>(p, copy, wide, to);
    }
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
