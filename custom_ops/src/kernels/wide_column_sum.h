// Sums along rows over a wide window: the sums of window_sum.h once more, over columns in the place of rows.
//
// Four rows lie transposed in blocks of four columns: column 4 b + i of row r is element 4 b + r of line i. So the
// columns of four rows are vectors, and the groups of four columns that window_sum.h sums first are the sums of four
// lines.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

// Stores four rows so transposed, or what is transposed so as four rows: the way there is the way back.
template <class C>
struct StoreTransposed {
  static constexpr bool kOnlyAsked = false;
  C* lines;
  int64_t stride;
  C* fours;  // where the sums of the lines go, or null

  ONNXNORM_INLINE StoreTransposed sink(int64_t) const { return *this; }
  ONNXNORM_INLINE void done(int64_t, int, const StoreTransposed&) const {}
  ONNXNORM_INLINE void put(int64_t column, const Pack<C, kGroup>& rows) {
    if constexpr (kLanes<C> < 4) {
      put_elements(column, rows);
    } else if (column % 4 == 0) {
      put_blocks(column, rows);
    } else {
      put_last(column, rows);
    }
  }

 private:
  ONNXNORM_INLINE void put_blocks(int64_t column, const Pack<C, kGroup>& rows) {
    const V<C> low01 = blockwise<0, 4, 1, 5>(rows.v[0], rows.v[1]);
    const V<C> low23 = blockwise<0, 4, 1, 5>(rows.v[2], rows.v[3]);
    const V<C> high01 = blockwise<2, 6, 3, 7>(rows.v[0], rows.v[1]);
    const V<C> high23 = blockwise<2, 6, 3, 7>(rows.v[2], rows.v[3]);
    const V<C> line0 = blockwise<0, 1, 4, 5>(low01, low23);
    const V<C> line1 = blockwise<2, 3, 6, 7>(low01, low23);
    const V<C> line2 = blockwise<0, 1, 4, 5>(high01, high23);
    const V<C> line3 = blockwise<2, 3, 6, 7>(high01, high23);
    C* const to = lines + column;
    store<C>(to, line0);
    store<C>(to + stride, line1);
    store<C>(to + 2 * stride, line2);
    store<C>(to + 3 * stride, line3);
    if (fours != nullptr) store<C>(fours + column, (line0 + line1) + (line2 + line3));
  }

  // The last vectors of rows that are no whole number of blocks: moved on to the next block, with zeros behind them.
  __attribute__((noinline)) void put_last(int64_t column, const Pack<C, kGroup>& rows) {
    constexpr int64_t n = kLanes<C>;
    C moved[kGroup][2 * n];
    Pack<C, kGroup> whole;
    const int64_t next = (column + 3) / 4 * 4;
    for (int r = 0; r < kGroup; ++r) {
      store<C>(moved[r], rows.v[r]);
      store<C>(moved[r] + n, V<C>{});
      whole.v[r] = load<C>(moved[r] + next - column);
    }
    put_blocks(next, whole);
  }

  // Vectors too short for a block.
  void put_elements(int64_t column, const Pack<C, kGroup>& rows) {
    for (int64_t at = column; at < column + kLanes<C>; ++at) {
      C* const to = lines + at % 4 * stride + at / 4 * 4;
      for (int r = 0; r < kGroup; ++r) to[r] = rows.v[r][at - column];
    }
  }
};

template <class C>
class WideColumnSums {
 public:
  // For up to `most_length` sums over n columns each. Takes nothing where the window is not wide.
  WideColumnSums(int64_t most_length, int64_t n, Scratch& scratch) : n_(n), blocks_((n - 3) / 4) {
    if (n < kWideColumns) return;
    size_ = size(most_length, n);
    lines_ = scratch.take_zeros<C>(kGroup * size_);
    fours_ = scratch.take_zeros<C>(size_);
    sums_ = scratch.take<C>(kGroup * size_);
    common_ = scratch.take<C>(size_);
    for (int level = 1; level <= level_count(n); ++level) levels_[level] = scratch.take<C>(size_);
  }

  static size_t scratch(int64_t length, int64_t n) {
    if (n < kWideColumns) return 0;
    const int64_t line = size(length, n);
    return 2 * Scratch::bytes<C>(kGroup * line) + Scratch::bytes<C>(line) * static_cast<size_t>(2 + level_count(n));
  }

  // For sums at these columns, at least one vector of them, of rows of which the first `outside` columns are not in the
  // tensor and stay zero.
  void prepare(Span columns, int64_t outside) {
    if (columns.begin == columns_.begin && columns.end == columns_.end) return;
    if (columns_.end > 0) {
      __builtin_memset(lines_, 0, static_cast<size_t>(kGroup * size_) * sizeof(C));
      __builtin_memset(fours_, 0, static_cast<size_t>(size_) * sizeof(C));
    }
    columns_ = columns;
    inside_ = padded(outside + 4);
    const int64_t start = inside_ - outside;
    skip_ = (start + 3) % 4;  // windows begin at the second column of a block: their shared part then is whole blocks
    first_ = start - skip_ - 1;
  }

