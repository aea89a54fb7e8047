#include "wire.h"

#include <algorithm>
#include <array>

namespace esphome::mww_harness {

static constexpr uint8_t FULL_GROUP = 0xFF;  // 254 bytes without a zero, and none after them

static constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); i++) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; bit++) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
    }
    table[i] = crc;
  }
  return table;
}

static constexpr std::array<uint32_t, 256> CRC_TABLE = make_crc_table();

uint32_t crc32(const uint8_t *data, size_t size, uint32_t crc) {
  crc = ~crc;
  for (size_t i = 0; i < size; i++) {
    crc = (crc >> 8) ^ CRC_TABLE[(crc ^ data[i]) & 0xFF];
  }
  return ~crc;
}

// --- WireReader ---

const uint8_t *WireReader::take_(size_t size) {
  if (!this->whole_ || size > this->left_) {
    this->whole_ = false;
    return nullptr;
  }
  const uint8_t *taken = this->next_;
  this->next_ += size;
  this->left_ -= size;
  return taken;
}

uint32_t WireReader::number_(size_t size) {
  const uint8_t *data = this->take_(size);
  uint32_t value = 0;
  for (size_t i = 0; data != nullptr && i < size; i++) {
    value |= static_cast<uint32_t>(data[i]) << (8 * i);
  }
  return value;
}

float WireReader::f32() {
  const uint32_t bits = this->u32();
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

void WireReader::bytes(uint8_t *to, size_t size) {
  const uint8_t *data = this->take_(size);
  if (data != nullptr) {
    std::memcpy(to, data, size);
  } else {
    std::memset(to, 0, size);
  }
}

std::string_view WireReader::text() {
  const size_t size = this->u8();
  const uint8_t *data = this->take_(size);
  return data == nullptr ? std::string_view() : std::string_view(reinterpret_cast<const char *>(data), size);
}

ByteView WireReader::tail(size_t row) {
  const size_t size = this->left_;
  if (size % row != 0) {
    this->whole_ = false;
  }
  const uint8_t *data = this->take_(size);
  return data == nullptr ? ByteView() : ByteView{data, size};
}

// --- WireWriter ---

void WireWriter::f32(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  this->u32(bits);
}

void WireWriter::text(std::string_view text) {
  const size_t size = std::min<size_t>(text.size(), 255);
  this->u8(static_cast<uint8_t>(size));
  this->bytes(reinterpret_cast<const uint8_t *>(text.data()), size);
}

void WireWriter::number_(uint32_t value, size_t size) {
  uint8_t data[4];
  for (size_t i = 0; i < size; i++) {
    data[i] = static_cast<uint8_t>(value >> (8 * i));
  }
  this->bytes(data, size);
}

// --- FrameWriter ---

void FrameWriter::begin(uint8_t type, uint16_t sequence) {
  this->size_ = 0;
  this->crc_ = 0;
  this->length_ = 1;
  this->put_(0);
  this->group_ = this->size_;
  this->put_(0);
  this->u8(type);
  this->u16(sequence);
}

size_t FrameWriter::end() {
  this->number_(this->crc_, CHECK_SIZE);
  if (this->group_ < this->capacity_) {
    this->buffer_[this->group_] = this->length_;
  }
  this->put_(0);
  return this->size_ <= this->capacity_ ? this->size_ : 0;
}

void FrameWriter::bytes(const uint8_t *data, size_t size) {
  this->crc_ = crc32(data, size, this->crc_);
  for (size_t i = 0; i < size; i++) {
    this->encode_(data[i]);
  }
}

void FrameWriter::encode_(uint8_t byte) {
  if (byte != 0 && this->length_ < FULL_GROUP) {
    this->put_(byte);
    this->length_++;
    return;
  }
  if (this->group_ < this->capacity_) {
    this->buffer_[this->group_] = this->length_;
  }
  const bool full = this->length_ == FULL_GROUP;
  this->group_ = this->size_;
  this->length_ = 1;
  this->put_(0);
  if (full) {
    this->encode_(byte);  // a full group stands for no zero, so the byte opens the next one
  }
}

void FrameWriter::put_(uint8_t byte) {
  if (this->size_ < this->capacity_) {
    this->buffer_[this->size_] = byte;
  }
  this->size_++;
}

// --- FrameDecoder ---

FrameDecoder::Event FrameDecoder::push(uint8_t byte) {
  if (byte == 0) {
    return this->finish_();
  }
  this->started_ = true;
  if (this->left_ > 0) {
    this->append_(byte);
    this->left_--;
    return Event::NONE;
  }
  if (this->zero_follows_) {
    this->append_(0);
  }
  this->left_ = static_cast<uint8_t>(byte - 1);
  this->zero_follows_ = byte != FULL_GROUP;
  return Event::NONE;
}

FrameDecoder::Event FrameDecoder::finish_() {
  const bool empty = !this->started_;
  const bool whole = this->left_ == 0 && !this->overflow_ && this->size_ >= raw_size(0);
  const size_t size = this->size_;
  this->size_ = 0;
  this->left_ = 0;
  this->zero_follows_ = false;
  this->started_ = false;
  this->overflow_ = false;
  if (empty) {
    return Event::NONE;
  }
  if (!whole) {
    return Event::REJECTED;
  }
  const size_t checked = size - CHECK_SIZE;
  WireReader check(this->buffer_ + checked, CHECK_SIZE);
  if (check.u32() != crc32(this->buffer_, checked)) {
    return Event::REJECTED;
  }
  WireReader head(this->buffer_, HEAD_SIZE);
  this->frame_.type = head.u8();
  this->frame_.sequence = head.u16();
  this->frame_.payload = {this->buffer_ + HEAD_SIZE, checked - HEAD_SIZE};
  return Event::FRAME;
}

void FrameDecoder::append_(uint8_t byte) {
  if (this->size_ == this->capacity_) {
    this->overflow_ = true;
    return;
  }
  this->buffer_[this->size_++] = byte;
}

}  // namespace esphome::mww_harness
