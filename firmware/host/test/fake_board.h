#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "session.h"

namespace esphome::mww_harness {

/// A partition in memory that refuses to write what is not erased, and fails when asked to.
class FakePartition final : public ModelPartition {
 public:
  explicit FakePartition(uint32_t size) : bytes(size, 0xFF) {}

  const uint8_t *data() const override { return this->bytes.data(); }
  uint32_t size() const override { return static_cast<uint32_t>(this->bytes.size()); }
  bool erase(uint32_t offset, uint32_t size) override {
    if (offset % wire::SECTOR_SIZE != 0 || size % wire::SECTOR_SIZE != 0) {
      std::abort();
    }
    uint8_t *to = this->at_(offset, size);
    if (this->fails_()) {
      return false;
    }
    std::memset(to, 0xFF, size);
    return true;
  }
  bool write(uint32_t offset, const uint8_t *data, size_t size) override {
    uint8_t *to = this->at_(offset, size);
    for (size_t i = 0; i < size; i++) {
      if (to[i] != 0xFF) {
        std::abort();
      }
    }
    const bool fails = this->fails_();
    std::memcpy(to, data, fails ? size / 2 : size);  // when the power goes, part of it is written
    return !fails;
  }

  std::vector<uint8_t> bytes;
  int operations_left{-1};  // until one fails; negative for never
  bool failed{false};

 protected:
  uint8_t *at_(size_t offset, size_t size) {
    if (offset > this->bytes.size() || size > this->bytes.size() - offset) {
      std::abort();
    }
    return this->bytes.data() + offset;
  }
  bool fails_() {
    if (this->operations_left > 0) {
      this->operations_left--;
      return false;
    }
    this->failed = this->failed || this->operations_left == 0;
    return this->operations_left == 0;
  }
};

/// An engine whose output is the sum of all bytes since the reset; a model's first byte is its stride.
class FakeEngine final : public Engine {
 public:
  Outcome load(const StoredModel &model, bool /*any_output*/, wire::Model *facts) override {
    if (model.data[0] == 0xEE) {
      return {wire::ErrorCode::MODEL_OPERATOR, 42, "NOPE"};
    }
    this->opened = model;
    this->stride = facts->stride = model.data[0];
    this->loaded = true;
    this->sum = 0;
    facts->outputs = 1;
    return {};
  }
  void unload() override {
    if (!this->loaded) {
      std::abort();
    }
    this->loaded = false;
  }
  Outcome reset() override {
    this->sum = 0;
    return {};
  }
  Outcome infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) override {
    const size_t size = this->stride * 40u;
    for (size_t i = 0; i < count * size; i++) {
      this->sum = static_cast<uint8_t>(this->sum + static_cast<uint8_t>(frames[i]));
      if ((i + 1) % size == 0) {
        results[i / size] = {7, this->sum};
      }
    }
    this->inferences += count;
    this->ops = profile ? 30 : this->ops;
    return this->inferences > this->fail_after ? Outcome{wire::ErrorCode::INFERENCE_FAILED, 0, "broken"} : Outcome();
  }
  int8_t *frame() override { return this->frame_; }
  ByteView output(uint8_t index) override {
    return index == 0 ? ByteView{this->tensor, sizeof(this->tensor)} : ByteView();
  }
  uint16_t profiled_ops() override { return this->ops; }
  wire::OpTime profiled_op(uint16_t index) override {
    wire::OpTime time;
    time.microseconds = index;
    return time;
  }

  size_t inferences{0};
  size_t fail_after{SIZE_MAX};
  uint8_t tensor[700]{};
  StoredModel opened;
  uint8_t stride{0};
  uint8_t sum{0};
  uint16_t ops{0};
  bool loaded{false};

 protected:
  int8_t frame_[255 * FEATURES]{};
};

/// A front-end with a slice each 16 * step_ms samples, once a window of three is full; every feature of a slice is the
/// sum of its samples since the beginning, so that none can be lost or come twice.
class FakeFrontend final : public Frontend {
 public:
  Outcome start(uint8_t step_ms) override {
    if (step_ms == 0 || step_ms > 30) {
      return {wire::ErrorCode::FRONTEND, step_ms, "no such step"};
    }
    this->step = step_ms * 16u;
    this->waiting = 0;
    this->sum = 0;
    this->started++;
    return {};
  }
  void stop() override { this->step = 0; }
  size_t process(const int16_t *samples, size_t count, uint16_t *features, bool *made) override {
    if (this->step == 0 || count == 0) {
      std::abort();
    }
    const size_t taken = std::min(count, 3 * this->step - this->waiting);
    for (size_t i = 0; i < taken; i++) {
      this->sum = static_cast<uint16_t>(this->sum + samples[i]);
    }
    this->waiting += taken;
    *made = this->waiting == 3 * this->step;
    if (*made) {
      this->waiting -= this->step;
      std::fill_n(features, FEATURES, this->sum % 700);
    }
    return taken;
  }

