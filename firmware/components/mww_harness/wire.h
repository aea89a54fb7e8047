#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace esphome::mww_harness {

/// Bytes with another owner.
struct ByteView {
  const uint8_t *data{nullptr};
  size_t size{0};
};

/// CRC32 as zlib computes it, continued from `crc`.
uint32_t crc32(const uint8_t *data, size_t size, uint32_t crc = 0);

static constexpr size_t HEAD_SIZE = 3;   // type, sequence
static constexpr size_t CHECK_SIZE = 4;  // CRC32

/// Bytes of a frame with `payload` bytes, as the decoder holds it.
constexpr size_t raw_size(size_t payload) { return HEAD_SIZE + payload + CHECK_SIZE; }

/// The most bytes that such a frame takes on the wire, with its zeros.
constexpr size_t wire_size(size_t payload) {
  const size_t body = raw_size(payload);
  return body + body / 254 + 3;  // COBS and two zeros
}

/// Parses a payload, little endian. Reading past the end gives zeros and makes finish() fail.
class WireReader {
 public:
  WireReader(const uint8_t *data, size_t size) : next_(data), left_(size) {}

  uint8_t u8() { return static_cast<uint8_t>(this->number_(1)); }
  uint16_t u16() { return static_cast<uint16_t>(this->number_(2)); }
  uint32_t u32() { return this->number_(4); }
  int32_t i32() { return static_cast<int32_t>(this->number_(4)); }
  float f32();
  void bytes(uint8_t *to, size_t size);
  std::string_view text();
  /// The rest of the payload, which must be whole rows of `row` bytes.
  ByteView tail(size_t row);

  /// Whether all fields were complete, and no bytes remain.
  bool finish() const { return this->whole_ && this->left_ == 0; }

 protected:
  const uint8_t *take_(size_t size);
  uint32_t number_(size_t size);

  const uint8_t *next_;
  size_t left_;
  bool whole_{true};
};

/// Takes a layout's fields, little endian.
class WireWriter {
 public:
  virtual void bytes(const uint8_t *data, size_t size) = 0;

  void u8(uint8_t value) { this->bytes(&value, 1); }
  void u16(uint16_t value) { this->number_(value, 2); }
  void u32(uint32_t value) { this->number_(value, 4); }
  void i32(int32_t value) { this->number_(static_cast<uint32_t>(value), 4); }
  void f32(float value);
  /// Cut at 255 bytes.
  void text(std::string_view text);

 protected:
  ~WireWriter() = default;
  void number_(uint32_t value, size_t size);
};

/// Writes plain fields into a buffer that is large enough.
class RawWriter final : public WireWriter {
 public:
  explicit RawWriter(uint8_t *buffer) : start_(buffer), next_(buffer) {}

  void bytes(const uint8_t *data, size_t size) override {
    std::memcpy(this->next_, data, size);
    this->next_ += size;
  }
  size_t size() const { return static_cast<size_t>(this->next_ - this->start_); }

 protected:
  const uint8_t *start_;
  uint8_t *next_;
};

/// Builds a frame and encodes it at once, so that it needs only its final buffer.
class FrameWriter final : public WireWriter {
 public:
  FrameWriter() = default;
  FrameWriter(uint8_t *buffer, size_t capacity) : buffer_(buffer), capacity_(capacity) {}

  /// Starts a new frame.
  void begin(uint8_t type, uint16_t sequence);
  void bytes(const uint8_t *data, size_t size) override;
  /// Adds the checksum and the closing zero; returns the frame's size on the wire, or 0 if it did not fit.
  size_t end();

 protected:
  void encode_(uint8_t byte);
  void put_(uint8_t byte);

  uint8_t *buffer_{nullptr};
  size_t capacity_{0};
  size_t size_{0};
  size_t group_{0};  // position of the open COBS group's length
  uint8_t length_{1};
  uint32_t crc_{0};
};

/// A complete frame; `payload` lies in the decoder's buffer until its next byte.
struct Frame {
  uint8_t type{0};
  uint16_t sequence{0};
  ByteView payload;
};

/// Splits a byte stream into frames and decodes them.
class FrameDecoder {
 public:
  enum class Event : uint8_t { NONE, FRAME, REJECTED };

  FrameDecoder(uint8_t *buffer, size_t capacity) : buffer_(buffer), capacity_(capacity) {}

  /// Takes a byte; after FRAME, `frame()` is the completed frame.
  Event push(uint8_t byte);
  const Frame &frame() const { return this->frame_; }

 protected:
  Event finish_();
  void append_(uint8_t byte);

  uint8_t *buffer_;
  size_t capacity_;
  size_t size_{0};
  Frame frame_;
  uint8_t left_{0};           // bytes left of the open COBS group
  bool zero_follows_{false};  // a zero stands between this group and the next
  bool started_{false};
  bool overflow_{false};
};

}  // namespace esphome::mww_harness
