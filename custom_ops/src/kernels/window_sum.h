// Sums of rows over a sliding window of n rows, at a cost per row that does not depend on n, and without a subtraction:
// what large values were once in a sum leaves no trace in the sums after them.
//
// Four outputs are made at once. From the rows a..a+n+2 that they meet,
//     S0 = (a + a+1 + a+2) + M                 with M = the rows that all four share, a+3 .. a+n-1
//     S1 =     (a+1 + a+2) + M + (a+n)
//     S2 =           (a+2) + M + (a+n + a+n+1)
//     S3 =                   M + (a+n + a+n+1 + a+n+2)
// with the partial sums on either side made once. M is summed directly for a narrow window; for a wide one, the whole
// groups of four rows in it are summed first, and their window sum is the same problem at a quarter of the size.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

inline constexpr int kGroup = 4;
inline constexpr int64_t kDirect = 12;  // the widest window whose shared rows are summed directly

// Rows at base + i * stride for i in [begin, end); every other row is zero.
template <class T>
struct Rows {
  const T* base;
  int64_t stride;
  int64_t begin;
  int64_t end;
  const T* zeros;
  const T* operator()(int64_t i) const { return i >= begin && i < end ? base + i * stride : zeros; }
};

// A receiver takes the sums, kGroup rows at a time: `sink(first, count)` is where vectors of the rows first .. first + 3
// go, of which `count` are asked for (and no other may be put where kOnlyAsked says so), and `done(first, count, sink)` is told when they are all there. A sink is a value
// that lives in registers meanwhile; its `put(j, column, sums)` takes one vector of row first + j.

// Stores the sums as rows.
template <class C>
struct StoreSums {
  C* rows;
  int64_t stride;
  ONNXNORM_INLINE void put(int j, int64_t column, V<C> sums) { store<C>(rows + j * stride + column, sums); }
};

template <class C>
struct Collector {
  static constexpr bool kOnlyAsked = false;
  C* rows;
  int64_t stride;
  StoreSums<C> sink(int64_t first, int) const { return {rows + first * stride, stride}; }
  void done(int64_t, int, const StoreSums<C>&) const {}
};

template <class C, bool kSquare, class T>
inline V<C> term(const T* row) {
  const V<C> v = load<C>(row);
  if constexpr (kSquare) return v * v;
  else return v;
}

template <class C, bool kSquare, class T>
inline V<C> plus(V<C> sum, const T* row) {
  const V<C> v = load<C>(row);
  if constexpr (kSquare) return v * v + sum;
  else return v + sum;
}

// The rows of one group, as in the header: `shared` are rows of M, `common` is a part of M that is summed already.
template <class C, class T>
struct GroupRows {
  const T* left[kGroup - 1];
  const T* right[kGroup - 1];
  const T* shared[kDirect];
  int shared_count = 0;
  const C* common = nullptr;
};

template <class C, bool kSquare, int kShared, class T, class Sink>
void sum_group(const GroupRows<C, T>& given, int64_t length, Sink& out) {
  const GroupRows<C, T> rows = given;
  Sink sink = out;
  const int shared_count = kShared >= 0 ? kShared : rows.shared_count;
  constexpr int64_t step = kLanes<C>;
  for (int64_t column = 0; column < length; column += step) {
    // The last vector of a row overlaps the one before it.
    const int64_t x = column + step <= length ? column : length - step;
    const V<C> left2 = term<C, kSquare>(rows.left[2] + x);
    const V<C> left1 = plus<C, kSquare>(left2, rows.left[1] + x);
    const V<C> left0 = plus<C, kSquare>(left1, rows.left[0] + x);
    // In two chains, and the large common part last, for less rounding.
    V<C> even{};
    V<C> odd{};
    int i = 0;
    for (; i + 1 < shared_count; i += 2) {
      even = plus<C, kSquare>(even, rows.shared[i] + x);
      odd = plus<C, kSquare>(odd, rows.shared[i + 1] + x);
    }
    if (i < shared_count) even = plus<C, kSquare>(even, rows.shared[i] + x);
    V<C> shared = even + odd;
    if constexpr (kShared < 0) {
      if (rows.common != nullptr) shared += load<C>(rows.common + x);
    }
    const V<C> right0 = term<C, kSquare>(rows.right[0] + x);
    const V<C> right1 = plus<C, kSquare>(right0, rows.right[1] + x);
    const V<C> right2 = plus<C, kSquare>(right1, rows.right[2] + x);
    sink.put(0, x, left0 + shared);
    sink.put(1, x, (left1 + shared) + right0);
    sink.put(2, x, (left2 + shared) + right1);
    sink.put(3, x, shared + right2);
  }
  out = sink;
}

// Of a group's rows only the first `count`.
template <class Sink>
struct FirstRows {
  Sink sink;
  int count;
  template <class Vec>
  ONNXNORM_INLINE void put(int j, int64_t column, Vec sums) {
    if (j < count) sink.put(j, column, sums);
  }
};

