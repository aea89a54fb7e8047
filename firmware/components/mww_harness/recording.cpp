#include "recording.h"

namespace esphome::mww_harness {

static constexpr size_t SAMPLE_SIZE = sizeof(int16_t);

void Recording::start(uint8_t *memory) {
  this->memory_ = memory;
  this->samples_ = 0;
  this->slices_ = 0;
}

void Recording::add(const int16_t *samples, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const uint16_t sample = static_cast<uint16_t>(samples[i]);
    uint8_t *at = this->memory_ + this->samples_ % SAMPLES * SAMPLE_SIZE;
    at[0] = static_cast<uint8_t>(sample);
    at[1] = static_cast<uint8_t>(sample >> 8);
    this->samples_++;
  }
}

void Recording::add_slice(size_t size) {
  *this->row_(this->slices_) = static_cast<uint8_t>(size);
  this->slices_++;
}

void Recording::write_samples(uint32_t first, size_t room, WireWriter *to) const {
  for (; first != this->samples_ && room >= SAMPLE_SIZE; first++, room -= SAMPLE_SIZE) {
    to->bytes(this->memory_ + first % SAMPLES * SAMPLE_SIZE, SAMPLE_SIZE);
  }
}

void Recording::write_slices(uint32_t first, size_t room, WireWriter *to) const {
  for (; first != this->slices_; first++) {
    const uint8_t *row = this->row_(first);
    if (*row > room) {
      return;
    }
    to->bytes(row + 1, *row);
    room -= *row;
  }
}

}  // namespace esphome::mww_harness
