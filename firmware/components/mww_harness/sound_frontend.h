#pragma once

#include <cstddef>
#include <cstdint>

#include "contract.h"
#include "engine.h"

namespace esphome::mww_harness {

static constexpr size_t FEATURES = wire::FEATURES;  // PREPROCESSOR_FEATURE_SIZE, preprocessor_settings.h

/// Turns sound, 16 kHz mono, into slices of features as micro_wake_word does. It may allocate in start(), and nowhere
/// else.
class Frontend {
 public:
  virtual ~Frontend() = default;

  /// Starts a stream with a slice every `step_ms`, in the initial state. Leaves nothing allocated when it fails.
  virtual Outcome start(uint8_t step_ms) = 0;
  /// Frees the memory of start(); harmless without a stream.
  virtual void stop() = 0;
  /// Takes samples up to the end of a slice, at least one of `count` > 0, and returns how many. `*made` says whether
  /// `features` is that slice.
  virtual size_t process(const int16_t *samples, size_t count, uint16_t *features, bool *made) = 0;
};

/// A model's input for a feature (micro_wake_word.cpp, generate_features_).
constexpr int8_t quantize(uint16_t feature) {
  const int32_t scaled = feature * contract::QUANTIZE_VALUE_SCALE + contract::QUANTIZE_VALUE_DIV / 2;
  const int32_t value = scaled / contract::QUANTIZE_VALUE_DIV + INT8_MIN;
  return static_cast<int8_t>(value < INT8_MAX ? value : INT8_MAX);
}

}  // namespace esphome::mww_harness
