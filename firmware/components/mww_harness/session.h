#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "board_microphone.h"
#include "ear.h"
#include "engine.h"
#include "link.h"
#include "messages.h"
#include "model_slot.h"
#include "model_store.h"
#include "recording.h"

namespace esphome::mww_harness {

/// The services that a session needs from the board.
class Platform : public Transmitter {
 public:
  /// Fills in the memory fields, which are UNKNOWN by default.
  virtual void read_memory(wire::Stats *stats) = 0;
};

/// Processes the host's requests: opens models, advances them, replaces them. Models and their engines are one to
/// a slot.
class Session final : public RequestHandler {
 public:
  /// `engines` has one for each of the `identity.models` slots. `results` has room for one call of Engine::infer, which
  /// on a chip takes one frame. Without a `frontend` the board takes no sound; a `microphone` needs it.
  Session(const wire::Welcome &identity, const LinkBuffers &buffers, Engine *const *engines, ModelStore *store,
          Platform *platform, InferenceResult *results, size_t batch, Frontend *frontend = nullptr,
          BoardMicrophone *microphone = nullptr);

  /// Takes bytes from the host; returns how many. The rest must wait for the next poll.
  size_t feed(const uint8_t *data, size_t size) { return this->link_.feed(data, size); }
  /// Does the next piece of work, at most one inference of each model. Returns whether more work waits.
  bool poll(uint32_t now_ms);
  /// Whether the host was heard recently: then poll often.
  bool active() const { return this->link_.active(); }
  /// Sends the host a line.
  void log(uint8_t level, std::string_view text) { this->link_.log(level, text); }
  /// Unloads every model.
  void close_models();

  void on_session() override { this->close_models(); }
  void on_request(uint8_t type, WireReader &payload, Reply &reply) override;

 protected:
  /// The Infer in progress.
  struct Job {
    Reply *reply{nullptr};  // null without one
    FrameWriter *answer{nullptr};
    ModelSlot *slot{nullptr};
    const int8_t *frames{nullptr};
    size_t count{0};
    size_t done{0};
    bool profile{false};
  };
  /// The Hear in progress.
  struct Hearing {
    Reply *reply{nullptr};  // null without one
    FrameWriter *answer{nullptr};
    ByteView samples;  // not processed yet
    size_t slices{0};
  };

  /// Handles a request: each has a specialisation in session.cpp.
  template<typename Request> void handle_(const Request &request, Reply &reply);

  void step_();
  void hear_();
  bool overhear_();
  void end_sound_();
  void close_(uint8_t index);
  ModelSlot *slot_(uint8_t index, Reply &reply);
  ModelSlot *open_slot_(uint8_t index, Reply &reply);
  wire::Model describe_(uint8_t index);

  ModelStore *store_;
  Platform *platform_;
  BoardMicrophone *microphone_;
  InferenceResult *results_;
  size_t batch_;
  size_t max_frames_;
  size_t max_slices_;
  uint8_t models_;
  ModelSlot slots_[wire::MAX_MODELS];
  Ear ear_;
  Job job_;
  Hearing hearing_;
  Recording recording_;
  Outcome overheard_;  // why the models of the microphone's stream stopped
  Link link_;
};

}  // namespace esphome::mww_harness
