#include "session.h"

#include <algorithm>

namespace esphome::mww_harness {

using wire::ErrorCode;

static constexpr size_t SAMPLE_SIZE = sizeof(int16_t);
static constexpr size_t PIECE = STEP_SIZE / SAMPLE_SIZE;  // samples in a call of the front-end

static wire::Welcome with_ears(wire::Welcome identity, const Frontend *frontend, const BoardMicrophone *microphone) {
  identity.flags |= frontend == nullptr ? 0 : wire::FLAG_FRONTEND;
  identity.flags |= microphone == nullptr ? 0 : wire::FLAG_MICROPHONE;
  return identity;
}

static void finish(const Outcome &outcome, Reply &reply) {
  if (outcome.ok()) {
    reply.send(wire::Done());
  } else {
    reply.error(outcome.code, outcome.detail, outcome.text);
  }
}

Session::Session(const wire::Welcome &identity, const LinkBuffers &buffers, Engine *const *engines, ModelStore *store,
                 Platform *platform, InferenceResult *results, size_t batch, Frontend *frontend,
                 BoardMicrophone *microphone)
    : store_(store),
      platform_(platform),
      microphone_(microphone),
      results_(results),
      batch_(batch),
      max_frames_(buffers.max_frames),
      max_slices_(max_slices(buffers.max_payload)),
      models_(identity.models),
      ear_(frontend, this->slots_),
      link_(with_ears(identity, frontend, microphone), buffers, platform, this) {
  for (size_t i = 0; i < this->models_; i++) {
    this->slots_[i].engine = engines[i];
  }
}

bool Session::poll(uint32_t now_ms) {
  this->link_.poll(now_ms);
  if (this->job_.reply != nullptr) {
    this->step_();
  } else if (this->hearing_.reply != nullptr) {
    this->hear_();
  } else if (this->recording_.running()) {
    return this->overhear_() || this->link_.busy();
  }
  return this->link_.busy();
}

void Session::close_models() {
  this->job_ = Job();
  this->hearing_ = Hearing();
  this->end_sound_();
  for (uint8_t i = 0; i < this->models_; i++) {
    this->close_(i);
  }
}

// --- Models ---

ModelSlot *Session::slot_(uint8_t index, Reply &reply) {
  if (index >= this->models_) {
    reply.error(ErrorCode::NO_SUCH_SLOT, this->models_);
    return nullptr;
  }
  return &this->slots_[index];
}

ModelSlot *Session::open_slot_(uint8_t index, Reply &reply) {
  ModelSlot *slot = this->slot_(index, reply);
  if (slot != nullptr && !slot->open) {
    reply.error(ErrorCode::NOT_OPEN);
    return nullptr;
  }
  return slot;
}

void Session::close_(uint8_t index) {
  this->ear_.leave(index);
  this->slots_[index].close();
}

wire::Model Session::describe_(uint8_t index) {
  const ModelSlot &slot = this->slots_[index];
  wire::Model model = slot.open ? slot.facts : wire::Model();
  const wire::TableEntry &entry = this->store_->entry(index);
  model.model = index;
  model.size = entry.length;
  model.manifest_arena = entry.arena;
  std::copy(std::begin(entry.sha256), std::end(entry.sha256), model.sha256);
  if (slot.open) {
    model.state = wire::OPEN;
  } else if (entry.length > 0) {
    model.state = this->store_->verify(index) ? wire::STORED : wire::CORRUPT;
  }
  return model;
}

template<> void Session::handle_(const wire::Describe &request, Reply &reply) {
  if (this->slot_(request.model, reply) != nullptr) {
    reply.send(this->describe_(request.model));
  }
}

template<> void Session::handle_(const wire::Open &request, Reply &reply) {
  ModelSlot *slot = this->slot_(request.model, reply);
  if (slot == nullptr) {
    return;
  }
  this->close_(request.model);
  if (this->store_->partition_size() == 0) {
    return reply.error(ErrorCode::NO_PARTITION);
  }
  if (this->store_->entry(request.model).length == 0) {
    return reply.error(ErrorCode::NO_MODEL);
  }
  if (!this->store_->verify(request.model)) {
    return reply.error(ErrorCode::MODEL_CORRUPT);
  }
  slot->facts = wire::Model();
  StoredModel model = this->store_->model(request.model);
  const uint8_t misalignment = request.flags >> wire::OPEN_MISALIGNMENT_SHIFT;
  if (misalignment != 0) {
    model = slot->misaligned(model, misalignment);
    if (model.data == nullptr) {
      return reply.error(ErrorCode::NO_MEMORY, this->store_->entry(request.model).length, "for a copy of the model");
    }
  }
  const bool any_output = (request.flags & wire::OPEN_ANY_OUTPUT) != 0;
  const Outcome outcome = slot->engine->load(model, any_output, &slot->facts);
  if (!outcome.ok()) {
    slot->close();
    return reply.error(outcome.code, outcome.detail, outcome.text);
  }
  if (slot->facts.stride == 0) {
    slot->engine->unload();
    slot->close();
    return reply.error(ErrorCode::MODEL_INPUT);
  }
  slot->open = true;
  slot->needs_reset = false;
  slot->inferences = 0;
  slot->detector.arm(0, 0);
  reply.send(this->describe_(request.model));
}

template<> void Session::handle_(const wire::Close &request, Reply &reply) {
  ModelSlot *slot = this->slot_(request.model, reply);
  if (slot != nullptr) {
    this->close_(request.model);
    reply.send(wire::Done());
  }
}

template<> void Session::handle_(const wire::Reset &request, Reply &reply) {
  ModelSlot *slot = this->open_slot_(request.model, reply);
  if (slot != nullptr) {
    this->ear_.leave(request.model);
    finish(slot->reset(), reply);
  }
}

template<> void Session::handle_(const wire::Detect &request, Reply &reply) {
  ModelSlot *slot = this->open_slot_(request.model, reply);
  if (slot != nullptr) {
    slot->detector.arm(request.cutoff, request.window);
    reply.send(wire::Done());
  }
}

// --- Inference ---

template<> void Session::handle_(const wire::Infer &request, Reply &reply) {
  ModelSlot *slot = this->open_slot_(request.model, reply);
  if (slot == nullptr) {
    return;
  }
  if (slot->needs_reset) {
    return reply.error(ErrorCode::NEEDS_RESET);
  }
  const size_t frame_size = slot->facts.stride * FEATURES;
  const size_t count = request.frames.size / frame_size;
  if (request.frames.size % frame_size != 0) {
    return reply.error(ErrorCode::BAD_REQUEST);
  }
  if (count > this->max_frames_) {
    return reply.error(ErrorCode::TOO_MANY_FRAMES, static_cast<uint32_t>(this->max_frames_));
  }
  this->ear_.leave(request.model);
  wire::Outputs outputs;
  outputs.model = request.model;
  outputs.first = slot->inferences;
  Job job;
  job.reply = &reply;
  job.answer = &reply.begin(wire::Outputs::TYPE);
  job.slot = slot;
  job.frames = reinterpret_cast<const int8_t *>(request.frames.data);
  job.count = count;
  job.profile = (request.flags & wire::INFER_PROFILE) != 0;
  outputs.encode(*job.answer);
  this->job_ = job;
}

void Session::step_() {
  Job &job = this->job_;
  ModelSlot &slot = *job.slot;
  const size_t count = std::min(this->batch_, job.count - job.done);
  const bool last = job.done + count == job.count;
  const int8_t *frames = job.frames + job.done * slot.facts.stride * FEATURES;
  const Outcome outcome =
      count == 0 ? Outcome() : slot.engine->infer(frames, count, job.profile && last, this->results_);
  if (!outcome.ok()) {
    slot.needs_reset = true;
    Reply &reply = *job.reply;
    job = Job();
    return reply.error(outcome.code, slot.inferences, outcome.text);
  }
  for (size_t i = 0; i < count; i++) {
    slot.judge(this->results_[i]).encode(*job.answer);
  }
  job.done += count;
  this->link_.stats().inferences += static_cast<uint32_t>(count);
  if (last) {
    Reply &reply = *job.reply;
    job = Job();
    reply.finish();
  }
}

// --- Sound ---

template<> void Session::handle_(const wire::Listen &request, Reply &reply) {
  for (uint8_t i = 0; request.models >> i != 0; i++) {
    if ((request.models & 1u << i) != 0 && this->open_slot_(i, reply) == nullptr) {
      return;
    }
  }
  this->end_sound_();
  const bool overhears = request.source == wire::SOUND_OF_MICROPHONE && request.models != 0;
  if (overhears && this->microphone_ == nullptr) {
    return reply.error(ErrorCode::NO_MICROPHONE);
  }
  Outcome outcome = this->ear_.listen(request.models, request.step_ms);
  if (outcome.ok() && overhears) {
    outcome = this->microphone_->start();
    this->overheard_ = Outcome();
    if (outcome.ok()) {
      this->recording_.start(this->microphone_->memory());
    } else {
      this->ear_.listen(0, 0);
    }
  }
  finish(outcome, reply);
}

/// Ends a stream of any kind.
void Session::end_sound_() {
  if (this->recording_.running()) {
    this->recording_.start(nullptr);
    this->microphone_->stop();
  }
  this->ear_.listen(0, 0);
}

template<> void Session::handle_(const wire::Hear &request, Reply &reply) {
  if (!this->ear_.listening() || this->recording_.running()) {
    return reply.error(ErrorCode::NOT_LISTENING);
  }
  const size_t most = (this->max_slices_ - 1) * this->ear_.step();
  if (request.samples.size % SAMPLE_SIZE != 0) {
    return reply.error(ErrorCode::BAD_REQUEST);
  }
  if (request.samples.size > most * SAMPLE_SIZE) {
    return reply.error(ErrorCode::TOO_MUCH_SOUND, static_cast<uint32_t>(most));
  }
  wire::Heard heard;
  heard.first = this->ear_.slices();
  Hearing hearing;
  hearing.reply = &reply;
  hearing.answer = &reply.begin(wire::Heard::TYPE);
  hearing.samples = request.samples;
  heard.encode(*hearing.answer);
  this->hearing_ = hearing;
}

void Session::hear_() {
  Hearing &hearing = this->hearing_;
  Ear::Step step;
  while (hearing.samples.size > 0 && step.inferences == 0 && step.outcome.ok()) {
    int16_t samples[PIECE];
    const size_t count = std::min(hearing.samples.size / SAMPLE_SIZE, PIECE);
    WireReader reader(hearing.samples.data, count * SAMPLE_SIZE);
    std::generate_n(samples, count, [&reader] { return static_cast<int16_t>(reader.u16()); });
    step = this->ear_.hear(samples, count, hearing.answer);
    hearing.samples.data += step.taken * SAMPLE_SIZE;
    hearing.samples.size -= step.taken * SAMPLE_SIZE;
    hearing.slices += step.made ? 1 : 0;
    this->link_.stats().inferences += step.inferences;
    if (hearing.slices > this->max_slices_) {
      step.outcome = {ErrorCode::FRONTEND, 0, "more slices than its step gives"};
    }
  }
  if (step.outcome.ok() && hearing.samples.size > 0) {
    return;
  }
  Reply &reply = *hearing.reply;
  hearing = Hearing();
  if (step.outcome.ok()) {
    reply.finish();
  } else {
    reply.error(step.outcome.code, step.outcome.detail, step.outcome.text);
  }
}

/// Takes the microphone's samples, up to the next inference; returns whether more may wait. It continues without a
/// listening model, and ends with the host.
bool Session::overhear_() {
  if (!this->link_.active()) {
    this->end_sound_();
    return false;
  }
  int16_t samples[PIECE];
  bool inferred = false;
  size_t count = PIECE;
  while (count == PIECE && !inferred) {
    count = this->microphone_->read(samples, PIECE);
    this->recording_.add(samples, count);
    for (size_t done = 0; done < count && this->ear_.listening();) {
      RawWriter slice(this->recording_.slice());
      const Ear::Step step = this->ear_.hear(samples + done, count - done, &slice);
      done += step.taken;
      inferred = inferred || step.inferences > 0;
      this->link_.stats().inferences += step.inferences;
      if (step.outcome.ok() && step.made) {
        this->recording_.add_slice(slice.size());
      } else if (!step.outcome.ok()) {
        this->overheard_ = step.outcome;
      }
    }
  }
  return count == PIECE;
}

template<> void Session::handle_(const wire::ReadSound &request, Reply &reply) {
  if (!this->recording_.running()) {
    return reply.error(ErrorCode::NOT_LISTENING);
  }
  wire::Sound sound;
  sound.first = this->recording_.first_sample(request.first);
  sound.lost = this->microphone_->lost();
  FrameWriter &answer = reply.begin(wire::Sound::TYPE);
  sound.encode(answer);
  this->recording_.write_samples(sound.first, reply.room() - wire::Sound::FIXED_SIZE, &answer);
  reply.finish();
}

template<> void Session::handle_(const wire::ReadHeard &request, Reply &reply) {
  if (!this->recording_.running()) {
    return reply.error(ErrorCode::NOT_LISTENING);
  }
  wire::Heard heard;
  heard.first = this->recording_.first_slice(request.first);
  if (heard.first == this->recording_.slices() && !this->overheard_.ok()) {
    return reply.error(this->overheard_.code, this->overheard_.detail, this->overheard_.text);
  }
  FrameWriter &answer = reply.begin(wire::Heard::TYPE);
  heard.encode(answer);
  this->recording_.write_slices(heard.first, reply.room() - wire::Heard::FIXED_SIZE, &answer);
  reply.finish();
}

// --- Details of an inference ---

template<> void Session::handle_(const wire::ReadOutput &request, Reply &reply) {
  ModelSlot *slot = this->open_slot_(request.model, reply);
  if (slot == nullptr) {
    return;
  }
  if (request.inferences != slot->inferences || slot->needs_reset) {
    return reply.error(ErrorCode::STALE_OUTPUT);
  }
  const ByteView tensor = slot->engine->output(request.output);
  if (tensor.data == nullptr) {
    return reply.error(ErrorCode::NO_SUCH_OUTPUT, slot->facts.outputs);
  }
  const size_t offset = std::min<size_t>(request.offset, tensor.size);
  wire::OutputPiece piece;
  piece.total = static_cast<uint32_t>(tensor.size);
  piece.offset = static_cast<uint32_t>(offset);
  piece.data = {tensor.data + offset, std::min(tensor.size - offset, reply.room() - wire::OutputPiece::FIXED_SIZE)};
  reply.send(piece);
}

template<> void Session::handle_(const wire::ReadProfile &request, Reply &reply) {
  ModelSlot *slot = this->open_slot_(request.model, reply);
  if (slot == nullptr) {
    return;
  }
  const uint16_t total = slot->engine->profiled_ops();
  if (total == 0) {
    return reply.error(ErrorCode::NO_PROFILE);
  }
  wire::Profile profile;
  profile.total = total;
  profile.first = std::min(request.first, total);
  FrameWriter &answer = reply.begin(wire::Profile::TYPE);
  profile.encode(answer);
  const size_t room = (reply.room() - wire::Profile::FIXED_SIZE) / wire::OpTime::FIXED_SIZE;
  const size_t end = std::min<size_t>(total, profile.first + room);
  for (size_t i = profile.first; i < end; i++) {
    slot->engine->profiled_op(static_cast<uint16_t>(i)).encode(answer);
  }
  reply.finish();
}

// --- Upload ---

template<> void Session::handle_(const wire::UploadBegin &request, Reply &reply) {
  if (this->slot_(request.model, reply) != nullptr) {
    finish(this->store_->begin(request), reply);
  }
}

template<> void Session::handle_(const wire::UploadPiece &request, Reply &reply) {
  finish(this->store_->write(request), reply);
}

template<> void Session::handle_(const wire::UploadCommit &request, Reply &reply) {
  Digest digest;
  std::copy(std::begin(request.sha256), std::end(request.sha256), digest.begin());
  uint8_t index = 0;
  const Outcome outcome = this->store_->commit(digest, &index);
  if (!outcome.ok()) {
    return reply.error(outcome.code, outcome.detail, outcome.text);
  }
  this->close_(index);
  reply.send(this->describe_(index));
}

// --- Board ---

template<> void Session::handle_(const wire::ReadStats & /*request*/, Reply &reply) {
  wire::Stats stats = this->link_.stats();
  stats.heap_free = stats.heap_smallest_free = stats.heap_largest_block = wire::UNKNOWN;
  stats.psram_free = stats.psram_smallest_free = stats.stack_free = wire::UNKNOWN;
  this->platform_->read_memory(&stats);
  reply.send(stats);
}

// --- Dispatch, after all handlers ---

void Session::on_request(uint8_t type, WireReader &payload, Reply &reply) {
  const bool known = wire::visit_request(type, [&](auto request) {
    if (request.decode(payload)) {
      this->handle_(request, reply);
    } else {
      reply.error(ErrorCode::BAD_REQUEST);
    }
  });
  if (!known) {
    reply.error(ErrorCode::UNKNOWN_REQUEST, type);
  }
}

}  // namespace esphome::mww_harness
