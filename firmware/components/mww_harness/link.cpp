#include "link.h"

#include <algorithm>

namespace esphome::mww_harness {

using wire::ErrorCode;

static constexpr uint32_t ACTIVE_MS = 5000;  // a host that waits repeats its request far more often
static constexpr size_t SHORT_FRAME = wire_size(wire::Error::FIXED_SIZE + 1 + 255);
static constexpr size_t ERROR_TEXT = 96;  // fits a stored answer

// --- Reply ---

FrameWriter &Reply::begin(uint8_t type) {
  Link &link = *this->link_;
  if (link.answer_ != nullptr) {
    link.writer_ = FrameWriter(link.answer_->frame, wire_size(link.buffers_.remembered_payload()));
  } else {
    link.writer_ = FrameWriter(link.buffers_.transmit, wire_size(link.buffers_.max_payload));
  }
  link.writer_.begin(type, link.answering_to_);
  return link.writer_;
}

void Reply::finish() {
  Link &link = *this->link_;
  const size_t size = link.writer_.end();
  link.answering_ = false;
  if (link.answer_ != nullptr) {
    link.answer_->size = size;
    link.transmitter_->transmit(link.answer_->frame, size);
  } else {
    link.transmitter_->transmit(link.buffers_.transmit, size);
  }
}

void Reply::error(ErrorCode code, uint32_t detail, std::string_view text) {
  wire::Error message;
  message.code = static_cast<uint16_t>(code);
  message.detail = detail;
  message.text = text.substr(0, ERROR_TEXT);
  this->send(message);
}

size_t Reply::room() const {
  const LinkBuffers &buffers = this->link_->buffers_;
  return this->link_->answer_ != nullptr ? buffers.remembered_payload() : buffers.max_payload;
}

// --- Link ---

Link::Link(const wire::Welcome &identity, const LinkBuffers &buffers, Transmitter *transmitter, RequestHandler *handler)
    : identity_(identity),
      buffers_(buffers),
      transmitter_(transmitter),
      handler_(handler),
      decoder_(buffers.receive, raw_size(buffers.max_payload)) {
  this->identity_.protocol = wire::PROTOCOL_VERSION;
  this->identity_.window = buffers.window;
  this->identity_.max_payload = buffers.max_payload;
  this->identity_.max_frames = buffers.max_frames;
  const size_t each = wire_size(buffers.remembered_payload());
  for (size_t i = 0; i < buffers.window; i++) {
    buffers.answers[i].frame = buffers.remembered + i * each;
  }
}

size_t Link::feed(const uint8_t *data, size_t size) {
  size_t taken = 0;
  while (taken < size && !this->busy()) {
    switch (this->decoder_.push(data[taken++])) {
      case FrameDecoder::Event::FRAME:
        this->stats_.frames_received++;
        this->received_ = true;
        break;
      case FrameDecoder::Event::REJECTED:
        this->stats_.frames_rejected++;
        break;
      case FrameDecoder::Event::NONE:
        break;
    }
  }
  return taken;
}

void Link::poll(uint32_t now_ms) {
  this->now_ = now_ms;
  this->stats_.uptime_ms = now_ms;
  if (!this->booted_) {
    this->booted_ = true;
    this->beat_();
  }
  if (this->received_) {
    this->received_ = false;
    this->last_heard_ = now_ms;
    this->handle_(this->decoder_.frame());
  }
  if (this->active() && now_ms - this->last_beat_ >= this->identity_.heartbeat_ms) {
    this->beat_();
  }
}

bool Link::active() const { return this->session_ && (this->busy() || this->now_ - this->last_heard_ < ACTIVE_MS); }

void Link::log(uint8_t level, std::string_view text) {
  wire::Log message;
  message.level = level;
  message.text = text;
  this->send_(message, 0);
}

void Link::handle_(const Frame &frame) {
  if (frame.type == wire::Hello::TYPE) {
    this->hello_(frame);
    return;
  }
  if (!this->session_) {
    wire::Error error;
    error.code = static_cast<uint16_t>(ErrorCode::NO_SESSION);
    error.detail = this->identity_.boot_id;
    this->send_(error, frame.sequence);
    return;
  }
  const uint16_t ahead = static_cast<uint16_t>(frame.sequence - this->expected_);
  const uint16_t back = static_cast<uint16_t>(this->expected_ - frame.sequence);
  if (ahead == 0) {
    Answer *answer = &this->buffers_.answers[this->next_answer_];
    answer->size = 0;
    this->next_answer_ = static_cast<uint8_t>((this->next_answer_ + 1) % this->buffers_.window);
    this->expected_++;
    this->carry_out_(frame, wire::is_repeatable(frame.type) ? nullptr : answer);
  } else if (back <= this->buffers_.window) {
    this->repeat_(frame, back);
  } else if (ahead < 0x8000) {
    this->stats_.gaps++;
    wire::Gap gap;
    gap.expected = this->expected_;
    this->send_(gap, frame.sequence);
  }
}

void Link::hello_(const Frame &frame) {
  wire::Hello hello;
  WireReader payload(frame.payload.data, frame.payload.size);
  if (!hello.decode(payload)) {
    return;  // every version's Hello has this length
  }
  if (hello.protocol_min > wire::PROTOCOL_VERSION || hello.protocol_max < wire::PROTOCOL_VERSION) {
    wire::Error error;
    error.code = static_cast<uint16_t>(ErrorCode::VERSION_MISMATCH);
    error.detail = wire::PROTOCOL_VERSION * 256u + wire::PROTOCOL_VERSION;
    this->send_(error, frame.sequence);
    return;
  }
  if (!this->session_ || hello.nonce != this->identity_.nonce) {
    this->session_ = true;
    this->identity_.nonce = hello.nonce;
    this->expected_ = static_cast<uint16_t>(frame.sequence + 1);
    for (size_t i = 0; i < this->buffers_.window; i++) {
      this->buffers_.answers[i].size = 0;
    }
    this->handler_->on_session();
  }
  this->answering_to_ = frame.sequence;
  this->answer_ = nullptr;
  this->reply_.send(this->identity_);
}

void Link::carry_out_(const Frame &frame, Answer *answer) {
  this->answering_ = true;
  this->answering_to_ = frame.sequence;
  this->answer_ = answer;
  WireReader payload(frame.payload.data, frame.payload.size);
  if (frame.type == wire::Bye::TYPE) {
    this->session_ = false;
    this->reply_.send(wire::Done());
    this->handler_->on_session();
    return;
  }
  this->handler_->on_request(frame.type, payload, this->reply_);
}

void Link::repeat_(const Frame &frame, size_t back) {
  this->stats_.repeats++;
  const size_t window = this->buffers_.window;
  const Answer &answer = this->buffers_.answers[(this->next_answer_ + window - back) % window];
  if (answer.size > 0) {
    this->transmitter_->transmit(answer.frame, answer.size);
  } else if (wire::is_repeatable(frame.type)) {
    this->carry_out_(frame, nullptr);
  }
}

void Link::beat_() {
  this->last_beat_ = this->now_;
  wire::Heartbeat heartbeat;
  heartbeat.boot_id = this->identity_.boot_id;
  heartbeat.uptime_ms = this->now_;
  heartbeat.inferences = this->stats_.inferences;
  this->send_(heartbeat, 0);
}

template<typename Message> void Link::send_(const Message &message, uint16_t sequence) {
  // A separate buffer, since an answer may be half written.
  uint8_t buffer[SHORT_FRAME];
  FrameWriter writer(buffer, sizeof(buffer));
  writer.begin(Message::TYPE, sequence);
  message.encode(writer);
  this->transmitter_->transmit(buffer, writer.end());
}

}  // namespace esphome::mww_harness
