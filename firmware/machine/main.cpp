// The firmware on a bare machine: the session behind the serial port, the model partition in memory.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "machine.h"
#include "machine_engines.h"
#include "session.h"

namespace esphome::mww_harness {

namespace {

constexpr uint32_t INSTRUCTIONS_PER_MS = 100000;  // awake, for heartbeats: nothing here takes a known time

// As a board has them: what it takes is what it would take there.
constexpr uint32_t PARTITION_SIZE = 0x80000;
constexpr uint16_t MAX_PAYLOAD = 1024;
constexpr uint16_t MAX_FRAMES = 4;
constexpr uint8_t WINDOW = 8;
constexpr uint16_t HEARTBEAT_MS = 500;

/// Flash in memory: what was written survives a panic.
class MemoryPartition final : public ModelPartition {
 public:
  const uint8_t *data() const override { return content; }
  uint32_t size() const override { return PARTITION_SIZE; }
  bool erase(uint32_t offset, uint32_t size) override {
    std::memset(content + offset, 0xFF, size);
    return true;
  }
  bool write(uint32_t offset, const uint8_t *data, size_t size) override {
    std::memcpy(content + offset, data, size);
    return true;
  }

 protected:
  alignas(16) static uint8_t content[PARTITION_SIZE];
};

__attribute__((section(".kept"))) alignas(16) uint8_t MemoryPartition::content[PARTITION_SIZE];

class Board final : public Platform {
 public:
  void transmit(const uint8_t *data, size_t size) override { uart_write(data, size); }
  void read_memory(wire::Stats *stats) override { stats->stack_free = stack_free(); }

  [[noreturn]] void serve() {
    while (true) {
      const bool received = this->receive_();
      const bool busy = this->session_.poll(this->milliseconds_());
      check_stack();
      if (!received && !busy) {
        this->slept_us_ += uart_wait();
      }
    }
  }

 protected:
  static wire::Welcome identity_() {
    wire::Welcome welcome;
    welcome.flags = wire::FLAG_INSTRUCTIONS;
    welcome.models = wire::MAX_MODELS;
    welcome.heartbeat_ms = HEARTBEAT_MS;
    welcome.receive_buffer = 4096;
    welcome.partition_size = PARTITION_SIZE;
    welcome.boot_id = starts();
    welcome.chip = MACHINE.chip;
    welcome.revision = MACHINE.revision;
    welcome.board = "machine";
    welcome.firmware = MWW_HARNESS_VERSION;
    welcome.engine = MachineEngines::NAME;
    welcome.runtime = MWW_TFLM_VERSION;
    welcome.kernels = MachineEngines::kernels();
    welcome.reset_reason = panicked() ? "panic" : "power on";
    return welcome;
  }

  bool receive_() {
    if (this->taken_ == this->received_) {
      this->taken_ = 0;
      this->received_ = uart_read(this->bytes_, sizeof(this->bytes_));
    }
    this->taken_ += this->session_.feed(this->bytes_ + this->taken_, this->received_ - this->taken_);
    return this->received_ > 0;
  }

  uint32_t milliseconds_() {
    const uint32_t now = instructions();
    this->counted_ += now - this->last_;
    this->last_ = now;
    return static_cast<uint32_t>(this->counted_ / INSTRUCTIONS_PER_MS + this->slept_us_ / 1000);
  }

  MemoryPartition partition_;
  MachineEngines engines_;
  ModelStore store_{&partition_};
  StaticLinkBuffers<MAX_PAYLOAD, MAX_FRAMES, WINDOW> buffers_;
  InferenceResult result_;
  Engine *pointers_[wire::MAX_MODELS]{engines_[0], engines_[1], engines_[2], engines_[3]};
  Session session_{identity_(), buffers_.view(), pointers_, &store_, this, &result_, 1};

  uint8_t bytes_[64];
  size_t taken_{0};
  size_t received_{0};
  uint64_t counted_{0};
  uint64_t slept_us_{0};
  uint32_t last_{0};
};

}  // namespace

}  // namespace esphome::mww_harness

void mww_machine_main() {
  static esphome::mww_harness::Board board;
  board.serve();
}
