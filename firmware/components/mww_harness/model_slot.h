#pragma once

#include <cstdint>

#include "detector.h"
#include "engine.h"
#include "messages.h"

namespace esphome::mww_harness {

/// A slot of the model partition at work: its interpreter, its detection rule, and where both are in a stream.
struct ModelSlot {
  Engine *engine{nullptr};
  wire::Model facts;
  Detector detector;
  uint32_t inferences{0};
  bool open{false};
  bool needs_reset{false};

  /// Harmless for a model that is not open.
  void close() {
    if (this->open) {
      this->engine->unload();
      this->open = false;
    }
  }
  /// Puts model and rule back to their initial states.
  Outcome reset() {
    const Outcome outcome = this->engine->reset();
    this->needs_reset = !outcome.ok();
    this->inferences = 0;
    this->detector.reset();
    return outcome;
  }
  /// Counts an inference and has the rule look at it.
  wire::Sample judge(const InferenceResult &result) {
    const Detection detection = this->detector.frame(this->facts.stride, result.output);
    this->inferences++;
    wire::Sample sample;
    sample.output = result.output;
    sample.detected = detection.slice;
    sample.average = detection.average;
    sample.maximum = detection.maximum;
    sample.microseconds = result.microseconds;
    return sample;
  }
};

}  // namespace esphome::mww_harness
