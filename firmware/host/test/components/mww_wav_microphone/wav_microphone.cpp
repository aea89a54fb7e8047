#include "wav_microphone.h"

#ifdef USE_HOST

#include <cstdlib>

#include "esphome/core/hal.h"

namespace esphome::mww_harness {

static constexpr uint32_t SAMPLES_PER_MS = 16;

void WavMicrophone::start() {
  this->stop();
  const char *path = getenv("MWW_HARNESS_MICROPHONE");
  this->file_ = path == nullptr ? nullptr : std::fopen(path, "rb");
  this->started_ = millis();
  this->played_ = 0;
  this->state_ = microphone::STATE_RUNNING;
}

void WavMicrophone::stop() {
  if (this->file_ != nullptr) {
    std::fclose(this->file_);
    this->file_ = nullptr;
  }
  this->state_ = microphone::STATE_STOPPED;
}

void WavMicrophone::loop() {
  if (!this->is_running()) {
    return;
  }
  const uint32_t due = (millis() - this->started_) * SAMPLES_PER_MS;
  this->data_.assign((due - this->played_) * sizeof(int16_t), 0);
  if (this->file_ != nullptr && std::fread(this->data_.data(), 1, this->data_.size(), this->file_) == 0) {
    this->data_.assign(this->data_.size(), 0);
  }
  this->played_ = due;
  this->data_callbacks_.call(this->data_);
}

}  // namespace esphome::mww_harness

#endif
