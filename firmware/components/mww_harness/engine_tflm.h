#pragma once

#if defined(USE_ESP32) || defined(MWW_HARNESS_TFLM)

#include <memory>
#include <optional>

#include <tensorflow/lite/micro/micro_allocator.h>
#include <tensorflow/lite/micro/micro_interpreter.h>
#include <tensorflow/lite/micro/micro_mutable_op_resolver.h>
#include <tensorflow/lite/micro/micro_profiler_interface.h>
#include <tensorflow/lite/micro/micro_resource_variable.h>

#include "contract.h"
#include "engine.h"

namespace esphome::mww_harness {

/// The origin of the tensor arena's size: the manifest's value, or the smallest that a trial finds, starting
/// there, as micro_wake_word does.
enum class ArenaSource : uint8_t { MANIFEST, PROBE };

/// The services that the engine needs from the board.
class EngineHost {
 public:
  virtual ~EngineHost() = default;

  /// Memory for an arena; null if there is not enough.
  virtual uint8_t *allocate(size_t size) = 0;
  virtual void deallocate(uint8_t *memory, size_t size) = 0;
  virtual uint32_t micros() = 0;
};

/// Times operators while it is on, in memory from its owner.
class OpProfiler final : public tflite::MicroProfilerInterface {
 public:
  struct Event {
    const char *tag;
    uint32_t microseconds;
  };

  explicit OpProfiler(EngineHost *host) : host_(host) {}

  /// Makes room for a model's operators; `count` 0 frees it.
  bool reserve(size_t count);
  /// Drops all times, and starts again.
  void start();
  void stop() { this->enabled_ = false; }
  uint16_t size() const { return this->size_; }
  const Event &event(uint16_t index) const { return this->events_[index]; }

  uint32_t BeginEvent(const char *tag) override;  // NOLINT(readability-identifier-naming)
  void EndEvent(uint32_t event_handle) override;  // NOLINT(readability-identifier-naming)

 protected:
  EngineHost *host_;
  std::unique_ptr<Event[]> events_;
  uint16_t capacity_{0};
  uint16_t size_{0};
  bool enabled_{false};
};

/// TensorFlow Lite Micro with the operators, arenas and checks of micro_wake_word (esphome 2026.6.5
/// to 2026.10.0, streaming_model.cpp), so that what runs here runs there.
class TflmEngine final : public Engine {
 public:
  TflmEngine(EngineHost *host, ArenaSource arena_source);
  ~TflmEngine() override { this->unload(); }
  TflmEngine(const TflmEngine &) = delete;
  TflmEngine &operator=(const TflmEngine &) = delete;

  Outcome load(const StoredModel &model, bool any_output, wire::Model *facts) override;
  void unload() override;
  Outcome reset() override;
  Outcome infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) override;
  int8_t *frame() override { return this->interpreter_->input(0)->data.int8; }
  ByteView output(uint8_t index) override;
  uint16_t profiled_ops() override { return this->profiler_.size(); }
  wire::OpTime profiled_op(uint16_t index) override;

 protected:
  Outcome load_(const StoredModel &stored, bool any_output, wire::Model *facts);
  Outcome check_graph_();
  Outcome check_operators_();
  bool start_();
  void survey_();
  Outcome allocate_arena_(size_t manifest_arena);
  Outcome probe_(size_t manifest_arena);
  Outcome too_small_() const;
  size_t shrink_(uint8_t *arena, size_t size, size_t used);
  size_t try_arena_(uint8_t *arena, size_t size);
  void reset_variables_();
  Outcome check_tensors_(bool any_output);
  void describe_(wire::Model *facts);

  EngineHost *host_;
  OpProfiler profiler_;
  tflite::MicroMutableOpResolver<contract::OPERATORS> op_resolver_;
  const tflite::Model *model_{nullptr};
  std::optional<tflite::MicroInterpreter> interpreter_;
  tflite::MicroAllocator *variable_allocator_{nullptr};
  tflite::MicroResourceVariables *variables_{nullptr};
  uint8_t *variable_arena_{nullptr};
  uint8_t *arena_{nullptr};
  size_t arena_size_{0};
  size_t needed_{0};  // bytes that the model uses, if there was memory to measure it
  size_t frame_size_{0};
  ArenaSource arena_source_;
  bool any_output_{false};
};

}  // namespace esphome::mww_harness

#endif
