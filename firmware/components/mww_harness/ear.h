#pragma once

#include <cstddef>
#include <cstdint>

#include "model_slot.h"
#include "sound_frontend.h"
#include "wire.h"

namespace esphome::mww_harness {

/// Runs the models of a board on a stream of sound, as micro_wake_word's inference task does: one front-end, whose
/// slices go to every model that listens.
class Ear {
 public:
  /// The result of a call of hear().
  struct Step {
    Outcome outcome;
    size_t taken{0};        // samples
    uint8_t inferences{0};  // of all models
    bool made{false};       // whether it wrote a slice
  };

  /// Without a `frontend` the board cannot take sound.
  Ear(Frontend *frontend, ModelSlot *slots) : frontend_(frontend), slots_(slots) {}

  bool deaf() const { return this->frontend_ == nullptr; }
  /// Whether a model listens.
  bool listening() const { return this->models_ != 0; }
  /// Samples from one slice to the next.
  size_t step() const { return this->step_; }
  /// Slices since listen().
  uint32_t slices() const { return this->count_; }

  /// Starts a stream for open models, bit 0 for slot 0, all in their initial states; 0 ends it.
  Outcome listen(uint8_t models, uint8_t step_ms);
  /// Takes a model out of the stream.
  void leave(uint8_t slot) { this->models_ &= static_cast<uint8_t>(~(1u << slot)); }
  /// Takes samples up to the end of a slice, at least one of `count` > 0, and writes that slice's part of Heard.
  Step hear(const int16_t *samples, size_t count, WireWriter *to);

 protected:
  uint8_t put_together_(const int8_t *slice);

  Frontend *frontend_;
  ModelSlot *slots_;
  size_t step_{0};
  uint32_t count_{0};
  uint8_t slices_[wire::MAX_MODELS]{};  // collected for the next frame of each model
  uint8_t models_{0};
};

}  // namespace esphome::mww_harness
