#include "socket_engine.h"

#ifdef USE_HOST

#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace esphome::mww_harness {

using wire::ErrorCode;

static constexpr size_t FEATURES = 40;
static const Outcome LOST{ErrorCode::INFERENCE_FAILED, 0, "the engine process is gone"};

static void append_u32(std::vector<uint8_t> *to, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    to->push_back(static_cast<uint8_t>(value >> shift));
  }
}

Outcome SocketEngine::load(const StoredModel &model, bool any_output, wire::Model *facts) {
  this->unload();
  if (!this->connect_()) {
    return {ErrorCode::INFERENCE_FAILED, 0, "MWW_HARNESS_ENGINE names no socket that answers"};
  }
  std::vector<uint8_t> payload;
  append_u32(&payload, model.manifest_arena);
  payload.push_back(any_output ? 1 : 0);
  payload.insert(payload.end(), model.data, model.data + model.size);
  const Outcome outcome = this->ask_(Request::LOAD, payload);
  if (!outcome.ok()) {
    this->unload();
    return outcome;
  }
  WireReader reader(this->answer_.data(), this->answer_.size());
  if (!facts->decode(reader)) {
    return LOST;
  }
  this->frame_size_ = facts->stride * FEATURES;
  return {};
}

void SocketEngine::unload() {
  if (this->socket_ >= 0) {
    ::close(this->socket_);
    this->socket_ = -1;
  }
  this->profile_.clear();
}

Outcome SocketEngine::reset() {
  this->profile_.clear();
  return this->ask_(Request::RESET, {});
}

Outcome SocketEngine::infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) {
  std::vector<uint8_t> payload{static_cast<uint8_t>(profile ? 1 : 0)};
  const auto *bytes = reinterpret_cast<const uint8_t *>(frames);
  payload.insert(payload.end(), bytes, bytes + count * this->frame_size_);
  const Outcome outcome = this->ask_(Request::INFER, payload);
  if (!outcome.ok()) {
    return outcome;
  }
  WireReader reader(this->answer_.data(), this->answer_.size());
  for (size_t i = 0; i < count; i++) {
    results[i].microseconds = reader.u32();
    results[i].output = reader.u8();
  }
  if (!reader.finish()) {
    return LOST;
  }
  return profile ? this->read_profile_() : Outcome();
}

Outcome SocketEngine::read_profile_() {
  this->profile_.clear();
  const Outcome outcome = this->ask_(Request::PROFILE, {});
  for (size_t at = 0; at + wire::OpTime::FIXED_SIZE <= this->answer_.size(); at += wire::OpTime::FIXED_SIZE) {
    WireReader reader(this->answer_.data() + at, wire::OpTime::FIXED_SIZE);
    this->profile_.emplace_back();
    this->profile_.back().decode(reader);
  }
  return outcome;
}

ByteView SocketEngine::output(uint8_t index) {
  if (!this->ask_(Request::OUTPUT, {index}).ok()) {
    return {};
  }
  return {this->answer_.data(), this->answer_.size()};
}

bool SocketEngine::connect_() {
  const char *path = getenv("MWW_HARNESS_ENGINE");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path == nullptr || std::strlen(path) >= sizeof(address.sun_path)) {
    return false;
  }
  std::memcpy(address.sun_path, path, std::strlen(path));  // the rest is zero
  this->socket_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
  return this->socket_ >= 0 &&
         ::connect(this->socket_, reinterpret_cast<const sockaddr *>(&address), sizeof(address)) == 0;
}

Outcome SocketEngine::ask_(Request what, const std::vector<uint8_t> &payload) {
  std::vector<uint8_t> request{static_cast<uint8_t>(what)};
  append_u32(&request, static_cast<uint32_t>(payload.size()));
  request.insert(request.end(), payload.begin(), payload.end());
  uint8_t header[6];
  if (!this->send_(request.data(), request.size()) || !this->receive_(header, sizeof(header))) {
    return LOST;
  }
  WireReader reader(header, sizeof(header));
  Outcome outcome;
  outcome.code = static_cast<ErrorCode>(reader.u16());
  this->answer_.resize(reader.u32());
  return this->receive_(this->answer_.data(), this->answer_.size()) ? outcome : LOST;
}

bool SocketEngine::send_(const uint8_t *data, size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(this->socket_, data, size, MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool SocketEngine::receive_(uint8_t *data, size_t size) {
  while (size > 0) {
    const ssize_t received = ::recv(this->socket_, data, size, 0);
    if (received <= 0) {
      return false;
    }
    data += received;
    size -= static_cast<size_t>(received);
  }
  return true;
}

}  // namespace esphome::mww_harness

#endif  // USE_HOST
