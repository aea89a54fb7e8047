#include "socket_engine.h"

#ifdef USE_HOST

#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace esphome::mww_harness {

using wire::ErrorCode;

static const Outcome LOST{ErrorCode::INFERENCE_FAILED, 0, "the engine process is gone"};

static void append_u32(std::vector<uint8_t> *to, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    to->push_back(static_cast<uint8_t>(value >> shift));
  }
}

Outcome SocketEngine::load(const StoredModel &model, bool any_output, wire::Model *facts) {
  this->unload();
  if (!this->socket_.connect()) {
    return {ErrorCode::INFERENCE_FAILED, 0, "MWW_HARNESS_ENGINE names no socket that answers"};
  }
  std::vector<uint8_t> payload;
  append_u32(&payload, model.manifest_arena);
  payload.push_back(any_output ? 1 : 0);
  payload.insert(payload.end(), model.data, model.data + model.size);
  const Outcome outcome = this->socket_.ask(EngineSocket::Request::LOAD, payload);
  if (!outcome.ok()) {
    this->unload();
    return outcome;
  }
  WireReader reader(this->socket_.answer.data(), this->socket_.answer.size());
  if (!facts->decode(reader)) {
    return LOST;
  }
  this->frame_.assign(facts->stride * FEATURES, 0);
  return {};
}

void SocketEngine::unload() {
  this->socket_.close();
  this->profile_.clear();
}

Outcome SocketEngine::reset() {
  this->profile_.clear();
  return this->socket_.ask(EngineSocket::Request::RESET, {});
}

Outcome SocketEngine::infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) {
  std::vector<uint8_t> payload{static_cast<uint8_t>(profile ? 1 : 0)};
  const auto *bytes = reinterpret_cast<const uint8_t *>(frames);
  payload.insert(payload.end(), bytes, bytes + count * this->frame_.size());
  const Outcome outcome = this->socket_.ask(EngineSocket::Request::INFER, payload);
  if (!outcome.ok()) {
    return outcome;
  }
  WireReader reader(this->socket_.answer.data(), this->socket_.answer.size());
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
  const Outcome outcome = this->socket_.ask(EngineSocket::Request::PROFILE, {});
  for (size_t at = 0; at + wire::OpTime::FIXED_SIZE <= this->socket_.answer.size(); at += wire::OpTime::FIXED_SIZE) {
    WireReader reader(this->socket_.answer.data() + at, wire::OpTime::FIXED_SIZE);
    this->profile_.emplace_back();
    this->profile_.back().decode(reader);
  }
  return outcome;
}

ByteView SocketEngine::output(uint8_t index) {
  if (!this->socket_.ask(EngineSocket::Request::OUTPUT, {index}).ok()) {
    return {};
  }
  return {this->socket_.answer.data(), this->socket_.answer.size()};
}

Outcome SocketFrontend::start(uint8_t step_ms) {
  if (!this->socket_.connect()) {
    return {ErrorCode::FRONTEND, 0, "MWW_HARNESS_ENGINE names no socket that answers"};
  }
  return this->socket_.ask(EngineSocket::Request::START, {step_ms});
}

size_t SocketFrontend::process(const int16_t *samples, size_t count, uint16_t *features, bool *made) {
  const auto *bytes = reinterpret_cast<const uint8_t *>(samples);
  this->socket_.ask(EngineSocket::Request::PROCESS, {bytes, bytes + count * sizeof(int16_t)});
  WireReader reader(this->socket_.answer.data(), this->socket_.answer.size());
  const size_t taken = reader.u16();
  *made = this->socket_.answer.size() > sizeof(uint16_t);
  for (size_t i = 0; *made && i < FEATURES; i++) {
    features[i] = reader.u16();
  }
  return taken > 0 ? taken : count;  // a process that is gone makes no slice
}

bool EngineSocket::connect() {
  if (this->socket_ >= 0) {
    return true;
  }
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

void EngineSocket::close() {
  if (this->socket_ >= 0) {
    ::close(this->socket_);
    this->socket_ = -1;
  }
}

Outcome EngineSocket::ask(Request what, const std::vector<uint8_t> &payload) {
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
  this->answer.resize(reader.u32());
  return this->receive_(this->answer.data(), this->answer.size()) ? outcome : LOST;
}

bool EngineSocket::send_(const uint8_t *data, size_t size) {
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

bool EngineSocket::receive_(uint8_t *data, size_t size) {
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
