#pragma once

#ifdef USE_HOST

#include <cstdint>
#include <vector>

#include "esphome/components/mww_harness/engine.h"

namespace esphome::mww_harness {

/// Stands in for the interpreter where ESPHome runs on a computer, for tests: asks a process at the other end of the Unix socket
/// that MWW_HARNESS_ENGINE names, with one connection for each model. A request is `u8 what, u32 size, payload`, its
/// answer `u16 error code, u32 size, payload`, all little endian.
class SocketEngine final : public Engine {
 public:
  ~SocketEngine() override { this->unload(); }

  Outcome load(const StoredModel &model, bool any_output, wire::Model *facts) override;
  void unload() override;
  Outcome reset() override;
  Outcome infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) override;
  ByteView output(uint8_t index) override;
  uint16_t profiled_ops() override { return static_cast<uint16_t>(this->profile_.size()); }
  wire::OpTime profiled_op(uint16_t index) override { return this->profile_[index]; }

 protected:
  enum class Request : uint8_t { LOAD, RESET, INFER, OUTPUT, PROFILE };

  bool connect_();
  /// Sends a request and waits for its answer, whose payload `answer_` then holds.
  Outcome ask_(Request what, const std::vector<uint8_t> &payload);
  bool send_(const uint8_t *data, size_t size);
  bool receive_(uint8_t *data, size_t size);
  Outcome read_profile_();

  int socket_{-1};
  size_t frame_size_{0};
  std::vector<uint8_t> answer_;
  std::vector<wire::OpTime> profile_;
};

/// One for each model slot.
class BoardEngines final {
 public:
  void setup() {}
  Engine *operator[](size_t slot) { return &this->engines_[slot]; }

 protected:
  SocketEngine engines_[wire::MAX_MODELS];
};

}  // namespace esphome::mww_harness

#endif  // USE_HOST
