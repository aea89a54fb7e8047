// Runs a model with the firmware's engine: `mww_tflm MODEL ARENA manifest|probe any|checked < FRAMES`. Writes a line of
// facts, then for each frame a line with all outputs as hexadecimal bytes, then the operators of the last frame. The
// same must come again after a reset.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine_tflm.h"

using namespace esphome::mww_harness;

namespace {

class HostMemory final : public EngineHost {
 public:
  uint8_t *allocate(size_t size) override {
    return static_cast<uint8_t *>(std::aligned_alloc(16, (size + 15) & ~static_cast<size_t>(15)));
  }
  void deallocate(uint8_t *memory, size_t /*size*/) override { std::free(memory); }
  uint32_t micros() override {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
  }
};

std::vector<uint8_t> read_all(FILE *file) {
  std::vector<uint8_t> content;
  uint8_t chunk[4096];
  size_t size;
  while ((size = std::fread(chunk, 1, sizeof(chunk), file)) > 0) {
    content.insert(content.end(), chunk, chunk + size);
  }
  return content;
}

int fail(const char *what, const Outcome &outcome) {
  std::printf("%s error=%u detail=%u %s\n", what, static_cast<unsigned>(outcome.code), outcome.detail, outcome.text);
  return 1;
}

Outcome infer_all(TflmEngine &engine, const wire::Model &facts, const std::vector<uint8_t> &frames,
                  std::vector<std::vector<uint8_t>> *outputs) {
  const size_t frame_size = facts.stride * 40u;
  for (size_t at = 0; at + frame_size <= frames.size(); at += frame_size) {
    InferenceResult result;
    const bool last = at + 2 * frame_size > frames.size();
    const Outcome outcome = engine.infer(reinterpret_cast<const int8_t *>(frames.data() + at), 1, last, &result);
    if (!outcome.ok()) {
      return outcome;
    }
    outputs->emplace_back();
    for (uint8_t index = 0; index < facts.outputs; index++) {
      const ByteView output = engine.output(index);
      outputs->back().insert(outputs->back().end(), output.data, output.data + output.size);
    }
  }
  return {};
}

int run(TflmEngine &engine, const wire::Model &facts) {
  const std::vector<uint8_t> frames = read_all(stdin);
  std::vector<std::vector<uint8_t>> outputs, again;
  Outcome outcome = infer_all(engine, facts, frames, &outputs);
  if (outcome.ok()) {
    outcome = engine.reset();
  }
  if (outcome.ok()) {
    outcome = infer_all(engine, facts, frames, &again);
  }
  if (!outcome.ok()) {
    return fail("infer", outcome);
  }
  if (outputs != again) {
    return fail("reset", {wire::ErrorCode::INFERENCE_FAILED, 0, "other outputs than before it"});
  }
  for (const std::vector<uint8_t> &output : outputs) {
    for (const uint8_t byte : output) {
      std::printf("%02x", byte);
    }
    std::printf("\n");
  }
  for (uint16_t i = 0; i < engine.profiled_ops(); i++) {
    const wire::OpTime time = engine.profiled_op(i);
    std::printf("op %.24s %u\n", reinterpret_cast<const char *>(time.name), time.microseconds);
  }
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5 && argc != 6) {
    std::fprintf(stderr, "usage: mww_tflm MODEL ARENA manifest|probe any|checked [MISALIGNMENT] < FRAMES\n");
    return 2;
  }
  FILE *file = std::fopen(argv[1], "rb");
  if (file == nullptr) {
    std::perror(argv[1]);
    return 2;
  }
  const std::vector<uint8_t> content = read_all(file);
  std::fclose(file);

  HostMemory memory;
  const size_t misalignment = argc == 6 ? std::strtoul(argv[5], nullptr, 10) % 16 : 0;
  uint8_t *aligned = memory.allocate(content.size() + misalignment);
  uint8_t *model = aligned + misalignment;
  std::memcpy(model, content.data(), content.size());
  const bool probe = std::strcmp(argv[3], "probe") == 0;
  TflmEngine engine(&memory, probe ? ArenaSource::PROBE : ArenaSource::MANIFEST);
  wire::Model facts;
  const StoredModel stored{model, static_cast<uint32_t>(content.size()),
                           static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10))};
  const Outcome outcome = engine.load(stored, std::strcmp(argv[4], "any") == 0, &facts);
  if (!outcome.ok()) {
    std::free(aligned);
    return fail("load", outcome);
  }
  std::printf("stride=%u outputs=%u variables=%u arena_used=%u arena_size=%u variable_arena_used=%u\n", facts.stride,
              facts.outputs, facts.variables, facts.arena_used, facts.arena_size, facts.variable_arena_used);
  const int status = run(engine, facts);
  engine.unload();
  std::free(aligned);
  return status;
}
