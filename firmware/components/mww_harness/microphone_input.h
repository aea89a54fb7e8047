#pragma once

#include "esphome/core/defines.h"

#ifdef USE_MWW_HARNESS_MICROPHONE

#include <atomic>

#include "esphome/components/microphone/microphone_source.h"

#include "board_microphone.h"

namespace esphome::mww_harness {

/// An ESPHome microphone, with micro_wake_word's channel and gain. Its samples come from its own task.
class MicrophoneInput final : public BoardMicrophone {
 public:
  void set_source(microphone::MicrophoneSource *source) { this->source_ = source; }
  void setup();

  Outcome start() override;
  void stop() override { this->source_->stop(); }
  uint8_t *memory() override { return this->memory_; }
  size_t read(int16_t *samples, size_t count) override { return this->queue_.load()->read(samples, count); }
  uint32_t lost() const override { return this->queue_.load()->lost(); }

 protected:
  using Queue = SampleQueue<4096>;  // a quarter of a second

  microphone::MicrophoneSource *source_{nullptr};
  std::atomic<Queue *> queue_{nullptr};  // made once: the microphone's task may still write after the stop
  uint8_t *memory_{nullptr};
};

}  // namespace esphome::mww_harness

#endif