  int64_t most_rows() const { return kGroup; }
  int64_t length() const { return columns_.size(); }
  // Where the columns inside of the tensor of four rows go.
  StoreTransposed<C> sink(int64_t) const { return {lines_ + inside_, size_, fours_ + inside_}; }

  // Hands on the sums of the first `count` rows, as `ColumnSums` does.
  template <class Receiver>
  void sum(int64_t count, Receiver& receiver) const {
    sum_columns();
    if (count == kGroup) return divide<kGroup>(0, receiver);
    for (int64_t row = 0; row < count; ++row) divide<1>(row, receiver);
  }

 private:
  // Room for a window at every column, and for reads of whole vectors past them.
  static int64_t size(int64_t length, int64_t n) { return padded(length + n + 6 * kLanes<float>); }
  static int level_count(int64_t n) {
    int levels = 0;
    for (int64_t span = 4; span < (n - 3) / 4; span *= 4) ++levels;
    return levels;
  }

  void sum_columns() const {
    if constexpr (kLanes<C> < 4) {
      const C* const lines[kGroup] = {lines_, lines_ + size_, lines_ + 2 * size_, lines_ + 3 * size_};
      sum_four<C, false>(lines, size_, fours_);
    }
    const auto line = [this](int64_t column) { return lines_ + column % 4 * size_ + first_ + column / 4 * 4; };
    GroupRows<C, C> group;
    for (int i = 0; i < kGroup - 1; ++i) {
      group.left[i] = line(1 + i);
      group.right[i] = line(1 + n_ + i);
    }
    const int64_t length = padded(skip_ + this->length());
    if (blocks_ > kDirect - 3) {
      sum_blocks(fours_ + first_ + 4, length);
      group.common = common_;
    } else {
      for (int64_t b = 1; b <= blocks_; ++b) group.shared[group.shared_count++] = fours_ + first_ + 4 * b;
    }
    for (int64_t i = 3 + 4 * blocks_; i < n_; ++i) group.shared[group.shared_count++] = line(1 + i);
    StoreTransposed<C> rows{sums_, size_, nullptr};
    sum_group<C, false, -1>(group, 0, kGroup, length, rows);
  }

  // The sums over the blocks that all windows of a group share: of 4, 16, 64 ... of them by doubling twice at a time,
  // and of each as many as the digits of their number to the base 4 say.
  void sum_blocks(const C* fours, int64_t length) const {
    const C* level[32] = {fours};
    int top = 0;
    int64_t span = 1;
    const int64_t all = length + 4 * blocks_;
    for (; 4 * span < blocks_; span *= 4, ++top) {
      const C* const from = level[top];
      const C* const shifted[kGroup] = {from, from + 4 * span, from + 8 * span, from + 12 * span};
      sum_four<C, false>(shifted, all - 16 * span + padded(1), levels_[top + 1]);
      level[top + 1] = levels_[top + 1];
    }
    for (int64_t at = 0; at < length; at += kLanes<C>) {
      V<C> sum{};
      int64_t block = 0;
      int64_t width = span;
      for (int l = top; l >= 0; --l, width /= 4)
        for (; block + width <= blocks_; block += width) sum += load<C>(level[l] + 4 * block + at);
      store<C>(common_ + at, sum);
    }
  }

  template <int N, class Receiver>
  void divide(int64_t row, Receiver& receiver) const {
    const C* const from = sums_ + row * size_ + skip_;
    auto sink = receiver.template rows<N>(row);
    constexpr int64_t step = kLanes<C>;
    for (int64_t column = 0; column < length(); column += step) {
      const int64_t x = column + step <= length() ? column : length() - step;
      Pack<C, N> sums;
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j) sums.v[j] = load<C>(from + j * size_ + x);
      sink.put(x, sums);
    }
    receiver.done(row, N, sink);
  }

  int64_t n_;
  int64_t blocks_;  // of four columns, shared by the four windows that begin in one block
  int64_t size_ = 0;  // of a line
  C* lines_ = nullptr;
  C* fours_ = nullptr;  // the sums of the lines: over the four columns of a block
  C* sums_ = nullptr;
  C* common_ = nullptr;
  C* levels_[32] = {};
  Span columns_{0, 0};
  int64_t inside_ = 0;
  int64_t skip_ = 0;
  int64_t first_ = 0;
};

}  // namespace onnxnorm::ONNXNORM_TARGET
