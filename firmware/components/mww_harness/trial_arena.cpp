#if defined(USE_ESP32) || defined(MWW_HARNESS_TFLM)

#include "trial_arena.h"

#include <new>

namespace esphome::mww_harness {

using tflite::GreedyMemoryPlanner;
using tflite::SingleArenaBufferAllocator;

static uint8_t *align_up(uint8_t *at, size_t alignment) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(at);
  return at + ((alignment - address % alignment) % alignment);
}
static uint8_t *align_down(uint8_t *at, size_t alignment) { return at - reinterpret_cast<uintptr_t>(at) % alignment; }

TrialArena::TrialArena(uint8_t *arena, size_t size, uint8_t *spill, size_t spill_size)
    : SingleArenaBufferAllocator(arena, arena + size),
      arena_(arena),
      spill_(spill),
      spill_temporary_(spill),
      spill_persistent_(spill + spill_size),
      spill_end_(spill + spill_size) {}

tflite::MicroAllocator *TrialArena::allocator() {
  // As MicroAllocator::Create does with an arena, which also holds its own allocator.
  SingleArenaBufferAllocator::AllocatePersistentBuffer(sizeof(SingleArenaBufferAllocator),
                                                       alignof(SingleArenaBufferAllocator));
  uint8_t *planner =
      SingleArenaBufferAllocator::AllocatePersistentBuffer(sizeof(GreedyMemoryPlanner), alignof(GreedyMemoryPlanner));
  return planner == nullptr ? nullptr : tflite::MicroAllocator::Create(this, new (planner) GreedyMemoryPlanner());
}

uint8_t *TrialArena::AllocatePersistentBuffer(size_t size, size_t alignment) {
  if (align_down(this->tail() - size, alignment) >= this->temporary_end_()) {
    return SingleArenaBufferAllocator::AllocatePersistentBuffer(size, alignment);
  }
  this->overflowed_ = true;
  if (static_cast<size_t>(this->spill_persistent_ - this->spill_temporary_) < size + alignment) {
    return nullptr;
  }
  return this->spill_persistent_ = align_down(this->spill_persistent_ - size, alignment);
}

uint8_t *TrialArena::AllocateTemp(size_t size, size_t alignment) {
  if (align_up(this->temporary_end_(), alignment) + size <= this->tail()) {
    return SingleArenaBufferAllocator::AllocateTemp(size, alignment);
  }
  this->overflowed_ = true;
  if (static_cast<size_t>(this->spill_persistent_ - this->spill_temporary_) < size + alignment) {
    return nullptr;
  }
  uint8_t *buffer = align_up(this->spill_temporary_, alignment);
  this->spill_temporary_ = buffer + size;
  return buffer;
}

void TrialArena::DeallocateTemp(uint8_t *buffer) {
  if (buffer < this->spill_ || buffer >= this->spill_end_) {
    SingleArenaBufferAllocator::DeallocateTemp(buffer);
  }
}

TfLiteStatus TrialArena::ResetTempAllocations() {
  this->spill_temporary_ = this->spill_;
  return SingleArenaBufferAllocator::ResetTempAllocations();
}

}  // namespace esphome::mww_harness

#endif
