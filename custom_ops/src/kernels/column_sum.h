// Sums along rows over a sliding window of n columns, n below kWideColumns: of shifted loads, or of sums over four
// columns as many as fit and single columns for the rest.
//
// Several rows are taken at once, each step over all of them: what one step has stored has left the store buffer when
// the next one loads it at other offsets (a load that spans two stores in flight waits for both).
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

inline constexpr int64_t kWideColumns = 16;  // the narrowest window that wide_column_sum.h is faster for

template <class C>
class ColumnSums {
 public:
  // For up to `most_length` sums over n columns each. Takes nothing where the window is wide.
  ColumnSums(int64_t most_length, int64_t n, Scratch& scratch) : n_(n), fours_(n > kDirectColumns) {
    if (n >= kWideColumns) return;
    bytes_ = ColumnSums::scratch(most_length, n);
    rows_ = reinterpret_cast<C*>(scratch.take<char>(static_cast<int64_t>(bytes_)));
    buffer_ = buffer_elements(most_length, n);
    for (int64_t start = 0; start < n; ++terms_) {
      const bool four = fours_ && start + 4 <= n;
      of_four_[terms_] = four;
      start_[terms_] = start;
      start += four ? 4 : 1;
    }
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
    __builtin_memset(rows_, 0, bytes_);
  }

  static size_t scratch(int64_t length, int64_t n) {
    if (n >= kWideColumns) return 0;
    return (n > kDirectColumns ? 2 : 1) * Scratch::bytes<C>(buffer_elements(length, n));
  }

  // Where the columns inside of the tensor of the rows to sum go; all else in their buffer is zero.
  StoreSums<C> sink(int64_t row) const { return {rows(false) + row * stride_ + inside_, stride_}; }
  int64_t length() const { return length_; }
  int64_t most_rows() const { return most_rows_; }  // a multiple of kGroup

  // Hands on row[i] + ... + row[i + n - 1] of the first `count` rows: N of them at a time to what
  // `receiver.rows<N>(first)` makes, until `receiver.done`.
  template <class Receiver>
  void sum(int64_t count, Receiver& receiver) const {
    if (fours_) sum_fours(count);
    switch (terms_) {
      case 3: return add<3>(count, receiver);
      case 5: return add<5>(count, receiver);
      case 7: return add<7>(count, receiver);
      default: return add<0>(count, receiver);
    }
  }

 private:
  static constexpr int64_t kDirectColumns = 7;  // the widest window that is summed term by term
  static constexpr int kMostTerms = 7;
  static constexpr int64_t kBufferBytes = 4096;

  static int64_t stride(int64_t length, int64_t n) { return padded(length + n + 3 * kLanes<float>); }
  static int64_t buffer_elements(int64_t length, int64_t n) {
    return larger(kBufferBytes / static_cast<int64_t>(sizeof(C)), kGroup * stride(length, n));
  }

  // The rows themselves, or the sums over four of their columns.
  C* rows(bool of_four) const { return rows_ + lead_ + (of_four ? buffer_ : 0); }

  void sum_fours(int64_t count) const {
    const C* from = rows(false);
    C* to = rows(true);
    for (int64_t row = 0; row < count; ++row, from += stride_, to += stride_) {
      const C* const shifted[kGroup] = {from, from + 1, from + 2, from + 3};
      sum_four<C, false>(shifted, padded(length_ + n_ - 4), to);
    }
  }

  template <int kTerms, class Receiver>
  void add(int64_t count, Receiver& receiver) const {
    int64_t row = 0;
    for (; row + kGroup <= count; row += kGroup) add_rows<kTerms, kGroup>(row, receiver);
    for (; row < count; ++row) add_rows<kTerms, 1>(row, receiver);
  }

  template <int kTerms, int N, class Receiver>
  void add_rows(int64_t row, Receiver& receiver) const {
    const int count = kTerms > 0 ? kTerms : terms_;
    const C* terms[kTerms > 0 ? kTerms : kMostTerms];
    for (int t = 0; t < count; ++t) terms[t] = rows(of_four_[t]) + row * stride_ + start_[t];
    const int64_t length = length_;
    const int64_t stride = stride_;
    auto sink = receiver.template rows<N>(row);
    constexpr int64_t step = kLanes<C>;
    for (int64_t column = 0; column < length; column += step) {
      // The last vector of a row overlaps the one before it.
      const int64_t x = column + step <= length ? column : length - step;
      Pack<C, N> sums;
      ONNXNORM_UNROLL for (int j = 0; j < N; ++j) {
        const int64_t i = j * stride + x;
        // In two chains and from the narrowest sums on, for less rounding.
        V<C> even = load<C>(terms[count - 1] + i);
        V<C> odd = load<C>(terms[count - 2] + i);
        ONNXNORM_UNROLL for (int t = count - 3; t > 0; t -= 2) {
          even += load<C>(terms[t] + i);
          odd += load<C>(terms[t - 1] + i);
        }
        if (count % 2 != 0) even += load<C>(terms[0] + i);
        sums.v[j] = even + odd;
      }
      sink.put(x, sums);
    }
    receiver.done(row, N, sink);
  }

  int64_t n_;
  bool fours_;
  size_t bytes_ = 0;
  int64_t buffer_ = 0;  // elements
  C* rows_ = nullptr;
  Span columns_{0, 0};
  int64_t length_ = 0;
  int64_t inside_ = 0;
  int64_t lead_ = 0;
  int64_t stride_ = 0;
  int64_t most_rows_ = 0;
  int terms_ = 0;
  bool of_four_[kMostTerms];
  int64_t start_[kMostTerms];
};

}  // namespace onnxnorm::ONNXNORM_TARGET
