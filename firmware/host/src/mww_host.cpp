#include "mww_host.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "memory.h"
#include "model_facts.h"
#include "session.h"

using namespace esphome::mww_harness;

namespace {

constexpr size_t MAX_STRIDE = UINT8_MAX;  // as wire::Model says it

class TableEngine final : public Engine {
 public:
  TableEngine(const mww_config &config, uint8_t slot)
      : table_(config.engine), inferences_(config.limits.batch), frame_(MAX_STRIDE * FEATURES), slot_(slot) {}

  Outcome load(const StoredModel &model, bool any_output, wire::Model *facts) override {
    mww_model_facts found{};
    const uint16_t code = this->table_.load(this->table_.context, this->slot_, model.data, model.size,
                                            model.manifest_arena, any_output ? 1 : 0, &found);
    copy_facts(found, facts);
    std::copy(std::begin(found.error_text), std::end(found.error_text) - 1, this->error_text_);
    return {static_cast<wire::ErrorCode>(code), found.error_detail, this->error_text_};
  }
  void unload() override { this->table_.unload(this->table_.context, this->slot_); }
  int8_t *frame() override { return this->frame_.data(); }
  Outcome reset() override { return outcome_(this->table_.reset(this->table_.context, this->slot_)); }
  Outcome infer(const int8_t *frames, size_t count, bool profile, InferenceResult *results) override {
    mww_inference *inferences = this->inferences_.data();
    const uint16_t code =
        this->table_.infer(this->table_.context, this->slot_, frames, count, profile ? 1 : 0, inferences);
    for (size_t i = 0; i < count; i++) {
      results[i] = {inferences[i].microseconds, inferences[i].output};
    }
    return outcome_(code);
  }
  ByteView output(uint8_t index) override {
    size_t size = 0;
    const uint8_t *data = this->table_.output(this->table_.context, this->slot_, index, &size);
    return {data, size};
  }
  uint16_t profiled_ops() override {
    mww_op_time time;
    uint16_t count = 0;
    while (this->table_.profile(this->table_.context, this->slot_, count, &time) != 0) {
      count++;
    }
    return count;
  }
  wire::OpTime profiled_op(uint16_t index) override {
    mww_op_time time{};
    this->table_.profile(this->table_.context, this->slot_, index, &time);
    wire::OpTime op;
    op.microseconds = time.microseconds;
    static_assert(sizeof(op.name) == sizeof(time.name));
    std::memcpy(op.name, time.name, sizeof(op.name));
    return op;
  }

 protected:
  static Outcome outcome_(uint16_t code) { return {static_cast<wire::ErrorCode>(code), 0, ""}; }

  mww_engine_table table_;
  Memory<mww_inference> inferences_;
  Memory<int8_t> frame_;
  char error_text_[sizeof(mww_model_facts::error_text)]{};
  uint8_t slot_;
};

class TableFrontend final : public Frontend {
 public:
  explicit TableFrontend(const mww_frontend_table &table) : table_(table) {}

  Outcome start(uint8_t step_ms) override {
    return {static_cast<wire::ErrorCode>(this->table_.start(this->table_.context, step_ms)), step_ms, ""};
  }
  void stop() override { this->table_.stop(this->table_.context); }
  size_t process(const int16_t *samples, size_t count, uint16_t *features, bool *made) override {
    uint8_t complete = 0;
    const size_t taken = this->table_.process(this->table_.context, samples, count, features, &complete);
    *made = complete != 0;
    return taken;
  }

 protected:
  mww_frontend_table table_;
};

class TableMicrophone final : public BoardMicrophone {
 public:
  explicit TableMicrophone(const mww_microphone_table &table)
      : table_(table), memory_(table.open == nullptr ? 0 : Recording::SIZE) {}

  Outcome start() override { return {static_cast<wire::ErrorCode>(this->table_.open(this->table_.context)), 0, ""}; }
  void stop() override { this->table_.close(this->table_.context); }
  uint8_t *memory() override { return this->memory_.data(); }
  size_t read(int16_t *samples, size_t count) override {
    return this->table_.read(this->table_.context, samples, count);
  }
  uint32_t lost() const override { return 0; }

 protected:
  mww_microphone_table table_;
  Memory<uint8_t> memory_;
};

class TablePartition final : public ModelPartition {
 public:
  explicit TablePartition(const mww_partition &table) : table_(table) {}

  const uint8_t *data() const override { return this->table_.data; }
  uint32_t size() const override { return this->table_.size; }
  bool erase(uint32_t offset, uint32_t size) override {
    return this->table_.erase(this->table_.context, offset, size) != 0;
  }
  bool write(uint32_t offset, const uint8_t *data, size_t size) override {
    return this->table_.write(this->table_.context, offset, data, size) != 0;
  }

 protected:
  mww_partition table_;
};

class TablePlatform final : public Platform {
 public:
  explicit TablePlatform(const mww_platform &table) : table_(table) {}

