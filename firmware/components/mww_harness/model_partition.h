#pragma once

#include "model_store.h"

namespace esphome::mww_harness {

/// The model partition of this board, mapped into the address space: in flash, or in a file on the host platform.
class MappedPartition final : public ModelPartition {
 public:
  /// Finds and maps it; `size` is the configured size. Returns null, or an error text.
  const char *open(const char *name, uint32_t size);

  const uint8_t *data() const override { return this->data_; }
  uint32_t size() const override { return this->size_; }
  bool erase(uint32_t offset, uint32_t size) override;
  bool write(uint32_t offset, const uint8_t *data, size_t size) override;

 protected:
  const uint8_t *data_{nullptr};
  uint32_t size_{0};
  const void *partition_{nullptr};  // the platform's own handle
};

}  // namespace esphome::mww_harness
