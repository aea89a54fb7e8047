#include "model_store.h"

#include <algorithm>
#include <cstring>

namespace esphome::mww_harness {

using wire::ErrorCode;
using wire::TableEntry;
using wire::TableHeader;

static constexpr uint32_t ENTRIES_SIZE = wire::MAX_MODELS * TableEntry::FIXED_SIZE;
static constexpr uint32_t TABLE_SIZE = TableHeader::FIXED_SIZE + ENTRIES_SIZE;
static constexpr uint32_t FIRST_MODEL = wire::TABLE_SECTORS * wire::SECTOR_SIZE;

static constexpr uint32_t whole_sectors(uint32_t size) {
  return (size + wire::SECTOR_SIZE - 1) / wire::SECTOR_SIZE * wire::SECTOR_SIZE;
}

ModelStore::ModelStore(ModelPartition *partition) : partition_(partition) {
  if (partition == nullptr || partition->size() < FIRST_MODEL) {
    this->partition_ = nullptr;
    return;
  }
  for (uint32_t sector = 0; sector < wire::TABLE_SECTORS; sector++) {
    uint32_t generation;
    TableEntry entries[wire::MAX_MODELS];
    if (this->read_table_(sector, &generation, entries) && generation >= this->generation_) {
      this->generation_ = generation;
      this->table_sector_ = sector;
      std::copy(std::begin(entries), std::end(entries), this->table_);
    }
  }
}

bool ModelStore::read_table_(uint32_t sector, uint32_t *generation, TableEntry *entries) const {
  const uint8_t *table = this->partition_->data() + sector * wire::SECTOR_SIZE;
  WireReader check(table + TABLE_SIZE, CHECK_SIZE);
  if (check.u32() != crc32(table, TABLE_SIZE)) {
    return false;
  }
  TableHeader header;
  WireReader head(table, TableHeader::FIXED_SIZE);
  if (!header.decode(head) || header.magic != wire::TABLE_MAGIC || header.version != wire::TABLE_VERSION ||
      header.slots != wire::MAX_MODELS) {
    return false;
  }
  *generation = header.generation;
  for (uint32_t slot = 0; slot < wire::MAX_MODELS; slot++) {
    WireReader row(table + TableHeader::FIXED_SIZE + slot * TableEntry::FIXED_SIZE, TableEntry::FIXED_SIZE);
    if (!entries[slot].decode(row) || !this->in_partition_(entries[slot])) {
      entries[slot] = TableEntry();
    }
  }
  return true;
}

bool ModelStore::in_partition_(const TableEntry &entry) const {
  const uint32_t size = this->partition_->size();
  return entry.offset >= FIRST_MODEL && entry.offset % wire::SECTOR_SIZE == 0 && entry.offset < size &&
         entry.length > 0 && entry.length <= size - entry.offset;
}

bool ModelStore::verify(uint8_t slot) {
  if (!this->verified_[slot]) {
    const StoredModel model = this->model(slot);
    const Digest digest = sha256(model.data, model.size);
    this->verified_[slot] = std::equal(digest.begin(), digest.end(), this->table_[slot].sha256);
  }
  return this->verified_[slot];
}

StoredModel ModelStore::model(uint8_t slot) const {
  const TableEntry &entry = this->table_[slot];
  return {this->partition_->data() + entry.offset, entry.length, entry.arena};
}

Outcome ModelStore::begin(const wire::UploadBegin &upload) {
  this->upload_.active = false;
  if (this->partition_ == nullptr) {
    return {ErrorCode::NO_PARTITION};
  }
  uint32_t largest;
  const uint32_t offset = this->find_room_(upload.size, &largest);
  if (offset == 0) {
    return {ErrorCode::NO_ROOM, largest};
  }
  this->upload_.slot = upload.model;
  this->upload_.entry.offset = offset;
  this->upload_.entry.length = upload.size;
  this->upload_.entry.arena = upload.arena;
  std::copy(std::begin(upload.sha256), std::end(upload.sha256), this->upload_.entry.sha256);
  this->upload_.written = 0;
  this->upload_.erased = 0;
  this->upload_.active = true;
  return {};
}

Outcome ModelStore::write(const wire::UploadPiece &piece) {
  Upload &upload = this->upload_;
  if (!upload.active || piece.offset != upload.written || piece.data.size > upload.entry.length - upload.written) {
    return {ErrorCode::UPLOAD_ORDER, upload.active ? upload.written : 0};
  }
  // Sector by sector as the bytes arrive: erasing all at once would block the board for a second.
  const uint32_t end = upload.written + static_cast<uint32_t>(piece.data.size);
  const uint32_t erased = whole_sectors(end);
  if (erased > upload.erased) {
    if (!this->partition_->erase(upload.entry.offset + upload.erased, erased - upload.erased)) {
      upload.active = false;
      return {ErrorCode::STORAGE, upload.entry.offset + upload.erased};
    }
    upload.erased = erased;
  }
  if (!this->partition_->write(upload.entry.offset + upload.written, piece.data.data, piece.data.size)) {
    upload.active = false;
    return {ErrorCode::STORAGE, upload.entry.offset + upload.written};
  }
  upload.written = end;
  return {};
}

Outcome ModelStore::commit(const Digest &digest, uint8_t *slot) {
  Upload &upload = this->upload_;
  if (!upload.active || upload.written != upload.entry.length) {
    return {ErrorCode::UPLOAD_ORDER, upload.active ? upload.written : 0};
  }
  upload.active = false;
  const Digest found = sha256(this->partition_->data() + upload.entry.offset, upload.entry.length);
  if (found != digest || !std::equal(found.begin(), found.end(), upload.entry.sha256)) {
    return {ErrorCode::UPLOAD_DIGEST};
  }
  TableEntry entries[wire::MAX_MODELS];
  std::copy(std::begin(this->table_), std::end(this->table_), entries);
  entries[upload.slot] = upload.entry;
  if (!this->write_table_(entries)) {
    return {ErrorCode::STORAGE, this->next_sector_() * wire::SECTOR_SIZE};
  }
  this->table_[upload.slot] = upload.entry;
  this->verified_[upload.slot] = true;
  *slot = upload.slot;
  return {};
}

bool ModelStore::write_table_(const TableEntry *entries) {
  const uint32_t sector = this->next_sector_();
  uint8_t table[TABLE_SIZE + CHECK_SIZE];
  RawWriter writer(table);
  TableHeader header;
  header.magic = wire::TABLE_MAGIC;
  header.version = wire::TABLE_VERSION;
  header.slots = wire::MAX_MODELS;
  header.generation = this->generation_ + 1;
  header.encode(writer);
  for (uint32_t slot = 0; slot < wire::MAX_MODELS; slot++) {
    entries[slot].encode(writer);
  }
  writer.u32(crc32(table, TABLE_SIZE));
  if (!this->partition_->erase(sector * wire::SECTOR_SIZE, wire::SECTOR_SIZE) ||
      !this->partition_->write(sector * wire::SECTOR_SIZE, table, sizeof(table))) {
    return false;
  }
  this->generation_++;
  this->table_sector_ = sector;
  return true;
}

uint32_t ModelStore::find_room_(uint32_t size, uint32_t *largest) const {
  *largest = this->room_at_(FIRST_MODEL);
  if (size == 0) {
    return 0;
  }
  if (size <= *largest) {
    return FIRST_MODEL;
  }
  for (const TableEntry &entry : this->table_) {
    const uint32_t offset = entry.offset + whole_sectors(entry.length);
    const uint32_t room = entry.length == 0 ? 0 : this->room_at_(offset);
    if (size <= room) {
      return offset;
    }
    *largest = std::max(*largest, room);
  }
  return 0;
}

uint32_t ModelStore::room_at_(uint32_t offset) const {
  uint32_t end = this->partition_->size();
  for (const TableEntry &entry : this->table_) {
    if (entry.length == 0 || entry.offset + whole_sectors(entry.length) <= offset) {
      continue;
    }
    end = std::min(end, entry.offset);
  }
  return end > offset ? end - offset : 0;
}

}  // namespace esphome::mww_harness