  size_t step{0};
  size_t waiting{0};
  int started{0};
  uint16_t sum{0};
};

/// A microphone that hears what a test says.
class FakeMicrophone final : public BoardMicrophone {
 public:
  Outcome start() override {
    this->heard.clear();
    this->on = true;
    return this->broken ? Outcome{wire::ErrorCode::NO_MEMORY, 1, ""} : Outcome();
  }
  void stop() override { this->on = false; }
  uint8_t *memory() override { return this->memory_.data(); }
  size_t read(int16_t *samples, size_t count) override {
    const size_t taken = std::min(count, this->heard.size());
    std::copy_n(this->heard.begin(), taken, samples);
    this->heard.erase(this->heard.begin(), this->heard.begin() + static_cast<std::ptrdiff_t>(taken));
    return taken;
  }
  uint32_t lost() const override { return 5; }

  std::vector<int16_t> heard;
  bool on{false};
  bool broken{false};

 protected:
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(Recording::SIZE);
};

/// A board with everything around the session faked; the frames it sends are kept.
class FakeBoard final : public Platform {
 public:
  static constexpr uint16_t MAX_PAYLOAD = 512;
  static constexpr uint16_t MAX_FRAMES = 4;
  static constexpr uint8_t WINDOW = 4;
  static constexpr uint32_t PARTITION_SIZE = 16 * wire::SECTOR_SIZE;

  FakeBoard() : FakeBoard(std::vector<uint8_t>(PARTITION_SIZE, 0xFF)) {}
  /// A board that boots with this in its partition.
  explicit FakeBoard(const std::vector<uint8_t> &flash) { this->partition.bytes = flash; }

  void transmit(const uint8_t *data, size_t size) override { this->sent.emplace_back(data, data + size); }
  void read_memory(wire::Stats *stats) override { stats->heap_free = 1234; }

  /// Hands bytes over as a UART would, and works until nothing is left to do.
  void feed(const uint8_t *data, size_t size) {
    size_t taken = 0;
    do {
      taken += this->session().feed(data + taken, size - taken);
    } while (this->session().poll(this->now) || taken < size);
  }

  template<typename Message> void send(uint16_t sequence, const Message &message) {
    std::vector<uint8_t> frame(wire_size(MAX_PAYLOAD));
    FrameWriter writer(frame.data(), frame.size());
    writer.begin(Message::TYPE, sequence);
    message.encode(writer);
    this->feed(frame.data(), writer.end());
  }

  /// Parses the last frame that was sent as `Message`; false if it is another one.
  template<typename Message> bool last(Message *message, uint16_t *sequence = nullptr) {
    FrameDecoder decoder(this->decoded_, sizeof(this->decoded_));
    for (const uint8_t byte : this->sent.back()) {
      if (decoder.push(byte) != FrameDecoder::Event::FRAME) {
        continue;
      }
      const Frame &frame = decoder.frame();
      WireReader reader(frame.payload.data, frame.payload.size);
      if (sequence != nullptr) {
        *sequence = frame.sequence;
      }
      return frame.type == Message::TYPE && message->decode(reader);
    }
    return false;
  }

  ModelStore &store() { return this->boot_().store; }
  Session &session() { return this->boot_().session; }

  FakePartition partition{PARTITION_SIZE};
  FakeEngine engines[wire::MAX_MODELS];
  FakeFrontend frontend;
  FakeMicrophone microphone;
  std::vector<std::vector<uint8_t>> sent;
  uint32_t now{0};

 protected:
  struct Boot {
    explicit Boot(FakeBoard *board)
        : store(&board->partition),
          session(identity(), board->buffers_.view(), board->pointers_, &store, board, &board->result_, 1,
                  &board->frontend, &board->microphone) {}

    ModelStore store;
    Session session;
  };

  Boot &boot_() {
    if (this->booted_ == nullptr) {
      this->booted_ = std::make_unique<Boot>(this);
    }
    return *this->booted_;
  }

  static wire::Welcome identity() {
    wire::Welcome welcome;
    welcome.models = wire::MAX_MODELS;
    welcome.boot_id = 99;
    welcome.heartbeat_ms = 100;
    welcome.chip = "esp32s3";
    return welcome;
  }

  StaticLinkBuffers<MAX_PAYLOAD, MAX_FRAMES, WINDOW> buffers_;
  Engine *pointers_[wire::MAX_MODELS]{&engines[0], &engines[1], &engines[2], &engines[3]};
  InferenceResult result_;
  uint8_t decoded_[1024];
  std::unique_ptr<Boot> booted_;
};

}  // namespace esphome::mww_harness
