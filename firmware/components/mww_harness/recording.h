#pragma once

#include <cstddef>
#include <cstdint>

#include "messages.h"
#include "wire.h"

namespace esphome::mww_harness {

/// The last second of a microphone's samples and of the models' results, for a host that requests them.
class Recording {
 public:
  static constexpr uint32_t SAMPLES = 16384;
  static constexpr uint32_t SLICES = 128;
  static constexpr size_t MAX_SLICE = wire::FEATURES + 1 + wire::MAX_MODELS * wire::Sample::FIXED_SIZE;
  static constexpr size_t SIZE = SAMPLES * sizeof(int16_t) + SLICES * (MAX_SLICE + 1);

  /// Starts again in `memory`, SIZE bytes at an even address; null ends it.
  void start(uint8_t *memory);
  uint32_t slices() const { return this->slices_; }
  bool running() const { return this->memory_ != nullptr; }

  void add(const int16_t *samples, size_t count);
  /// The buffer of the next slice, and the size of a written slice.
  uint8_t *slice() { return this->row_(this->slices_) + 1; }
  void add_slice(size_t size);

  /// `first`, or the oldest that is still stored.
  uint32_t first_sample(uint32_t first) const { return first_(first, this->samples_, SAMPLES); }
  uint32_t first_slice(uint32_t first) const { return first_(first, this->slices_, SLICES); }
  /// Writes samples from `first` on, as many as exist and fit `room` bytes.
  void write_samples(uint32_t first, size_t room, WireWriter *to) const;
  void write_slices(uint32_t first, size_t room, WireWriter *to) const;

 protected:
  static uint32_t first_(uint32_t first, uint32_t count, uint32_t kept) {
    const uint32_t behind = count - first;  // counts wrap, after three days of samples
    if (behind > INT32_MAX) {
      return count;  // not written yet
    }
    return behind > kept ? count - kept : first;
  }
  uint8_t *row_(uint32_t slice) const {
    return this->memory_ + SAMPLES * sizeof(int16_t) + slice % SLICES * (MAX_SLICE + 1);
  }

  uint8_t *memory_{nullptr};
  uint32_t samples_{0};  // since start()
  uint32_t slices_{0};
};

}  // namespace esphome::mww_harness
