#pragma once

#include <cstddef>
#include <cstdint>

#include "engine.h"
#include "messages.h"
#include "sha256.h"

namespace esphome::mww_harness {

/// The flash partition of the models.
class ModelPartition {
 public:
  virtual ~ModelPartition() = default;

  /// The address of the mapped partition, which shows the effect of erase() and write().
  virtual const uint8_t *data() const = 0;
  virtual uint32_t size() const = 0;
  /// Erases whole sectors.
  virtual bool erase(uint32_t offset, uint32_t size) = 0;
  /// Writes to erased bytes.
  virtual bool write(uint32_t offset, const uint8_t *data, size_t size) = 0;
};

/// The models in the partition, and how a model is replaced without losing it: see "Model partition" in the wire
/// protocol's reference.
class ModelStore {
 public:
  /// Reads the table; `partition` is null in a firmware without one.
  explicit ModelStore(ModelPartition *partition);

  /// Bytes of the partition; 0 without one.
  uint32_t partition_size() const { return this->partition_ == nullptr ? 0 : this->partition_->size(); }
  /// The table's entry of a slot; length 0 if it is empty.
  const wire::TableEntry &entry(uint8_t slot) const { return this->table_[slot]; }
  /// Whether the slot's bytes match their digest; the first call reads all of them.
  bool verify(uint8_t slot);
  /// The slot's model, which stays mapped until another model replaces it.
  StoredModel model(uint8_t slot) const;

  /// Finds room for a new model. An earlier upload is dropped.
  Outcome begin(const wire::UploadBegin &upload);
  /// Writes the next bytes.
  Outcome write(const wire::UploadPiece &piece);
  /// Checks the digest, then puts the model into the table. `slot` is the slot that `begin` opened.
  Outcome commit(const Digest &digest, uint8_t *slot);

 protected:
  struct Upload {
    wire::TableEntry entry;
    uint32_t written{0};
    uint32_t erased{0};
    uint8_t slot{0};
    bool active{false};
  };

  bool read_table_(uint32_t sector, uint32_t *generation, wire::TableEntry *entries) const;
  bool in_partition_(const wire::TableEntry &entry) const;
  /// The sector of the table after the current one.
  uint32_t next_sector_() const { return (this->table_sector_ + 1) % wire::TABLE_SECTORS; }
  bool write_table_(const wire::TableEntry *entries);
  uint32_t room_at_(uint32_t offset) const;
  uint32_t find_room_(uint32_t size, uint32_t *largest) const;

  ModelPartition *partition_;
  wire::TableEntry table_[wire::MAX_MODELS];
  Upload upload_;
  uint32_t generation_{0};
  uint32_t table_sector_{0};
  bool verified_[wire::MAX_MODELS]{};
};

}  // namespace esphome::mww_harness
