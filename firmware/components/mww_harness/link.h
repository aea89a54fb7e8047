#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "messages.h"
#include "wire.h"

namespace esphome::mww_harness {

/// Bytes of the samples of ESPHome's step, 10 ms.
static constexpr size_t STEP_SIZE = 160 * sizeof(int16_t);

/// Slices that the samples of one Hear may complete: a payload of ESPHome's steps, and one begun before it.
constexpr size_t max_slices(size_t max_payload) { return max_payload / STEP_SIZE + 1; }

/// Payload of the largest answer that is remembered: an Error with a line of text, a Model, Outputs, or Heard where
/// every model infers with each slice.
constexpr size_t remembered_payload(size_t max_payload, size_t max_frames) {
  constexpr size_t least = 128;
  constexpr size_t slice = wire::FEATURES + 1 + wire::MAX_MODELS * wire::Sample::FIXED_SIZE;
  const size_t outputs = wire::Outputs::FIXED_SIZE + max_frames * wire::Sample::FIXED_SIZE;
  const size_t heard = wire::Heard::FIXED_SIZE + max_slices(max_payload) * slice;
  const size_t most = outputs > heard ? outputs : heard;
  return most > least ? most : least;
}

/// A sent answer: its frame, or nothing for a request that may be processed again.
struct Answer {
  uint8_t *frame{nullptr};
  size_t size{0};
};

/// The memory of a link, which never allocates.
struct LinkBuffers {
  uint8_t *receive;     // raw_size(max_payload) bytes
  uint8_t *transmit;    // wire_size(max_payload) bytes
  uint8_t *remembered;  // window * wire_size(remembered_payload(max_payload, max_frames)) bytes
  Answer *answers;      // window
  uint16_t max_payload;
  uint16_t max_frames;
  uint8_t window;

  size_t remembered_payload() const { return mww_harness::remembered_payload(this->max_payload, this->max_frames); }
};

template<uint16_t MAX_PAYLOAD, uint16_t MAX_FRAMES, uint8_t WINDOW> class StaticLinkBuffers {
 public:
  LinkBuffers view() {
    return {this->receive_, this->transmit_, this->remembered_, this->answers_, MAX_PAYLOAD, MAX_FRAMES, WINDOW};
  }

 protected:
  uint8_t receive_[raw_size(MAX_PAYLOAD)];
  uint8_t transmit_[wire_size(MAX_PAYLOAD)];
  uint8_t remembered_[WINDOW * wire_size(remembered_payload(MAX_PAYLOAD, MAX_FRAMES))];
  Answer answers_[WINDOW];
};

/// The way of frames out of the board.
class Transmitter {
 public:
  virtual ~Transmitter() = default;
  /// Sends a complete frame.
  virtual void transmit(const uint8_t *data, size_t size) = 0;
};

class Link;

/// The answer to the current request: exactly one of its functions finishes it, now or in a later poll.
class Reply {
 public:
  explicit Reply(Link *link) : link_(link) {}

  template<typename Message> void send(const Message &message) {
    message.encode(this->begin(Message::TYPE));
    this->finish();
  }
  void error(wire::ErrorCode code, uint32_t detail = 0, std::string_view text = {});
  /// For answers that are made in pieces; a second call starts again.
  FrameWriter &begin(uint8_t type);
  void finish();
  /// The largest payload of an answer.
  size_t room() const;

 protected:
  Link *link_;
};

/// Handles the requests of a session.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  /// A session starts or has ended: the state of the last session is invalid.
  virtual void on_session() = 0;
  /// The next request of the session. `payload` stays until the reply is finished.
  virtual void on_request(uint8_t type, WireReader &payload, Reply &reply) = 0;
};

/// The board's end of the link: passes each request on exactly once and in order, answers repeated ones from memory,
/// refuses those that follow a gap. The rules are in docs/firmware-core.md.
class Link {
 public:
  /// `identity` is a Welcome with all fields that do not depend on buffers or session.
  Link(const wire::Welcome &identity, const LinkBuffers &buffers, Transmitter *transmitter, RequestHandler *handler);
  Link(const Link &) = delete;
  Link &operator=(const Link &) = delete;

  /// Takes bytes up to the end of a frame, and none while a request is in progress; returns how many.
  size_t feed(const uint8_t *data, size_t size);
  /// Passes on the request that feed() completed, and sends a Heartbeat when it is due.
  void poll(uint32_t now_ms);
  /// Whether a request waits for poll(), or for its answer.
  bool busy() const { return this->received_ || this->answering_; }
  /// Whether the host was heard recently.
  bool active() const;
  /// Sends the host a line.
  void log(uint8_t level, std::string_view text);

  /// Counters of this boot; memory fields are not the link's.
  wire::Stats &stats() { return this->stats_; }

 protected:
  friend class Reply;

  void handle_(const Frame &frame);
  void hello_(const Frame &frame);
  void carry_out_(const Frame &frame, Answer *answer);
  void repeat_(const Frame &frame, size_t back);
  void beat_();
  template<typename Message> void send_(const Message &message, uint16_t sequence);

  wire::Welcome identity_;
  LinkBuffers buffers_;
  Transmitter *transmitter_;
  RequestHandler *handler_;
  FrameDecoder decoder_;
  Reply reply_{this};
  FrameWriter writer_;
  wire::Stats stats_;
  Answer *answer_{nullptr};  // storage of the current answer; null if it may be made again
  uint32_t now_{0};
  uint32_t last_heard_{0};
  uint32_t last_beat_{0};
  uint16_t expected_{0};  // sequence number of the next request
  uint16_t answering_to_{0};
  uint8_t next_answer_{0};  // where its answer will be stored
  bool booted_{false};
  bool session_{false};
  bool received_{false};
  bool answering_{false};
};

}  // namespace esphome::mww_harness
