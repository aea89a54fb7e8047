#pragma once

#include <cstddef>
#include <cstdint>

#include "messages.h"
#include "wire.h"

namespace esphome::mww_harness {

/// The outcome of a request; the error code defines the meaning of `detail`.
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

  /// Loads a model in its initial state, and fills `facts` from `stride` on. With `any_output`, output tensors may be
  /// of any type and shape. Leaves nothing behind when it fails.
  virtual Outcome load(const StoredModel &model, bool any_output, wire::Model *facts) = 0;
  /// Frees the memory of load(); harmless without a model.
  virtual void unload() = 0;
  /// Resets the streaming state to the model's initial state.
  virtual Outcome reset() = 0;
  /// Advances the state by `count` frames of stride * 40 bytes, which may be frame(); with `profile`, times each
  /// operator of the last.
  virtual Outcome infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) = 0;
  /// The buffer for a frame of stride * 40 bytes, filled slice by slice; unchanged until the next inference.
  virtual int8_t *frame() = 0;
  /// An output tensor after the last inference; without data if the model does not have it.
  virtual ByteView output(uint8_t index) = 0;
  /// The number of operators in the last profiled inference.
  virtual uint16_t profiled_ops() = 0;
  /// The time of an operator, in order of execution.
  virtual wire::OpTime profiled_op(uint16_t index) = 0;
};

}  // namespace esphome::mww_harness
