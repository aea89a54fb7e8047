#pragma once

#include <cstddef>
#include <cstdint>

namespace esphome::mww_harness {

/// The result of a frame's slices; `slice` is 0 without a detection.
struct Detection {
  uint8_t slice{0};
  uint8_t average{0};
  uint8_t maximum{0};
};

/// ESPHome's detection rule for one model, slice by slice (esphome 2026.6.5 to 2026.10.0, micro_wake_word:
/// streaming_model.cpp, process_probabilities_ in micro_wake_word.cpp, with stop_after_detection: false).
class Detector {
 public:
  /// Starts from the rule's initial state; a window of 0 disarms it.
  void arm(uint8_t cutoff, uint8_t window);
  /// Returns to the initial state, and keeps cutoff and window.
  void reset();
  /// Takes a frame of `stride` slices; its inference gave `output`.
  Detection frame(uint8_t stride, uint8_t output);

 protected:
  void push_(uint8_t output);
  void count_();
  bool check_(Detection *detection);
  void reset_probabilities_();

  uint8_t recent_[255]{};  // a ring of `window_` outputs
  uint8_t newest_{0};
  uint8_t window_{0};
  uint8_t cutoff_{0};
  int16_t ignore_windows_{0};
  bool unprocessed_{false};
};

}  // namespace esphome::mww_harness
