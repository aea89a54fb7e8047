#pragma once

#include <cstdlib>
#include <cstring>

namespace esphome::mww_harness {

/// Zeroed memory for plain data, freed with its owner. The library does without the C++ runtime, whose building would
/// take most of the time where ziglang is the compiler.
template<typename T> class Memory {
 public:
  explicit Memory(size_t count)
      : data_(static_cast<T *>(std::calloc(count > 0 ? count : 1, sizeof(T)))), size_(count) {}
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  ~Memory() { std::free(this->data_); }

  T *data() { return this->data_; }
  size_t size() const { return this->size_; }

 protected:
  T *data_;
  size_t size_;
};

}  // namespace esphome::mww_harness
