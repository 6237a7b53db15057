// Memory for one task: a bump allocator over one block whose size is known beforehand.
#pragma once

namespace onnxnorm::ONNXNORM_TARGET {

// The length of a row in a buffer: whole vectors of the narrowest lanes.
inline int64_t padded(int64_t length) { return ceil_div(length, kLanes<float>) * kLanes<float>; }

class Scratch {
 public:
  explicit Scratch(size_t bytes) : raw_(static_cast<char*>(::malloc(bytes + 64))) {
    free_ = raw_ + (64 - reinterpret_cast<uintptr_t>(raw_) % 64);
    end_ = free_ + bytes;
  }
  ~Scratch() { ::free(raw_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  bool ok() const { return raw_ != nullptr; }
  template <class E>
  E* take(int64_t count) {
    E* const result = reinterpret_cast<E*>(free_);
    free_ += bytes<E>(count);
    if (free_ > end_) __builtin_trap();  // the size was reckoned wrongly
    return result;
  }
  template <class E>
  E* take_zeros(int64_t count) {
    E* const result = take<E>(count);
    __builtin_memset(result, 0, static_cast<size_t>(count) * sizeof(E));
    return result;
  }
  char* mark() const { return free_; }
  void release(char* mark) { free_ = mark; }

  template <class E>
  static size_t bytes(int64_t count) {
    return (static_cast<size_t>(count) * sizeof(E) + 63) / 64 * 64;
  }

 private:
  char* raw_;
  char* free_;
  char* end_;
};

}  // namespace onnxnorm::ONNXNORM_TARGET
