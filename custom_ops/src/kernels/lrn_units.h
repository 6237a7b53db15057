// The units of a call: each a block of the tensor, computed where it lies, or in copies of its pieces.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

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

// Units that are computed in copies of type C, in pieces that stay in the cache: of element types that are computed in
// another, of rows shorter than one vector (further columns of the copy are zero like all that lies outside of the
// tensor), and, in double, of bases that float has no room for. So `Block` is there once for each type computed in.
template <class T, class C, Power P>
class Copies {
 public:
  explicit Copies(const LrnProblem& p) : p_(p), most_(most_of(p)), scratch_(bytes()) {}

  // False where no memory was left.
  bool run(const T* x, T* y, const Unit& unit) {
    if (!scratch_.ok()) return false;
    for (int64_t z = unit.z.begin; z < unit.z.end; z += most_.block[0])
      for (int64_t row = unit.rows.begin; row < unit.rows.end; row += most_.block[1])
        for (int64_t column = unit.columns.begin; column < unit.columns.end; column += most_.block[2])
          if (!run_piece(x, y, piece(0, z, unit.z), piece(1, row, unit.rows), piece(2, column, unit.columns)))
            return false;
    return true;
  }

 private:
  // The largest copy, as a problem of its own, whose blocks are the pieces.
  static LrnProblem most_of(const LrnProblem& p) {
    constexpr int64_t kElements = 16 * 1024;
    constexpr int64_t kFewestColumns = 128;
    LrnProblem most = p;
    most.volumes = 1;
    const auto cut = [&](int axis, int64_t wanted) {
      const int64_t size = p.block[axis];
      most.block[axis] = ceil_div(size, ceil_div(size, smaller(larger(wanted, 1), size)));
    };
    if (p.reach[2].trivial()) cut(2, larger(kElements / p.block[1], kFewestColumns));
    most.block[2] = larger(most.block[2], kLanes<float>);
    // What the neighbours sum again is at most half of a piece.
    cut(1, larger(kElements / most.block[2], 2 * p.reach[1].width()));
    cut(0, larger(kElements / (most.block[2] * most.block[1]), 2 * p.reach[0].width()));
    for (int axis = 0; axis < 3; ++axis)
      most.size[axis] = smaller(most.block[axis] + p.reach[axis].width() - 1, p.size[axis]);
    most.size[2] = larger(most.size[2], kLanes<float>);
    return most;
  }

  size_t bytes() const { return Scratch::bytes<C>(2 * elements(most_)) + Block<C, C, P>::scratch(most_); }

  static int64_t elements(const LrnProblem& p) { return p.size[0] * p.size[1] * p.size[2]; }

  // The last piece is as long as the others and overlaps the one before it: its rows hold a vector.
  Span piece(int axis, int64_t begin, Span whole) const {
    const int64_t size = smaller(most_.block[axis], whole.size());
    const int64_t at = smaller(begin, whole.end - size);
    return {at, at + size};
  }

  Span met(int axis, Span span) const {
    return {larger(span.begin - p_.reach[axis].back, 0), smaller(span.end + p_.reach[axis].ahead, p_.size[axis])};
  }

  bool run_piece(const T* x, T* y, Span z, Span rows, Span columns) {
    const Span slices = met(0, z), lines = met(1, rows), places = met(2, columns);
    LrnProblem inner = most_;
    inner.size[0] = slices.size();
    inner.size[1] = lines.size();
    inner.size[2] = larger(places.size(), kLanes<float>);
    char* const mark = scratch_.mark();
    C* const from = scratch_.template take<C>(2 * elements(inner));
    C* const to = from + elements(inner);
    if (inner.size[2] > places.size())
      __builtin_memset(from, 0, static_cast<size_t>(elements(inner)) * sizeof(C));
    for (int64_t slice = slices.begin; slice < slices.end; ++slice)
      copy_in(x + (slice * p_.size[1] + lines.begin) * p_.size[2] + places.begin,
              from + (slice - slices.begin) * inner.size[1] * inner.size[2], to, lines.size(), places.size(),
              inner.size[2]);
    const int64_t first = columns.begin - places.begin;
    const bool right = Block<C, C, P>(inner, scratch_)
                           .run(from, to, {z.begin - slices.begin, z.end - slices.begin},
                                {rows.begin - lines.begin, rows.end - lines.begin},
                                {first, first + larger(columns.size(), kLanes<float>)});
    for (int64_t slice = z.begin; slice < z.end && right; ++slice)
      copy_out(to + ((slice - slices.begin) * inner.size[1] + rows.begin - lines.begin) * inner.size[2] + first, from,
               y + (slice * p_.size[1] + rows.begin) * p_.size[2] + columns.begin, rows.size(), columns.size(),
               inner.size[2]);
    scratch_.release(mark);
    if constexpr (sizeof(C) == sizeof(float)) {
      if (!right) return Copies<T, double, Power::kGeneral>(p_).run(x, y, {0, z, rows, columns});
    }
    return true;
  }

