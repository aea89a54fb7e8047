#include "ear.h"

#include <algorithm>

namespace esphome::mww_harness {

static constexpr size_t SAMPLES_PER_MS = 16;

Outcome Ear::listen(uint8_t models, uint8_t step_ms) {
  this->models_ = 0;
  if (this->deaf()) {
    return {wire::ErrorCode::NO_FRONTEND, 0, ""};
  }
  if (models == 0) {
    this->frontend_->stop();
    return {};
  }
  Outcome outcome = this->frontend_->start(step_ms);
  for (uint8_t i = 0; i < wire::MAX_MODELS && outcome.ok(); i++) {
    if ((models & 1u << i) != 0) {
      outcome = this->slots_[i].reset();
      this->slices_[i] = 0;
    }
  }
  if (outcome.ok()) {
    this->models_ = models;
    this->step_ = step_ms * SAMPLES_PER_MS;
    this->count_ = 0;
  } else {
    this->frontend_->stop();
  }
  return outcome;
}

Ear::Step Ear::hear(const int16_t *samples, size_t count, WireWriter *to) {
  Step step;
  uint16_t features[FEATURES];
  step.taken = this->frontend_->process(samples, count, features, &step.made);
  if (!step.made) {
    return step;
  }
  int8_t slice[FEATURES];
  std::transform(features, features + FEATURES, slice, quantize);
  this->count_++;
  const uint8_t complete = this->put_together_(slice);
  to->bytes(reinterpret_cast<const uint8_t *>(slice), FEATURES);
  to->u8(complete);
  for (uint8_t i = 0; i < wire::MAX_MODELS; i++) {
    if ((complete & 1u << i) == 0) {
      continue;
    }
    ModelSlot &slot = this->slots_[i];
    InferenceResult result;
    step.outcome = slot.engine->infer(slot.engine->frame(), 1, false, &result);
    if (!step.outcome.ok()) {
      step.outcome.detail = slot.inferences;
      slot.needs_reset = true;
      this->models_ = 0;
      return step;
    }
    slot.judge(result).encode(*to);
    step.inferences++;
  }
  return step;
}

/// Adds a slice to the frame of every model; returns those whose frames are complete.
uint8_t Ear::put_together_(const int8_t *slice) {
  uint8_t complete = 0;
  for (uint8_t i = 0; i < wire::MAX_MODELS; i++) {
    const ModelSlot &slot = this->slots_[i];
    if ((this->models_ & 1u << i) == 0) {
      continue;
    }
    std::copy(slice, slice + FEATURES, slot.engine->frame() + this->slices_[i] * FEATURES);
    this->slices_[i]++;
    if (this->slices_[i] == slot.facts.stride) {
      this->slices_[i] = 0;
      complete |= static_cast<uint8_t>(1u << i);
    }
  }
  return complete;
}

}  // namespace esphome::mww_harness
