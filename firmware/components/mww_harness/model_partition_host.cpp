#ifdef USE_HOST

#include "model_partition.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace esphome::mww_harness {

static constexpr uint8_t ERASED = 0xFF;

const char *MappedPartition::open(const char * /*name*/, uint32_t size) {
  const char *path = getenv("MWW_HARNESS_PARTITION");
  if (path == nullptr) {
    return "MWW_HARNESS_PARTITION names no file for it";
  }
  const int file = ::open(path, O_RDWR);
  if (file < 0 || lseek(file, 0, SEEK_END) != static_cast<off_t>(size)) {
    return "its file is missing, or not of the configured size";
  }
  void *data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (data == MAP_FAILED) {
    return "its file cannot be mapped";
  }
  this->data_ = static_cast<const uint8_t *>(data);
  this->size_ = size;
  return nullptr;
}

bool MappedPartition::erase(uint32_t offset, uint32_t size) {
  std::memset(const_cast<uint8_t *>(this->data_) + offset, ERASED, size);
  return true;
}

bool MappedPartition::write(uint32_t offset, const uint8_t *data, size_t size) {
  std::memcpy(const_cast<uint8_t *>(this->data_) + offset, data, size);
  return true;
}

}  // namespace esphome::mww_harness

#endif  // USE_HOST
