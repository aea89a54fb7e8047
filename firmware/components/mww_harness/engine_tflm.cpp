#if defined(USE_ESP32) || defined(MWW_HARNESS_TFLM)

#include "engine_tflm.h"
#include "trial_arena.h"

#include <algorithm>
#include <cstring>
#include <new>

#include <tensorflow/lite/schema/schema_generated.h>
#include <tensorflow/lite/schema/schema_utils.h>

namespace esphome::mww_harness {

using wire::ErrorCode;

// It holds pointers: twice as much on a 64-bit host.
static constexpr size_t VARIABLE_ARENA_SIZE = contract::VARIABLE_ARENA_SIZE * (sizeof(void *) / sizeof(uint32_t));
static constexpr size_t MAX_TENSOR_ARENA_SIZE = 32 * 1024 * 1024;  // more than any board has

// For the temporary tensors of one operator, should they not fit an arena that is tried.
static constexpr size_t SPILL_SIZE = 8 * 1024;

// Far too small an arena crashes TensorFlow Lite Micro instead of failing, so an arena large enough for any model
// that fits a board first says what a model uses.
static constexpr size_t SURVEY_ARENA_SIZES[] = {256 * 1024, 128 * 1024, 64 * 1024};

static constexpr size_t align16(size_t size) { return (size + 15) & ~static_cast<size_t>(15); }

// --- OpProfiler ---

bool OpProfiler::reserve(size_t count) {
  this->stop();
  this->size_ = 0;
  this->events_.reset(count > 0 ? new (std::nothrow) Event[count] : nullptr);
  this->capacity_ = static_cast<uint16_t>(this->events_ == nullptr ? 0 : count);
  return this->capacity_ == count;
}

void OpProfiler::start() {
  this->size_ = 0;
  this->enabled_ = true;
}

uint32_t OpProfiler::BeginEvent(const char *tag) {
  if (!this->enabled_ || this->size_ == this->capacity_) {
    return UINT32_MAX;
  }
  this->events_[this->size_] = {tag, this->host_->micros()};
  return this->size_++;
}

void OpProfiler::EndEvent(uint32_t event_handle) {
  if (event_handle != UINT32_MAX) {
    Event &event = this->events_[event_handle];
    event.microseconds = this->host_->micros() - event.microseconds;
  }
}

// --- TflmEngine ---

TflmEngine::TflmEngine(EngineHost *host, ArenaSource arena_source)
    : host_(host), profiler_(host), arena_source_(arena_source) {
  contract::register_operators(this->op_resolver_);  // adding fails only beyond its size
}

Outcome TflmEngine::load(const StoredModel &model, bool any_output, wire::Model *facts) {
  const Outcome outcome = this->load_(model, any_output, facts);
  if (!outcome.ok()) {
    this->unload();
  }
  return outcome;
}

Outcome TflmEngine::load_(const StoredModel &stored, bool any_output, wire::Model *facts) {
  if (stored.size < 8 || !tflite::ModelBufferHasIdentifier(stored.data)) {
    return {ErrorCode::MODEL_SCHEMA, 0, "not a TFLite model"};
  }
  this->model_ = tflite::GetModel(stored.data);
  if (this->model_->version() != TFLITE_SCHEMA_VERSION) {
    return {ErrorCode::MODEL_SCHEMA, this->model_->version()};
  }
  Outcome outcome = this->check_graph_();
  if (outcome.ok()) {
    outcome = this->check_operators_();
  }
  if (!outcome.ok()) {
    return outcome;
  }
  this->variable_arena_ = this->host_->allocate(VARIABLE_ARENA_SIZE);
  if (this->variable_arena_ == nullptr) {
    return {ErrorCode::NO_MEMORY, VARIABLE_ARENA_SIZE};
  }
  this->reset_variables_();
  outcome = this->allocate_arena_(stored.manifest_arena > 0 ? stored.manifest_arena : contract::V1_TENSOR_ARENA_SIZE);
  if (!outcome.ok()) {
    return outcome;
  }
  if (!this->start_()) {
    return this->too_small_();
  }
  this->any_output_ = any_output;
  outcome = this->check_tensors_(any_output);
  if (outcome.ok()) {
    this->describe_(facts);
  }
  return outcome;
}

void TflmEngine::unload() {
  this->interpreter_.reset();
  this->profiler_.reserve(0);
  if (this->arena_ != nullptr) {
    this->host_->deallocate(this->arena_, this->arena_size_);
    this->arena_ = nullptr;
  }
  if (this->variable_arena_ != nullptr) {
    this->host_->deallocate(this->variable_arena_, VARIABLE_ARENA_SIZE);
    this->variable_arena_ = nullptr;
  }
  this->model_ = nullptr;
}

bool TflmEngine::start_() {
  this->interpreter_.emplace(this->model_, this->op_resolver_, this->arena_, this->arena_size_, this->variables_,
                             &this->profiler_);
  return this->interpreter_->AllocateTensors() == kTfLiteOk;
}

Outcome TflmEngine::check_graph_() {
  // TensorFlow Lite Micro does not check this, and a frame uses input(0) and output(0).
  const auto *subgraphs = this->model_->subgraphs();
  if (this->model_->operator_codes() == nullptr || this->model_->buffers() == nullptr || subgraphs == nullptr ||
      subgraphs->size() == 0) {
    return {ErrorCode::MODEL_SCHEMA, this->model_->version(), "no graph in it"};
  }
  for (const tflite::SubGraph *subgraph : *subgraphs) {
    if (subgraph->tensors() == nullptr || subgraph->operators() == nullptr) {
      return {ErrorCode::MODEL_SCHEMA, this->model_->version(), "an empty subgraph in it"};
    }
  }
  const tflite::SubGraph *main = subgraphs->Get(0);
  if (main->inputs() == nullptr || main->inputs()->size() == 0) {
    return {ErrorCode::MODEL_INPUT};
  }
  if (main->outputs() == nullptr || main->outputs()->size() == 0) {
    return {ErrorCode::MODEL_OUTPUT};
  }
  return {};
}

Outcome TflmEngine::check_operators_() {
  for (const tflite::OperatorCode *code : *this->model_->operator_codes()) {
    const tflite::BuiltinOperator op = tflite::GetBuiltinCode(code);
    if (op == tflite::BuiltinOperator_CUSTOM || this->op_resolver_.FindOp(op) == nullptr) {
      return {ErrorCode::MODEL_OPERATOR, static_cast<uint32_t>(op), tflite::EnumNameBuiltinOperator(op)};
    }
  }
  size_t operators = 0;
  for (const tflite::SubGraph *subgraph : *this->model_->subgraphs()) {
    operators += subgraph->operators()->size();
  }
  if (!this->profiler_.reserve(operators)) {
    return {ErrorCode::NO_MEMORY, static_cast<uint32_t>(operators * sizeof(OpProfiler::Event))};
  }
  return {};
}

// --- Arenas ---

void TflmEngine::reset_variables_() {
  this->variable_allocator_ = tflite::MicroAllocator::Create(this->variable_arena_, VARIABLE_ARENA_SIZE);
  this->variables_ =
      tflite::MicroResourceVariables::Create(this->variable_allocator_, contract::MAX_RESOURCE_VARIABLES);
}

void TflmEngine::survey_() {
  this->needed_ = 0;
  for (const size_t size : SURVEY_ARENA_SIZES) {
    uint8_t *arena = this->host_->allocate(size);
    if (arena != nullptr) {
      this->needed_ = this->try_arena_(arena, size);
      this->host_->deallocate(arena, size);
      return;
    }
  }
}

Outcome TflmEngine::allocate_arena_(size_t manifest_arena) {
  if (manifest_arena > MAX_TENSOR_ARENA_SIZE) {
    return {ErrorCode::NO_MEMORY, static_cast<uint32_t>(manifest_arena)};
  }
  this->survey_();
  this->arena_size_ = manifest_arena;
  if (this->arena_source_ == ArenaSource::PROBE) {
    const Outcome outcome = this->probe_(manifest_arena);
    if (!outcome.ok()) {
      return outcome;
    }
  }
  if (this->arena_size_ < this->needed_) {
    return this->too_small_();
  }
  this->arena_ = this->host_->allocate(this->arena_size_);
  if (this->arena_ == nullptr) {
    return {ErrorCode::NO_MEMORY, static_cast<uint32_t>(this->arena_size_)};
  }
  const bool proven = this->arena_source_ == ArenaSource::PROBE;
  const bool enough = proven || this->try_arena_(this->arena_, this->arena_size_) > 0;
  return enough ? Outcome() : this->too_small_();
}

Outcome TflmEngine::probe_(size_t manifest_arena) {
  // As StreamingModel::probe_arena_size_: the manifest's size, half as much again, or twice as much.
  const size_t sizes[] = {align16(manifest_arena), align16(manifest_arena * 3 / 2), align16(manifest_arena * 2)};
  Outcome outcome = this->too_small_();
  for (const size_t size : sizes) {
    if (size < this->needed_) {
      continue;
    }
    uint8_t *arena = this->host_->allocate(size);
    if (arena == nullptr) {
      outcome = {ErrorCode::NO_MEMORY, static_cast<uint32_t>(size)};
      continue;
    }
    const size_t used = this->try_arena_(arena, size);
    if (used > 0) {
      this->arena_size_ = this->shrink_(arena, size, used);
    }
    this->host_->deallocate(arena, size);
    if (used > 0) {
      return {};
    }
  }
  return outcome;
}

Outcome TflmEngine::too_small_() const { return {ErrorCode::ARENA_TOO_SMALL, static_cast<uint32_t>(this->needed_)}; }

size_t TflmEngine::shrink_(uint8_t *arena, size_t size, size_t used) {
  // Planning needs more memory than the final use: try midpoints upwards from there.
  size_t lower = align16(used + 16);
  while (lower < size) {
    if (this->try_arena_(arena, lower) > 0) {
      return lower + 16;
    }
    lower = align16((lower + size) / 2);
  }
  return size;
}

/// Returns the bytes that the model uses of an arena, 0 if it is too small.
size_t TflmEngine::try_arena_(uint8_t *arena, size_t size) {
  // Just above what a model uses, an arena may still abort TensorFlow Lite Micro: see TrialArena.
  uint8_t *spill = this->host_->allocate(SPILL_SIZE);
  TrialArena trial(arena, size, spill, spill == nullptr ? 0 : SPILL_SIZE);
  tflite::MicroAllocator *allocator = trial.allocator();
  size_t used = 0;
  if (allocator != nullptr) {
    this->interpreter_.emplace(this->model_, this->op_resolver_, allocator, this->variables_);
    if (this->interpreter_->AllocateTensors() == kTfLiteOk && !trial.overflowed()) {
      used = this->interpreter_->arena_used_bytes();
    }
    this->interpreter_.reset();
  }
  if (spill != nullptr) {
    this->host_->deallocate(spill, SPILL_SIZE);
  }
  this->reset_variables_();
  return used;
}

// --- Tensors ---

Outcome TflmEngine::check_tensors_(bool any_output) {
  const TfLiteTensor *input = this->interpreter_->input(0);
  if (input->dims->size != 3 || input->dims->data[0] != 1 || input->dims->data[2] != wire::FEATURES ||
      input->type != kTfLiteInt8 || input->dims->data[1] < 1 || input->dims->data[1] > UINT8_MAX) {
    return {ErrorCode::MODEL_INPUT};
  }
  this->frame_size_ = static_cast<size_t>(input->dims->data[1]) * wire::FEATURES;
  const TfLiteTensor *output = this->interpreter_->output(0);
  if (!any_output && (output->dims->size != 2 || output->dims->data[0] != 1 || output->dims->data[1] != 1 ||
                      output->type != kTfLiteUInt8)) {
    return {ErrorCode::MODEL_OUTPUT};
  }
  return {};
}

static uint8_t count_variables(const tflite::Model *model) {
  const char *names[contract::MAX_RESOURCE_VARIABLES];
  uint8_t count = 0;
  for (const tflite::Operator *op : *model->subgraphs()->Get(0)->operators()) {
    const tflite::VarHandleOptions *options = op->builtin_options_as_VarHandleOptions();
    if (options == nullptr || options->shared_name() == nullptr || count == contract::MAX_RESOURCE_VARIABLES) {
      continue;
    }
    const char *name = options->shared_name()->c_str();
    if (std::none_of(names, names + count, [name](const char *seen) { return std::strcmp(seen, name) == 0; })) {
      names[count++] = name;
    }
  }
  return count;
}

void TflmEngine::describe_(wire::Model *facts) {
  const TfLiteTensor *input = this->interpreter_->input(0);
  const TfLiteTensor *output = this->interpreter_->output(0);
  facts->stride = static_cast<uint8_t>(input->dims->data[1]);
  facts->outputs = static_cast<uint8_t>(std::min<size_t>(this->interpreter_->outputs_size(), UINT8_MAX));
  facts->variables = count_variables(this->model_);
  facts->input_zero_point = input->params.zero_point;
  facts->output_zero_point = output->params.zero_point;
  facts->input_scale = input->params.scale;
  facts->output_scale = output->params.scale;
  facts->arena_used = static_cast<uint32_t>(this->interpreter_->arena_used_bytes());
  facts->arena_size = static_cast<uint32_t>(this->arena_size_);
  facts->variable_arena_used = static_cast<uint32_t>(this->variable_allocator_->used_bytes());
}

ByteView TflmEngine::output(uint8_t index) {
  if (index >= this->interpreter_->outputs_size()) {
    return {};
  }
  const TfLiteTensor *output = this->interpreter_->output(index);
  return {output->data.uint8, output->bytes};
}

// --- Inference ---

Outcome TflmEngine::reset() {
  // A new interpreter in the same arena. MicroInterpreter::Reset() sets variables to their zero points, and CALL_ONCE
  // does not run again after it: an initial state of any other value would not be restored.
  this->interpreter_.reset();
  this->reset_variables_();
  if (!this->start_()) {
    return {ErrorCode::INFERENCE_FAILED, 0, "the interpreter cannot be made anew"};
  }
  return {};
}

Outcome TflmEngine::infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) {
  for (size_t i = 0; i < count; i++) {
    std::memmove(this->interpreter_->input(0)->data.int8, frames + i * this->frame_size_, this->frame_size_);
    if (profile && i + 1 == count) {
      this->profiler_.start();
    }
    const uint32_t start = this->host_->micros();
    const TfLiteStatus status = this->interpreter_->Invoke();
    this->profiler_.stop();
    if (status != kTfLiteOk) {
      return {ErrorCode::INFERENCE_FAILED, 0, "Invoke failed"};
    }
    results[i].microseconds = this->host_->micros() - start;
    results[i].output = this->any_output_ ? 0 : this->interpreter_->output(0)->data.uint8[0];
  }
  return {};
}

wire::OpTime TflmEngine::profiled_op(uint16_t index) {
  const OpProfiler::Event &event = this->profiler_.event(index);
  wire::OpTime time;
  time.microseconds = event.microseconds;
  std::memcpy(time.name, event.tag, std::min(std::strlen(event.tag), sizeof(time.name)));
  return time;
}

}  // namespace esphome::mww_harness

#endif
