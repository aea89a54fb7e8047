#pragma once

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "engine.h"
#include "machine.h"

namespace esphome::mww_harness {

/// An engine of the tests' own, the C++ twin of ChainEngine in tests/support/host_board.py: its state is the CRC32 of
/// all frames since the reset, and a model is the text "model" and a byte with its stride. It takes any TFLite model,
/// too, as one of stride 3, and computes no more than with its own.
class ChainEngine final : public Engine {
 public:
  static constexpr uint16_t OPERATORS = 70;
  static constexpr size_t FEATURES = wire::FEATURES;

  Outcome load(const StoredModel &model, bool /*any_output*/, wire::Model *facts) override {
    const bool own = model.size >= 6 && std::memcmp(model.data, "model", 5) == 0;
    if (!own && (model.size < 8 || std::memcmp(model.data + 4, "TFL3", 4) != 0)) {
      return {wire::ErrorCode::MODEL_OPERATOR, 0, "not a model of the tests"};
    }
    this->stride_ = own ? model.data[5] : 3;
    this->state_ = 0;
    facts->stride = this->stride_;
    facts->outputs = 1;
    facts->variables = 6;
    facts->arena_used = 1000;
    facts->arena_size = model.manifest_arena;
    return {};
  }
  void unload() override {}
  Outcome reset() override {
    this->state_ = 0;
    return {};
  }
  Outcome infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) override {
    const size_t size = this->stride_ * FEATURES;
    for (size_t i = 0; i < count; i++) {
      const uint32_t start = instructions();
      this->state_ = crc32(reinterpret_cast<const uint8_t *>(frames) + i * size, size, this->state_);
      results[i].microseconds = instructions() - start;
      results[i].output = static_cast<uint8_t>(this->state_);
    }
    this->profiled_ = this->profiled_ || profile;
    return {};
  }
  int8_t *frame() override { return this->frame_; }
  ByteView output(uint8_t index) override {
    for (size_t i = 0; i < sizeof(this->tensor_); i++) {
      this->tensor_[i] = static_cast<uint8_t>(i);
    }
    return index == 0 ? ByteView{this->tensor_, sizeof(this->tensor_)} : ByteView();
  }
  uint16_t profiled_ops() override { return this->profiled_ ? OPERATORS : 0; }
  wire::OpTime profiled_op(uint16_t index) override {
    wire::OpTime time;
    time.microseconds = index * 10u;
    std::snprintf(reinterpret_cast<char *>(time.name), sizeof(time.name), "OP_%u", index);
    return time;
  }

 protected:
  uint32_t state_{0};
  uint8_t tensor_[5120];
  int8_t frame_[UINT8_MAX * FEATURES];
  uint8_t stride_{0};
  bool profiled_{false};
};

class MachineEngines {
 public:
  static constexpr const char *NAME = "chain";
  static const char *kernels() { return ""; }

  Engine *operator[](size_t slot) { return &this->engines_[slot]; }

 protected:
  ChainEngine engines_[wire::MAX_MODELS];
};

}  // namespace esphome::mww_harness
