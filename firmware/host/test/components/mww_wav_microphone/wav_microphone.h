#pragma once

#ifdef USE_HOST

#include <cstdio>
#include <vector>

#include "esphome/components/microphone/microphone.h"
#include "esphome/core/component.h"

namespace esphome::mww_harness {

/// Plays the raw int16 samples of the file that MWW_HARNESS_MICROPHONE names at their own pace, from start() on, then
/// silence.
class WavMicrophone final : public Component, public microphone::Microphone {
 public:
  void start() override;
  void stop() override;
  void loop() override;

 protected:
  FILE *file_{nullptr};
  uint32_t started_{0};
  uint32_t played_{0};  // samples
  std::vector<uint8_t> data_;
};

}  // namespace esphome::mww_harness

#endif
