#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "engine.h"

namespace esphome::mww_harness {

/// The microphone of a board, 16 kHz mono.
class BoardMicrophone {
 public:
  virtual ~BoardMicrophone() = default;

  /// Starts the microphone; it may allocate here, and nowhere else.
  virtual Outcome start() = 0;
  /// Stops the microphone; harmless when it is stopped.
  virtual void stop() = 0;
  /// Memory of `Recording::SIZE` bytes, valid from start() to stop().
  virtual uint8_t *memory() = 0;
  /// Takes the next samples, at most `count`; returns how many.
  virtual size_t read(int16_t *samples, size_t count) = 0;
  /// Samples since start() that were not taken in time.
  virtual uint32_t lost() const = 0;
};

/// Samples on their way from a microphone's task to the session's: one writes, one reads, and neither waits. What does
/// not fit is lost and counted.
template<uint32_t CAPACITY> class SampleQueue {
  static_assert((CAPACITY & (CAPACITY - 1)) == 0, "indices wrap at 2^32");

 public:
  /// Drops all samples; for the reader, like read().
  void clear() {
    this->read_.store(this->written_.load(std::memory_order_acquire), std::memory_order_release);
    this->lost_.store(0, std::memory_order_relaxed);
  }
  void write(const int16_t *samples, size_t count) {
    const uint32_t written = this->written_.load(std::memory_order_relaxed);
    const uint32_t room = CAPACITY - (written - this->read_.load(std::memory_order_acquire));
    const uint32_t fits = count < room ? static_cast<uint32_t>(count) : room;
    for (uint32_t i = 0; i < fits; i++) {
      this->samples_[(written + i) % CAPACITY] = samples[i];
    }
    this->written_.store(written + fits, std::memory_order_release);
    if (fits < count) {
      this->lost_.fetch_add(static_cast<uint32_t>(count) - fits, std::memory_order_relaxed);
    }
  }
  size_t read(int16_t *samples, size_t count) {
    const uint32_t read = this->read_.load(std::memory_order_relaxed);
    const uint32_t waiting = this->written_.load(std::memory_order_acquire) - read;
    const uint32_t taken = count < waiting ? static_cast<uint32_t>(count) : waiting;
    for (uint32_t i = 0; i < taken; i++) {
      samples[i] = this->samples_[(read + i) % CAPACITY];
    }
    this->read_.store(read + taken, std::memory_order_release);
    return taken;
  }
  uint32_t lost() const { return this->lost_.load(std::memory_order_relaxed); }

 protected:
  int16_t samples_[CAPACITY];
  std::atomic<uint32_t> written_{0};
  std::atomic<uint32_t> read_{0};
  std::atomic<uint32_t> lost_{0};
};

}  // namespace esphome::mww_harness
