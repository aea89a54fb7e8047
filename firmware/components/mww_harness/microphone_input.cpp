#include "microphone_input.h"

#ifdef USE_MWW_HARNESS_MICROPHONE

#include <new>

#include "esphome/core/helpers.h"

#include "recording.h"

namespace esphome::mww_harness {

static const Outcome NO_MEMORY{wire::ErrorCode::NO_MEMORY, Recording::SIZE, "for what the microphone hears"};

void MicrophoneInput::setup() {
  this->source_->add_data_callback([this](const std::vector<uint8_t> &data) {
    if (this->queue_ != nullptr) {
      this->queue_->write(reinterpret_cast<const int16_t *>(data.data()), data.size() / sizeof(int16_t));
    }
  });
}

Outcome MicrophoneInput::start() {
  if (this->queue_ == nullptr) {
    RAMAllocator<uint8_t> allocator;
    uint8_t *memory = allocator.allocate(Recording::SIZE);
    uint8_t *queue = allocator.allocate(sizeof(Queue));
    if (memory == nullptr || queue == nullptr) {
      allocator.deallocate(memory, Recording::SIZE);
      allocator.deallocate(queue, sizeof(Queue));
      return NO_MEMORY;
    }
    this->memory_ = memory;
    this->queue_ = new (queue) Queue();
  }
  this->queue_->clear();
  this->source_->start();
  return {};
}

}  // namespace esphome::mww_harness

#endif
