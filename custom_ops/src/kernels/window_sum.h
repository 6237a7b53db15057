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

// A receiver takes the sums, kGroup rows at a time. `sink(first)` is where those of the rows first .. first + 3 go: a
// value that lives in registers, whose `put(column, sums)` takes one vector of each row, until `done(first, count,
// sink)`. The last group may be asked for only `count` rows; where kOnlyAsked says that no other may be put, they are
// stored and handed over by `rest(first, count, sums, stride)`.

// Stores the sums as rows, also those not asked for.
template <class C>
struct StoreSums {
  static constexpr bool kOnlyAsked = false;
  C* rows;
  int64_t stride;

  ONNXNORM_INLINE StoreSums sink(int64_t first) const { return {rows + first * stride, stride}; }
  ONNXNORM_INLINE void put(int64_t column, const Pack<C, kGroup>& sums) {
    ONNXNORM_UNROLL for (int j = 0; j < kGroup; ++j) store<C>(rows + j * stride + column, sums.v[j]);
  }
  ONNXNORM_INLINE void done(int64_t, int, const StoreSums&) const {}
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

template <class C, bool kSquare, int kShared, class T, class Receiver>
void sum_group(const GroupRows<C, T>& given, int64_t first, int count, int64_t length, Receiver& receiver) {
  const GroupRows<C, T> rows = given;
  auto sink = receiver.sink(first);
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
    sink.put(x, {{left0 + shared, (left1 + right0) + shared, (left2 + right1) + shared, shared + right2}});
  }
  receiver.done(first, count, sink);
}

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

// Windows of one row, or of two where kPairs.
template <class C, bool kSquare, bool kPairs, class T, class Receiver>
void sum_narrow(const GroupRows<C, T>& given, int64_t first, int count, int64_t length, Receiver& receiver) {
  const T* const rows[kGroup + 1] = {given.left[0], given.left[1], given.left[2], given.right[0], given.right[1]};
  auto sink = receiver.sink(first);
  constexpr int64_t step = kLanes<C>;
  for (int64_t column = 0; column < length; column += step) {
    const int64_t x = column + step <= length ? column : length - step;
    Pack<C, kGroup> sums;
    ONNXNORM_UNROLL for (int j = 0; j < kGroup; ++j) {
      sums.v[j] = term<C, kSquare>(rows[j] + x);
      if constexpr (kPairs) sums.v[j] = plus<C, kSquare>(sums.v[j], rows[j + 1] + x);
    }
    sink.put(x, sums);
  }
  receiver.done(first, count, sink);
}

template <class C, bool kSquare, class T, class Receiver>
void sum_any(int64_t n, const GroupRows<C, T>& rows, int64_t first, int count, int64_t length, Receiver& receiver) {
  if (n == 1) return sum_narrow<C, kSquare, false>(rows, first, count, length, receiver);
  if (n == 2) return sum_narrow<C, kSquare, true>(rows, first, count, length, receiver);
  switch (rows.common == nullptr ? rows.shared_count : -1) {
    case 0: return sum_group<C, kSquare, 0>(rows, first, count, length, receiver);
    case 2: return sum_group<C, kSquare, 2>(rows, first, count, length, receiver);
    case 6: return sum_group<C, kSquare, 6>(rows, first, count, length, receiver);
    default: return sum_group<C, kSquare, -1>(rows, first, count, length, receiver);
  }
}

// The bytes that sum_windows takes from the scratch.
template <class C>
size_t window_scratch(int64_t n, int64_t outputs, int64_t length) {
  const int64_t rows = padded(length);
  const size_t rest = Scratch::bytes<C>(kGroup * rows);
  if (n <= kDirect) return rest;
  const int64_t groups = ceil_div(outputs, kGroup);
  const int64_t shared = (n - 3) / kGroup;
  return rest + Scratch::bytes<C>((groups + shared + kGroup) * rows) + Scratch::bytes<C>((groups + kGroup) * rows) +
         window_scratch<C>(shared, groups, length);
}

// Hands over, for k in [0, outputs), the sum of rows first + k .. first + k + n - 1. The length is at least one vector.
template <class C, bool kSquare, class T, class Receiver>
void sum_windows(const Rows<T>& rows, int64_t n, int64_t first, int64_t outputs, int64_t length, Scratch& scratch,
                 Receiver& receiver) {
  char* const mark = scratch.mark();
  const int64_t stride = padded(length);
  const C* common = nullptr;
  int64_t summed = 0;  // rows of M, from its first on, that lie in summed groups
  if (n > kDirect) {
    const int64_t groups = ceil_div(outputs, kGroup);
    const int64_t shared = (n - 3) / kGroup;
    C* const sums = scratch.take<C>((groups + shared + kGroup) * stride);
    for (int64_t g = 0; g < groups + shared - 1; ++g) {
      const int64_t row = first + 3 + g * kGroup;
      const T* const four[kGroup] = {rows(row), rows(row + 1), rows(row + 2), rows(row + 3)};
      sum_four<C, kSquare>(four, length, sums + g * stride);
    }
    C* const windows = scratch.take<C>((groups + kGroup) * stride);
    StoreSums<C> collector{windows, stride};
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
      group.right[i] = rows(row + larger(n, 3) + i);
    }
    if (common != nullptr) group.common = common + k / kGroup * stride;
    for (int64_t i = 3 + summed; i < n; ++i) group.shared[group.shared_count++] = rows(row + i);
    const int count = static_cast<int>(smaller(outputs - k, kGroup));
    if constexpr (Receiver::kOnlyAsked) {
      if (count < kGroup) {
        StoreSums<C> rest{scratch.take<C>(kGroup * stride), stride};
        sum_any<C, kSquare>(n, group, 0, count, length, rest);
        receiver.rest(k, count, rest.rows, stride);
        break;
      }
    }
    sum_any<C, kSquare>(n, group, k, count, length, receiver);
  }
  scratch.release(mark);
}

}  // namespace onnxnorm::ONNXNORM_TARGET
