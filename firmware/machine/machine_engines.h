#pragma once

#if defined(MWW_HARNESS_TFLM)
#include <cstdlib>

#include "engine_tflm.h"
#include "machine.h"
#elif defined(MWW_MACHINE_ENGINES)
#include MWW_MACHINE_ENGINES
#else
#error "the machine has no interpreter: MWW_TFLM_LIBRARY names one, or MWW_MACHINE_ENGINES another's header"
#endif

#if defined(MWW_HARNESS_TFLM)

namespace esphome::mww_harness {

/// Whose kernels the library has, as Welcome says it: "generic_opt", "esp32s3" or "ansi" of esp-nn, or "reference".
const char *linked_kernels();

/// The interpreters of this machine, one for each model slot.
class MachineEngines final : public EngineHost {
 public:
  static constexpr const char *NAME = "tflm";
  static const char *kernels() { return linked_kernels(); }

  Engine *operator[](size_t slot) { return &this->engines_[slot]; }

  uint8_t *allocate(size_t size) override { return static_cast<uint8_t *>(aligned_alloc(16, size)); }
  void deallocate(uint8_t *memory, size_t /*size*/) override { free(memory); }
  uint32_t micros() override { return instructions(); }

 protected:
  TflmEngine engines_[wire::MAX_MODELS]{{this, ArenaSource::PROBE},
                                        {this, ArenaSource::PROBE},
                                        {this, ArenaSource::PROBE},
                                        {this, ArenaSource::PROBE}};
};

}  // namespace esphome::mww_harness

#endif
