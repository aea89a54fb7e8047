#pragma once

#if defined(USE_ESP32) || defined(MWW_HARNESS_SPEECH_FEATURES)

#include <frontend.h>
#include <frontend_util.h>

#include "sound_frontend.h"

namespace esphome::mww_harness {

/// esp-micro-speech-features with the settings of micro_wake_word (esphome 2026.6.5 to 2026.10.0,
/// preprocessor_settings.h).
class SpeechFeatures final : public Frontend {
 public:
  SpeechFeatures() = default;
  ~SpeechFeatures() override { this->stop(); }
  SpeechFeatures(const SpeechFeatures &) = delete;
  SpeechFeatures &operator=(const SpeechFeatures &) = delete;

  Outcome start(uint8_t step_ms) override;
  void stop() override;
  size_t process(const int16_t *samples, size_t count, uint16_t *features, bool *made) override;

 protected:
  FrontendState state_;  // nothing in it is valid unless started
  bool started_{false};
};

}  // namespace esphome::mww_harness

#endif
