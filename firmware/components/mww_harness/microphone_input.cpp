#include "microphone_input.h"

#ifdef USE_MWW_HARNESS_MICROPHONE

#include <new>
#include <vector>

#include "esphome/core/helpers.h"

#include "recording.h"

namespace esphome::mww_harness {

static constexpr Outcome NO_MEMORY{wire::ErrorCode::NO_MEMORY, Recording::SIZE, "for what the microphone hears"};

void MicrophoneInput::setup() {
  this->source_->add_data_callback([this](const std::vector<uint8_t> &data) {
    Queue *queue = this->queue_;
    if (queue != nullptr) {  // null before the first start, for a source that is passive
      queue->write(reinterpret_cast<const int16_t *>(data.data()), data.size() / sizeof(int16_t));
    }
  });
}

Outcome MicrophoneInput::start() {
  if (this->queue_.load() == nullptr) {
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
  this->queue_.load()->clear();
  this->source_->start();
  return {};
}

}  // namespace esphome::mww_harness

#endif
