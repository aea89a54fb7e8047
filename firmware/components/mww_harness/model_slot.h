#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "detector.h"
#include "engine.h"
#include "messages.h"

namespace esphome::mww_harness {

/// A slot of the model partition in use: its interpreter, its detection rule, and their position in a stream.
struct ModelSlot {
  Engine *engine{nullptr};
  wire::Model facts;
  Detector detector;
  uint32_t inferences{0};
  bool open{false};
  bool needs_reset{false};
  std::unique_ptr<uint8_t, decltype(&std::free)> copy{nullptr, std::free};

  /// A copy of the model that begins `misalignment` bytes after a multiple of 16, until close(). Without data
  /// if memory is short.
  StoredModel misaligned(const StoredModel &model, uint8_t misalignment) {
    static constexpr size_t ALIGNMENT = 16;
    this->copy.reset(static_cast<uint8_t *>(std::malloc(model.size + 2 * ALIGNMENT)));
    if (this->copy == nullptr) {
      return {};
    }
    const size_t past = reinterpret_cast<uintptr_t>(this->copy.get()) % ALIGNMENT;
    uint8_t *data = this->copy.get() + (ALIGNMENT - past) + misalignment;
    std::memcpy(data, model.data, model.size);
    return {data, model.size, model.manifest_arena};
  }
  /// Harmless for a model that is not open.
  void close() {
    if (this->open) {
      this->engine->unload();
      this->open = false;
    }
    this->copy.reset();
  }
  /// Resets model and rule to their initial states.
  Outcome reset() {
    const Outcome outcome = this->engine->reset();
    this->needs_reset = !outcome.ok();
    this->inferences = 0;
    this->detector.reset();
    return outcome;
  }
  /// Counts an inference and passes its output to the rule.
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
