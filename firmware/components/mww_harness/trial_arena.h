#pragma once

#if defined(USE_ESP32) || defined(MWW_HARNESS_TFLM)

#include <cstddef>
#include <cstdint>

#include <tensorflow/lite/micro/arena_allocator/single_arena_buffer_allocator.h>
#include <tensorflow/lite/micro/memory_planner/greedy_memory_planner.h>
#include <tensorflow/lite/micro/micro_allocator.h>

namespace esphome::mww_harness {

/// An arena for a trial. TensorFlow Lite Micro aborts where a kernel's temporary tensor does not fit between the
/// plan and persistent data, and lets persistent data grow over such tensors. Here both get other memory, and the trial
/// fails. Every address within the arena is as in an arena that the interpreter itself makes.
class TrialArena final : public tflite::SingleArenaBufferAllocator {
 public:
  /// `spill` is the other memory, with room for the temporary tensors of one operator.
  TrialArena(uint8_t *arena, size_t size, uint8_t *spill, size_t spill_size);

  /// The allocator for an interpreter, instead of an arena; null if not even that fits.
  tflite::MicroAllocator *allocator();
  /// Whether an allocation did not fit.
  bool overflowed() const { return this->overflowed_; }

  uint8_t *AllocatePersistentBuffer(size_t size, size_t alignment) override;  // NOLINT(readability-identifier-naming)
  uint8_t *AllocateTemp(size_t size, size_t alignment) override;              // NOLINT(readability-identifier-naming)
  void DeallocateTemp(uint8_t *buffer) override;                              // NOLINT(readability-identifier-naming)
  TfLiteStatus ResetTempAllocations() override;                               // NOLINT(readability-identifier-naming)

 protected:
  uint8_t *temporary_end_() const { return this->arena_ + this->GetNonPersistentUsedBytes(); }

  uint8_t *arena_;
  uint8_t *spill_;
  uint8_t *spill_temporary_;   // temporary tensors, from the start up
  uint8_t *spill_persistent_;  // persistent data, from the end down
  uint8_t *spill_end_;
  bool overflowed_{false};

  TF_LITE_REMOVE_VIRTUAL_DELETE
};

}  // namespace esphome::mww_harness

#endif