  // Rows shorter than a vector are converted side by side, and moved to their places by themselves.
  void copy_in(const T* x, C* to, C* unused, int64_t rows, int64_t length, int64_t stride) const {
    if (length >= kLanes<C> || sizeof(T) == sizeof(C))
      return copy_rows<C>(x, p_.size[2], to, stride, rows, length);
    copy_rows<C>(x, p_.size[2], unused, length, rows, length);
    copy_rows<C>(unused, length, to, stride, rows, length);
  }
  void copy_out(const C* from, C* unused, T* y, int64_t rows, int64_t length, int64_t stride) const {
    if (length >= kLanes<C> || sizeof(T) == sizeof(C))
      return copy_rows<C>(from, stride, y, p_.size[2], rows, length);
    copy_rows<C>(from, stride, unused, length, rows, length);
    copy_rows<C>(unused, length, y, p_.size[2], rows, length);
  }

  const LrnProblem& p_;
  LrnProblem most_;
  Scratch scratch_;
};

template <class T, class C, Power P>
bool run_copied(const LrnProblem& p, const T* x, T* y, int64_t begin, int64_t end) {
  Copies<T, C, P> copies(p);
  for (int64_t i = begin; i < end; ++i) {
    const Unit unit = unit_at(p, i);
    const int64_t at = unit.volume * p.size[0] * p.size[1] * p.size[2];
    if (!copies.run(x + at, y + at, unit)) return false;
  }
  return true;
}

// Units that are computed where they lie.
template <class T, Power P>
bool run_units(const LrnProblem& p, const T* x, T* y, int64_t begin, int64_t end) {
  Scratch scratch(Block<T, T, P>::scratch(p));
  if (!scratch.ok()) return false;
  Block<T, T, P> block(p, scratch);
  for (int64_t i = begin; i < end; ++i) {
    const Unit unit = unit_at(p, i);
    const int64_t at = unit.volume * p.size[0] * p.size[1] * p.size[2];
    const bool inside = block.run(x + at, y + at, unit.z, unit.rows, unit.columns);
    if constexpr (sizeof(T) == sizeof(float)) {
      if (!inside && !Copies<T, double, Power::kGeneral>(p).run(x + at, y + at, unit)) return false;
    }
  }
  return true;
}

template <class T, class C, Power P>
bool run(const LrnProblem& p, const T* x, T* y, int64_t begin, int64_t end) {
  if constexpr (sizeof(T) == sizeof(C)) {
    if (p.size[2] >= kLanes<float>) return run_units<T, P>(p, x, y, begin, end);
  }
  return run_copied<T, C, P>(p, x, y, begin, end);
}

template <class T, class C>
bool lrn(const LrnProblem& p, const void* from, void* to, int64_t begin, int64_t end) {
  const T* const x = static_cast<const T*>(from);
  T* const y = static_cast<T*>(to);
  if constexpr (sizeof(C) == sizeof(float)) {
    if (p.wide) return run_copied<T, double, Power::kGeneral>(p, x, y, begin, end);
    if (p.power == Power::kThreeQuarters) return run<T, C, Power::kThreeQuarters>(p, x, y, begin, end);
  }
  return run<T, C, Power::kGeneral>(p, x, y, begin, end);
}

}  // namespace onnxnorm::ONNXNORM_TARGET