template <class C, bool kSquare, class T>
void sum_four(const T* const (&rows)[kGroup], int64_t length, C* out) {
  constexpr int64_t step = kLanes<C>;
  for (int64_t column = 0; column < length; column += step) {
    const int64_t x = column + step <= length ? column : length - step;
    const V<C> first = plus<C, kSquare>(term<C, kSquare>(rows[0] + x), rows[1] + x);
    const V<C> last = plus<C, kSquare>(term<C, kSquare>(rows[2] + x), rows[3] + x);
    store<C>(out + x, first + last);
  }
}

// Windows of one or two rows.
template <class C, bool kSquare, class T, class Sink>
void sum_narrow(int j, const T* first, const T* second, int64_t length, Sink& out) {
  Sink sink = out;
  constexpr int64_t step = kLanes<C>;
  for (int64_t column = 0; column < length; column += step) {
    const int64_t x = column + step <= length ? column : length - step;
    V<C> sum = term<C, kSquare>(first + x);
    if (second != nullptr) sum = plus<C, kSquare>(sum, second + x);
    sink.put(j, x, sum);
  }
  out = sink;
}

// The bytes that sum_windows takes from the scratch.
template <class C>
size_t window_scratch(int64_t n, int64_t outputs, int64_t length) {
  if (n <= kDirect) return 0;
  const int64_t groups = ceil_div(outputs, kGroup);
  const int64_t shared = n / kGroup - 1;
  const int64_t rows = padded(length);
  return Scratch::bytes<C>((groups + shared + kGroup) * rows) + Scratch::bytes<C>((groups + kGroup) * rows) +
         window_scratch<C>(shared, groups, length);
}

// Hands over, for k in [0, outputs), the sum of rows first + k .. first + k + n - 1. The length is at least one vector.
template <class C, bool kSquare, class T, class Receiver>
void sum_windows(const Rows<T>& rows, int64_t n, int64_t first, int64_t outputs, int64_t length, Scratch& scratch,
                 Receiver& receiver) {
  if (n <= 2) {
    for (int64_t k = 0; k < outputs; k += kGroup) {
      const int count = static_cast<int>(smaller(outputs - k, kGroup));
      auto sink = receiver.sink(k, count);
      for (int j = 0; j < count; ++j) {
        const int64_t row = first + k + j;
        sum_narrow<C, kSquare>(j, rows(row), n == 2 ? rows(row + 1) : nullptr, length, sink);
      }
      receiver.done(k, count, sink);
    }
    return;
  }
  char* const mark = scratch.mark();
  const int64_t stride = padded(length);
  const C* common = nullptr;
  int64_t summed = 0;  // rows of M, from a+4 on, that lie in summed groups
  if (n > kDirect) {
    const int64_t groups = ceil_div(outputs, kGroup);
    const int64_t shared = n / kGroup - 1;
    C* const sums = scratch.take<C>((groups + shared + kGroup) * stride);
    for (int64_t g = 0; g < groups + shared - 1; ++g) {
      const int64_t row = first + (g + 1) * kGroup;
      const T* const four[kGroup] = {rows(row), rows(row + 1), rows(row + 2), rows(row + 3)};
      sum_four<C, kSquare>(four, length, sums + g * stride);
    }
    C* const windows = scratch.take<C>((groups + kGroup) * stride);
    Collector<C> collector{windows, stride};
    // Rows past the end are met only for outputs that are not asked for: any row does.
    sum_windows<C, false>(Rows<C>{sums, stride, 0, groups + shared - 1, sums}, shared, 0, groups, length, scratch,
                          collector);
    common = windows;
    summed = shared * kGroup;
  }
  for (int64_t k = 0; k < outputs; k += kGroup) {
    const int64_t row = first + k;
    GroupRows<C, T> group;
    for (int i = 0; i < kGroup - 1; ++i) {
      group.left[i] = rows(row + i);
      group.right[i] = rows(row + n + i);
    }
    if (common != nullptr) {
      group.common = common + k / kGroup * stride;
      group.shared[group.shared_count++] = rows(row + 3);
      for (int64_t i = 4 + summed; i < n; ++i) group.shared[group.shared_count++] = rows(row + i);
    } else {
      for (int64_t i = 3; i < n; ++i) group.shared[group.shared_count++] = rows(row + i);
    }
    const int count = static_cast<int>(smaller(outputs - k, kGroup));
    auto sink = receiver.sink(k, count);
    if constexpr (Receiver::kOnlyAsked) {
      if (count < kGroup) {
        FirstRows<decltype(sink)> fewer{sink, count};
        sum_group<C, kSquare, -1>(group, length, fewer);
        receiver.done(k, count, fewer.sink);
        continue;
      }
    }
    switch (common == nullptr ? group.shared_count : -1) {
      case 0: sum_group<C, kSquare, 0>(group, length, sink); break;
      case 2: sum_group<C, kSquare, 2>(group, length, sink); break;
      default: sum_group<C, kSquare, -1>(group, length, sink); break;
    }
    receiver.done(k, count, sink);
  }
  scratch.release(mark);
}

}  // namespace onnxnorm::ONNXNORM_TARGET
