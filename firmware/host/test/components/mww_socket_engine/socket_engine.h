#pragma once

#ifdef USE_HOST

#include <cstdint>
#include <vector>

#include "esphome/components/mww_harness/sound_frontend.h"

namespace esphome::mww_harness {

/// What stands in for interpreter and front-end where ESPHome runs on a computer, for tests: a process at the other end
/// of the Unix socket that MWW_HARNESS_ENGINE names, with a connection for each. A request is `u8 what, u32 size,
/// payload`, its answer `u16 error code, u32 size, payload`, all little endian.
class EngineSocket {
 public:
  enum class Request : uint8_t { LOAD, RESET, INFER, OUTPUT, PROFILE, START, PROCESS };

  ~EngineSocket() { this->close(); }

  /// Whether there is a connection now.
  bool connect();
  void close();
  /// Sends a request and waits for its answer, whose payload `answer` then holds.
  Outcome ask(Request what, const std::vector<uint8_t> &payload);

  std::vector<uint8_t> answer;

 protected:
  bool send_(const uint8_t *data, size_t size);
  bool receive_(uint8_t *data, size_t size);

  int socket_{-1};
};

/// An interpreter there.
class SocketEngine final : public Engine {
 public:
  Outcome load(const StoredModel &model, bool any_output, wire::Model *facts) override;
  void unload() override;
  Outcome reset() override;
  Outcome infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) override;
  int8_t *frame() override { return this->frame_.data(); }
  ByteView output(uint8_t index) override;
  uint16_t profiled_ops() override { return static_cast<uint16_t>(this->profile_.size()); }
  wire::OpTime profiled_op(uint16_t index) override { return this->profile_[index]; }

 protected:
  Outcome read_profile_();

  EngineSocket socket_;
  std::vector<int8_t> frame_;
  std::vector<wire::OpTime> profile_;
};

/// A front-end there.
class SocketFrontend final : public Frontend {
 public:
  Outcome start(uint8_t step_ms) override;
  void stop() override { this->socket_.close(); }
  size_t process(const int16_t *samples, size_t count, uint16_t *features, bool *made) override;

 protected:
  EngineSocket socket_;
};

/// One for each model slot, and a front-end.
class BoardEngines final {
 public:
  void setup() {}
  Engine *operator[](size_t slot) { return &this->engines_[slot]; }
  Frontend *frontend() { return &this->frontend_; }

 protected:
  SocketEngine engines_[wire::MAX_MODELS];
  SocketFrontend frontend_;
};

}  // namespace esphome::mww_harness

#endif  // USE_HOST
