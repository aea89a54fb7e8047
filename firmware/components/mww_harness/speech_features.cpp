#include "speech_features.h"

#if defined(USE_ESP32) || defined(MWW_HARNESS_SPEECH_FEATURES)

#include <algorithm>

namespace esphome::mww_harness {

using wire::ErrorCode;

static constexpr int SAMPLE_RATE = 16000;
static constexpr uint8_t WINDOW_MS = 30;  // FEATURE_DURATION_MS, and the largest step that micro_wake_word takes

static FrontendConfig config(uint8_t step_ms) {
  FrontendConfig config{};
  config.window.size_ms = WINDOW_MS;
  config.window.step_size_ms = step_ms;
  config.filterbank.num_channels = FEATURES;
  config.filterbank.lower_band_limit = 125.0f;
  config.filterbank.upper_band_limit = 7500.0f;
  config.noise_reduction.smoothing_bits = 10;
  config.noise_reduction.even_smoothing = 0.025f;
  config.noise_reduction.odd_smoothing = 0.06f;
  config.noise_reduction.min_signal_remaining = 0.05f;
  config.pcan_gain_control.enable_pcan = 1;
  config.pcan_gain_control.strength = 0.95f;
  config.pcan_gain_control.offset = 80.0f;
  config.pcan_gain_control.gain_bits = 21;
  config.log_scale.enable_log = 1;
  config.log_scale.scale_shift = 6;
  return config;
}

Outcome SpeechFeatures::start(uint8_t step_ms) {
  this->stop();
  if (step_ms == 0 || step_ms > WINDOW_MS) {
    return {ErrorCode::FRONTEND, step_ms, "a step of 1 to 30 ms"};
  }
  const FrontendConfig settings = config(step_ms);
  this->started_ = FrontendPopulateState(&settings, &this->state_, SAMPLE_RATE) != 0;
  if (!this->started_) {
    FrontendFreeStateContents(&this->state_);  // the parts that were allocated
    return {ErrorCode::FRONTEND, 0, "out of memory"};
  }
  return {};
}

void SpeechFeatures::stop() {
  if (this->started_) {
    FrontendFreeStateContents(&this->state_);
    this->started_ = false;
  }
}

size_t SpeechFeatures::process(const int16_t *samples, size_t count, uint16_t *features, bool *made) {
  size_t taken = 0;
  const FrontendOutput output = FrontendProcessSamples(&this->state_, samples, count, &taken);
  *made = output.size == FEATURES;
  if (*made) {
    std::copy(output.values, output.values + FEATURES, features);
  }
  return taken;
}

}  // namespace esphome::mww_harness

#endif
