#pragma once

#include <cstdint>

#include "esphome/core/defines.h"

#if defined(USE_ESP32) || defined(MWW_HARNESS_TFLM)
#include <optional>

#include "esphome/core/hal.h"
#include "esphome/core/helpers.h"

#include "engine_tflm.h"
#include "speech_features.h"
#elif defined(MWW_HARNESS_ENGINES)
#include MWW_HARNESS_ENGINES
#else
#error "mww_harness has no interpreter on this platform: another component must define MWW_HARNESS_ENGINES"
#endif

namespace esphome::mww_harness {

#if defined(USE_ESP32) || defined(MWW_HARNESS_TFLM)

/// The memory of the tensor arena; ANY is micro_wake_word's choice: PSRAM, or internal RAM where PSRAM has no room.
enum class ArenaMemory : uint8_t { ANY, INTERNAL, PSRAM };

/// The interpreters of this board, one for each model slot, and its front-end. They allocate memory when they start.
class BoardEngines final : public EngineHost {
 public:
  void set_arena(ArenaSource source, ArenaMemory memory) {
    this->arena_source_ = source;
    this->arena_memory_ = memory;
  }
  void setup() {
    for (auto &engine : this->engines_) {
      engine.emplace(this, this->arena_source_);
    }
  }
  Engine *operator[](size_t slot) { return &*this->engines_[slot]; }
  Frontend *frontend() { return &this->frontend_; }

  uint8_t *allocate(size_t size) override { return this->allocator_().allocate(size); }
  void deallocate(uint8_t *memory, size_t size) override { this->allocator_().deallocate(memory, size); }
  uint32_t micros() override { return esphome::micros(); }

 protected:
  RAMAllocator<uint8_t> allocator_() const {
    switch (this->arena_memory_) {
      case ArenaMemory::INTERNAL:
        return {RAMAllocator<uint8_t>::ALLOC_INTERNAL};
      case ArenaMemory::PSRAM:
        return {RAMAllocator<uint8_t>::ALLOC_EXTERNAL};
      default:
        return {};
    }
  }

  std::optional<TflmEngine> engines_[wire::MAX_MODELS];
  SpeechFeatures frontend_;
  ArenaSource arena_source_{ArenaSource::PROBE};
  ArenaMemory arena_memory_{ArenaMemory::ANY};
};

#endif

}  // namespace esphome::mww_harness
