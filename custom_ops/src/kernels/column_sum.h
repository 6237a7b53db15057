// Sums along rows over a sliding window of n columns, n below kWideColumns: of shifted loads, from eight columns on of
// sums over four of them.
//
// Several rows are taken at once, each step over all of them: what one step has stored has left the store buffer when
// the next one loads it at other offsets (a load that spans two stores in flight waits for both).
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

inline constexpr int64_t kWideColumns = 11;  // the narrowest window that wide_column_sum.h is faster for

// One row, n columns of it at a time: shifted loads. kTerms is n, or 0 where n is known only here.
template <class C, int kTerms>
struct DirectSums {
  const C* row;
  int n;

  DirectSums(const C* from, int64_t columns) : row(from), n(kTerms > 0 ? kTerms : static_cast<int>(columns)) {}

  ONNXNORM_INLINE void start(int64_t) {}
  ONNXNORM_INLINE V<C> next(int64_t column) {
    const C* const from = row + column;
    // In two chains and from the narrowest sums on, for less rounding.
    V<C> even = load<C>(from + n - 1);
    V<C> odd = load<C>(from + n - 2);
    ONNXNORM_UNROLL for (int t = n - 3; t > 0; t -= 2) {
      even += load<C>(from + t);
      odd += load<C>(from + t - 1);
    }
    if (n % 2 != 0) even += load<C>(from);
    return even + odd;
  }
};

// The same of 8 to 11 columns: two sums over four columns, the second one from those of this vector and the next, which
// are carried on; then single columns.
template <class C>
struct EightSums {
  static constexpr int64_t step = kLanes<C>;

  const C* row;
  int singles;
  V<C> four{};  // of the vector to come

  EightSums(const C* from, int64_t n) : row(from), singles(static_cast<int>(n - 8)) {}

  // Before `next` at a column that does not follow the one before.
  ONNXNORM_INLINE void start(int64_t column) { four = four_at(row + column); }

  ONNXNORM_INLINE V<C> next(int64_t column) {
    const V<C> following = four_at(row + column + step);
    V<C> sum = four;
    if constexpr (step == 4) sum += following;
    else sum += joined<4>(four, following);
    for (int i = 0; i < singles; ++i) sum += load<C>(row + column + 8 + i);
    four = following;
    return sum;
  }

 private:
  static ONNXNORM_INLINE V<C> four_at(const C* from) {
    return (load<C>(from) + load<C>(from + 1)) + (load<C>(from + 2) + load<C>(from + 3));
  }
};

template <class C>
class ColumnSums {
 public:
  // For up to `most_length` sums over n columns each. Takes nothing where the window is wide.
  ColumnSums(int64_t most_length, int64_t n, Scratch& scratch) : n_(n) {
    if (n >= kWideColumns) return;
    buffer_ = buffer_elements(most_length, n);
    rows_ = scratch.take<C>(buffer_);
  }

  // For sums at these columns, at least one vector of them, of rows of which the first `outside` columns are not in the
  // tensor and stay zero.
  void prepare(Span columns, int64_t outside) {
    if (columns.begin == columns_.begin && columns.end == columns_.end) return;
    columns_ = columns;
    length_ = columns.size();
    inside_ = outside;
    lead_ = padded(outside) - outside;  // the columns of the tensor begin at a whole vector
    stride_ = stride(length_, n_);
    most_rows_ = larger(buffer_ / stride_ / kGroup, 1) * kGroup;
    __builtin_memset(rows_, 0, static_cast<size_t>(buffer_) * sizeof(C));
  }

  static size_t scratch(int64_t length, int64_t n) {
    return n >= kWideColumns ? 0 : Scratch::bytes<C>(buffer_elements(length, n));
  }

  // Where the columns inside of the tensor of the rows to sum go; all else in their buffer is zero.
  StoreSums<C> sink(int64_t row) const { return {this->row(row) + inside_, stride_}; }
  int64_t length() const { return length_; }
  int64_t most_rows() const { return most_rows_; }  // a multiple of kGroup

  // Hands on row[i] + ... + row[i + n - 1] of the first `count` rows: N of them at a time to what
  // `receiver.rows<N>(first)` makes, until `receiver.done`.
  template <class Receiver>
  void sum(int64_t count, Receiver& receiver) const {
    if constexpr (kLanes<C> >= 4) {
      if (n_ >= 8) return add<EightSums<C>>(count, receiver);
    }
    switch (n_) {
      case 3: return add<DirectSums<C, 3>>(count, receiver);
      case 5: return add<DirectSums<C, 5>>(count, receiver);
      case 7: return add<DirectSums<C, 7>>(count, receiver);
      default: return add<DirectSums<C, 0>>(count, receiver);
    }
  }

 private:
  static constexpr int64_t kBufferBytes = 4096;

  static int64_t stride(int64_t length, int64_t n) { return padded(length + n + 3 * kLanes<float>); }
  static int64_t buffer_elements(int64_t length, int64_t n) {
    return larger(kBufferBytes / static_cast<int64_t>(sizeof(C)), kGroup * stride(length, n));
  }

  C* row(int64_t index) const { return rows_ + lead_ + index * stride_; }

  // Four rows at a time; those left over, where it can be, together with rows before them once more.
  template <class Sums, class Receiver>
  void add(int64_t count, Receiver& receiver) const {
    int64_t row = 0;
    for (; row + kGroup <= count; row += kGroup) add_rows<Sums, kGroup>(row, receiver);
    if (row < count && count >= kGroup) return add_rows<Sums, kGroup>(count - kGroup, receiver);
    for (; row < count; ++row) add_rows<Sums, 1>(row, receiver);
  }

  template <class Sums, int N, class Receiver>
  void add_rows(int64_t first, Receiver& receiver) const {
    Sums rows[kGroup] = {{row(first), n_}, {row(first + 1), n_}, {row(first + 2), n_}, {row(first + 3), n_}};
    const int64_t length = length_;
    auto sink = receiver.template rows<N>(first);
    constexpr int64_t step = kLanes<C>;
    for (int64_t column = 0; column < length; column += step) {
      // The last vector of a row overlaps the one before it.
      const int64_t x = column + step <= length ? column : length - step;
      if (column == 0 || x < column) {
        ONNXNORM_UNROLL for (int j = 0; j < N; ++j) rows[j].start(x);
      }
      Pack<C, N> sums;
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j) sums.v[j] = rows[j].next(x);
      sink.put(x, sums);
    }
    receiver.done(first, N, sink);
  }

  int64_t n_;
  int64_t buffer_ = 0;  // elements
  C* rows_ = nullptr;
  Span columns_{0, 0};
  int64_t length_ = 0;
  int64_t inside_ = 0;
  int64_t lead_ = 0;
  int64_t stride_ = 0;
  int64_t most_rows_ = 0;
};

}  // namespace onnxnorm::ONNXNORM_TARGET
