#pragma once

#include <cstddef>
#include <cstdint>

#include "messages.h"
#include "wire.h"

namespace esphome::mww_harness {

/// How a request went; `detail` is what the error code's registry entry says about it.
struct Outcome {
  wire::ErrorCode code{wire::ErrorCode::OK};
  uint32_t detail{0};
  const char *text{""};

  bool ok() const { return this->code == wire::ErrorCode::OK; }
};

/// A model as the partition holds it; `data` stays mapped, and is aligned to 16 bytes.
struct StoredModel {
  const uint8_t *data{nullptr};
  uint32_t size{0};
  uint32_t manifest_arena{0};
};

struct InferenceResult {
  uint32_t microseconds{0};
  uint8_t output{0};
};

/// An interpreter with at most one model. It may allocate in load(), and nowhere else.
class Engine {
 public:
  virtual ~Engine() = default;

  /// Loads a model in its initial state, and tells `facts` from `stride` on. With `any_output`, output tensors may be
  /// of any type and shape. Leaves nothing behind when it fails.
  virtual Outcome load(const StoredModel &model, bool any_output, wire::Model *facts) = 0;
  /// Frees what load() took; harmless without a model.
  virtual void unload() = 0;
  /// Puts the streaming state back to the model's initial one.
  virtual Outcome reset() = 0;
  /// Advances the state by `count` frames of stride * 40 bytes, which may be frame(); with `profile`, times each
  /// operator of the last.
  virtual Outcome infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) = 0;
  /// Where a frame of stride * 40 bytes is put together, slice by slice; stays as it is until the next inference.
  virtual int8_t *frame() = 0;
  /// An output tensor as the last inference left it; without data if the model does not have it.
  virtual ByteView output(uint8_t index) = 0;
  /// Operators that the last profiled inference ran.
  virtual uint16_t profiled_ops() = 0;
  /// One of them, in order of execution.
  virtual wire::OpTime profiled_op(uint16_t index) = 0;
};

}  // namespace esphome::mww_harness