  void transmit(const uint8_t *data, size_t size) override { this->table_.transmit(this->table_.context, data, size); }
  void read_memory(wire::Stats *stats) override {
    if (this->table_.memory == nullptr) {
      return;
    }
    mww_memory memory{wire::UNKNOWN, wire::UNKNOWN, wire::UNKNOWN, wire::UNKNOWN, wire::UNKNOWN, wire::UNKNOWN};
    this->table_.memory(this->table_.context, &memory);
    stats->heap_free = memory.heap_free;
    stats->heap_smallest_free = memory.heap_smallest_free;
    stats->heap_largest_block = memory.heap_largest_block;
    stats->psram_free = memory.psram_free;
    stats->psram_smallest_free = memory.psram_smallest_free;
    stats->stack_free = memory.stack_free;
  }

 protected:
  mww_platform table_;
};

/// Welcome, with texts of its own.
class Identity {
 public:
  Identity(const mww_identity &from, const mww_limits &limits, uint32_t partition_size) {
    this->welcome_.models = limits.models;
    this->welcome_.flags = from.flags;
    this->welcome_.heartbeat_ms = limits.heartbeat_ms;
    this->welcome_.clock_mhz = from.clock_mhz;
    this->welcome_.receive_buffer = limits.receive_buffer;
    this->welcome_.partition_size = partition_size;
    this->welcome_.boot_id = from.boot_id;
    std::copy(std::begin(from.mac), std::end(from.mac), this->welcome_.mac);
    this->welcome_.chip = this->keep_(from.chip);
    this->welcome_.revision = this->keep_(from.revision);
    this->welcome_.board = this->keep_(from.board);
    this->welcome_.firmware = this->keep_(from.firmware);
    this->welcome_.engine = this->keep_(from.engine);
    this->welcome_.esphome = this->keep_(from.esphome);
    this->welcome_.idf = this->keep_(from.idf);
    this->welcome_.runtime = this->keep_(from.runtime);
    this->welcome_.kernels = this->keep_(from.kernels);
    this->welcome_.reset_reason = this->keep_(from.reset_reason);
  }

  const wire::Welcome &welcome() const { return this->welcome_; }

 protected:
  /// Copies a text, cut to what the buffer holds.
  std::string_view keep_(const char *text) {
    const size_t size = std::min(std::strlen(text), sizeof(this->texts_) - this->used_);
    char *kept = this->texts_ + this->used_;
    std::memcpy(kept, text, size);
    this->used_ += size;
    return {kept, size};
  }

  wire::Welcome welcome_;
  char texts_[160];
  size_t used_{0};
};

class Buffers {
 public:
  explicit Buffers(const mww_limits &limits)
      : receive_(raw_size(limits.max_payload)),
        transmit_(wire_size(limits.max_payload)),
        remembered_(limits.window * wire_size(remembered_payload(limits.max_payload, limits.max_frames))),
        answers_(limits.window),
        limits_(limits) {}

  LinkBuffers view() {
    return {this->receive_.data(),     this->transmit_.data(),   this->remembered_.data(), this->answers_.data(),
            this->limits_.max_payload, this->limits_.max_frames, this->limits_.window};
  }

 protected:
  Memory<uint8_t> receive_;
  Memory<uint8_t> transmit_;
  Memory<uint8_t> remembered_;
  Memory<Answer> answers_;
  mww_limits limits_;
};

bool valid(const mww_limits &limits) {
  return limits.max_payload >= 256 && limits.max_payload <= 60000 && limits.max_frames > 0 && limits.batch > 0 &&
         limits.window > 0 && limits.window <= 64 && limits.models > 0 && limits.models <= wire::MAX_MODELS;
}

}  // namespace

struct mww_session {
  explicit mww_session(const mww_config &config)
      : buffers(config.limits),
        engines{{config, 0}, {config, 1}, {config, 2}, {config, 3}},
        partition(config.partition),
        store(config.partition.data == nullptr ? nullptr : &partition),
        identity(config.identity, config.limits, store.partition_size()),
        platform(config.platform),
        frontend(config.frontend),
        microphone(config.microphone),
        results(config.limits.batch),
        session(identity.welcome(), buffers.view(), pointers, &store, &platform, results.data(), results.size(),
                config.frontend.start == nullptr ? nullptr : &frontend,
                config.microphone.open == nullptr ? nullptr : &microphone) {}

  Buffers buffers;
  TableEngine engines[wire::MAX_MODELS];
  Engine *pointers[wire::MAX_MODELS]{&engines[0], &engines[1], &engines[2], &engines[3]};
  TablePartition partition;
  ModelStore store;
  Identity identity;
  TablePlatform platform;
  TableFrontend frontend;
  TableMicrophone microphone;
  Memory<InferenceResult> results;
  Session session;
};

uint32_t mww_host_abi(void) { return MWW_HOST_ABI; }

mww_session *mww_session_create(const mww_config *config) {
  void *memory = valid(config->limits) ? std::malloc(sizeof(mww_session)) : nullptr;
  return memory == nullptr ? nullptr : new (memory) mww_session(*config);
}

void mww_session_destroy(mww_session *session) {
  session->session.close_models();
  session->~mww_session();
  std::free(session);
}

size_t mww_session_feed(mww_session *session, const uint8_t *data, size_t size) {
  return session->session.feed(data, size);
}

uint8_t mww_session_poll(mww_session *session, uint32_t now_ms) { return session->session.poll(now_ms) ? 1 : 0; }

uint8_t mww_session_active(const mww_session *session) { return session->session.active() ? 1 : 0; }

void mww_session_log(mww_session *session, uint8_t level, const char *text) { session->session.log(level, text); }
