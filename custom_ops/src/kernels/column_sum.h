// Sums along a row over a sliding window of n columns, without a subtraction: sums of 4, 16, 64 ... columns by doubling
// twice at a time, and of each as many as the digits of n to the base 4 say.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

template <class C>
class ColumnSums {
 public:
  // For `length` sums over n columns each, of rows that hold length + n - 1 columns.
  ColumnSums(int64_t length, int64_t n, Scratch& scratch) : length_(length), n_(n), stride_(row(length, n)) {
    const int levels = level_count(n);
    C* const buffers = scratch.take_zeros<C>(levels * stride_);
    int64_t span = 1;
    for (; level_ < levels; ++level_, span *= 4) buffers_[level_] = buffers + level_ * stride_;
    for (int64_t start = 0; start < n; start += span) {
      while (span > n - start) span /= 4, --level_;
      from_[terms_] = level_;
      start_[terms_++] = start;
    }
    level_ = levels;
  }

  // How long a buffer must be whose row is summed: reads go past the end of the row.
  static int64_t row(int64_t length, int64_t n) { return padded(length + n + 2 * kLanes<float>); }
  static size_t scratch(int64_t length, int64_t n) { return Scratch::bytes<C>(level_count(n) * row(length, n)); }

  // out[i] = row[i] + ... + row[i + n - 1]; rounds the length up to whole vectors.
  void sum(const C* row, C* out) const {
    int64_t span = 1;
    const C* narrower = row;
    for (int l = 0; l < level_; ++l, span *= 4) {
      quadruple(narrower, span, buffers_[l]);
      narrower = buffers_[l];
    }
    const C* terms[kMostTerms];
    for (int t = 0; t < terms_; ++t) terms[t] = (from_[t] == 0 ? row : buffers_[from_[t] - 1]) + start_[t];
    switch (terms_) {
      case 2: return add<2>(terms, out);
      case 3: return add<3>(terms, out);
      case 4: return add<4>(terms, out);
      case 5: return add<5>(terms, out);
      case 6: return add<6>(terms, out);
      case 7: return add<7>(terms, out);
      default: return add<0>(terms, out);
    }
  }

 private:
  static constexpr int64_t kDirectColumns = 7;  // the widest window that is summed term by term
  static constexpr int kMostTerms = 3 * 32;
  static constexpr int kMostLevels = 31;

  static int level_count(int64_t n) {
    int levels = 0;
    if (n > kDirectColumns)
      for (int64_t span = 4; span < n; span *= 4) ++levels;  // at least two terms are left
    return levels;
  }

  void quadruple(const C* from, int64_t span, C* to) const {
    const int64_t count = length_ + n_ - 4 * span;
    for (int64_t i = 0; i < count; i += kLanes<C>) {
      const V<C> first = load<C>(from + i) + load<C>(from + i + span);
      const V<C> last = load<C>(from + i + 2 * span) + load<C>(from + i + 3 * span);
      store<C>(to + i, first + last);
    }
  }

  template <int kTerms>
  void add(const C* const* terms, C* out) const {
    const int count = kTerms > 0 ? kTerms : terms_;
    for (int64_t i = 0; i < length_; i += kLanes<C>) {
      // In two chains and from the narrowest sums on, for less rounding.
      V<C> even = load<C>(terms[count - 1] + i);
      V<C> odd = load<C>(terms[count - 2] + i);
      for (int t = count - 3; t > 0; t -= 2) {
        even += load<C>(terms[t] + i);
        odd += load<C>(terms[t - 1] + i);
      }
      if (count % 2 != 0) even += load<C>(terms[0] + i);
      store<C>(out + i, even + odd);
    }
  }

  int64_t length_;
  int64_t n_;
  int64_t stride_;
  int level_ = 0;
  int terms_ = 0;
  C* buffers_[kMostLevels];
  int from_[kMostTerms];        // 0: the row itself; l: the sums of 4^l
  int64_t start_[kMostTerms];
};

}  // namespace onnxnorm::ONNXNORM_TARGET
