#ifdef USE_ESP32

#include "model_partition.h"

#include <esp_partition.h>

namespace esphome::mww_harness {

static const esp_partition_t *as_esp(const void *partition) { return static_cast<const esp_partition_t *>(partition); }

const char *MappedPartition::open(const char *name, uint32_t /*size*/) {
  const esp_partition_t *found = esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, name);
  if (found == nullptr) {
    return "not in the partition table; flash the whole image, not the app alone";
  }
  const void *data = nullptr;
  esp_partition_mmap_handle_t handle;  // it stays mapped
  if (esp_partition_mmap(found, 0, found->size, ESP_PARTITION_MMAP_DATA, &data, &handle) != ESP_OK) {
    return "cannot be mapped";
  }
  this->partition_ = found;
  this->data_ = static_cast<const uint8_t *>(data);
  this->size_ = found->size;
  return nullptr;
}

bool MappedPartition::erase(uint32_t offset, uint32_t size) {
  return esp_partition_erase_range(as_esp(this->partition_), offset, size) == ESP_OK;
}

bool MappedPartition::write(uint32_t offset, const uint8_t *data, size_t size) {
  return esp_partition_write(as_esp(this->partition_), offset, data, size) == ESP_OK;
}

}  // namespace esphome::mww_harness

#endif  // USE_ESP32
