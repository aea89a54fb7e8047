#include <algorithm>

#include "fake_board.h"
#include "sha256.h"
#include "test.h"

using namespace esphome::mww_harness;
using wire::ErrorCode;

namespace {

constexpr uint16_t FIRST = 65533;  // sequence numbers wrap within each test
constexpr uint8_t STRIDE = 2;
constexpr size_t FRAME = STRIDE * 40;

wire::Hello hello(uint32_t nonce) {
  wire::Hello message;
  message.protocol_min = message.protocol_max = wire::PROTOCOL_VERSION;
  message.nonce = nonce;
  return message;
}

template<typename Request> Request on_slot(uint8_t slot) {
  Request request;
  request.model = slot;
  return request;
}

std::vector<uint8_t> make_model(size_t size, uint8_t stride = STRIDE) {
  std::vector<uint8_t> content(size);
  for (size_t i = 0; i < size; i++) {
    content[i] = static_cast<uint8_t>(i * 7);
  }
  content[0] = stride;
  return content;
}

/// Uploads a model, and returns the sequence number after it.
uint16_t upload(FakeBoard &board, uint16_t sequence, uint8_t slot, const std::vector<uint8_t> &content) {
  const Digest digest = sha256(content.data(), content.size());
  wire::UploadBegin begin = on_slot<wire::UploadBegin>(slot);
  begin.size = static_cast<uint32_t>(content.size());
  std::copy(digest.begin(), digest.end(), begin.sha256);
  board.send(sequence++, begin);
  for (size_t at = 0; at < content.size(); at += 500) {
    wire::UploadPiece piece;
    piece.offset = static_cast<uint32_t>(at);
    piece.data = {content.data() + at, std::min<size_t>(500, content.size() - at)};
    board.send(sequence++, piece);
  }
  wire::UploadCommit commit;
  std::copy(digest.begin(), digest.end(), commit.sha256);
  board.send(sequence++, commit);
  return sequence;
}

/// Begins a session with an open model in slot 0; returns the next sequence number.
uint16_t open_model(FakeBoard &board) {
  board.send(FIRST, hello(1));
  uint16_t sequence = upload(board, static_cast<uint16_t>(FIRST + 1), 0, make_model(1000));
  board.send(sequence++, on_slot<wire::Open>(0));
  wire::Model model;
  CHECK(board.last(&model));
  CHECK_EQUAL(model.state, wire::OPEN);
  return sequence;
}

wire::Infer infer(const std::vector<uint8_t> &frames) {
  wire::Infer request;
  request.frames = {frames.data(), frames.size()};
  return request;
}

wire::Listen listen(uint8_t models, uint8_t step_ms = 1) {
  wire::Listen request;
  request.models = models;
  request.step_ms = step_ms;
  return request;
}

wire::Hear hear(const std::vector<uint8_t> &samples) {
  wire::Hear request;
  request.samples = {samples.data(), samples.size()};
  return request;
}

std::vector<uint8_t> sound(size_t samples, uint8_t value = 1) {
  std::vector<uint8_t> bytes(samples * 2);
  for (size_t i = 0; i < samples; i++) {
    bytes[2 * i] = value;
  }
  return bytes;
}

ErrorCode last_error(FakeBoard &board) {
  wire::Error error;
  return board.last(&error) ? static_cast<ErrorCode>(error.code) : ErrorCode::OK;
}

}  // namespace

TEST(a_boot_is_announced_and_nothing_else_is_said_without_a_session) {
  FakeBoard board;
  board.feed(nullptr, 0);
  board.now = 10000;
  board.feed(nullptr, 0);
  CHECK_EQUAL(board.sent.size(), 1);
  wire::Heartbeat heartbeat;
  CHECK(board.last(&heartbeat));
  CHECK_EQUAL(heartbeat.boot_id, 99);
  board.send(5, wire::ReadStats());
  CHECK(last_error(board) == ErrorCode::NO_SESSION);
}

TEST(welcome_tells_the_limits_and_repeats_for_the_same_nonce) {
  FakeBoard board;
  board.send(FIRST, hello(77));
  wire::Welcome welcome;
  uint16_t sequence;
  CHECK(board.last(&welcome, &sequence));
  CHECK_EQUAL(sequence, FIRST);
  CHECK_EQUAL(welcome.nonce, 77);
  CHECK_EQUAL(welcome.window, FakeBoard::WINDOW);
  CHECK_EQUAL(welcome.max_payload, FakeBoard::MAX_PAYLOAD);
  board.send(static_cast<uint16_t>(FIRST + 1), wire::ReadStats());
  board.send(FIRST, hello(77));  // a late copy: the session goes on
  CHECK(board.last(&welcome));
  board.send(static_cast<uint16_t>(FIRST + 2), wire::ReadStats());
  wire::Stats stats;
  CHECK(board.last(&stats));
  CHECK_EQUAL(stats.heap_free, 1234);
  CHECK_EQUAL(stats.psram_free, wire::UNKNOWN);
}

TEST(another_protocol_version_is_refused_with_the_boards_own) {
  FakeBoard board;
  wire::Hello message = hello(1);
  message.protocol_min = message.protocol_max = wire::PROTOCOL_VERSION + 1;
  board.send(0, message);
  wire::Error error;
  CHECK(board.last(&error));
  CHECK(static_cast<ErrorCode>(error.code) == ErrorCode::VERSION_MISMATCH);
  CHECK_EQUAL(error.detail, wire::PROTOCOL_VERSION * 257);
}

TEST(a_repeated_infer_is_answered_from_memory) {
  FakeBoard board;
  const uint16_t sequence = open_model(board);
  const std::vector<uint8_t> frames(3 * FRAME, 1);
  board.send(sequence, infer(frames));
  const std::vector<uint8_t> answer = board.sent.back();
  for (int i = 0; i < 5; i++) {
    board.send(sequence, infer(frames));
    CHECK(board.sent.back() == answer);
  }
  CHECK_EQUAL(board.engines[0].inferences, 3);
}

TEST(a_gap_is_refused_with_the_number_expected) {
  FakeBoard board;
  const uint16_t sequence = open_model(board);
  board.send(static_cast<uint16_t>(sequence + 1), infer(std::vector<uint8_t>(FRAME, 1)));
  wire::Gap gap;
  uint16_t refused;
  CHECK(board.last(&gap, &refused));
  CHECK_EQUAL(gap.expected, sequence);
  CHECK_EQUAL(refused, static_cast<uint16_t>(sequence + 1));
  CHECK_EQUAL(board.engines[0].inferences, 0);
}

TEST(a_repeat_older_than_the_memory_is_ignored) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  const uint16_t old = sequence;
  for (int i = 0; i < FakeBoard::WINDOW + 1; i++) {
    board.send(sequence++, infer(std::vector<uint8_t>(FRAME, 1)));
  }
  const size_t sent = board.sent.size();
  board.send(old, infer(std::vector<uint8_t>(FRAME, 1)));
  CHECK_EQUAL(board.sent.size(), sent);
  CHECK_EQUAL(board.engines[0].inferences, FakeBoard::WINDOW + 1);
}

TEST(one_poll_makes_one_inference) {
  FakeBoard board;
  const uint16_t sequence = open_model(board);
  const std::vector<uint8_t> frames(3 * FRAME, 1);
  uint8_t frame[wire_size(FakeBoard::MAX_PAYLOAD)];
  FrameWriter writer(frame, sizeof(frame));
  writer.begin(wire::Infer::TYPE, sequence);
  infer(frames).encode(writer);
  const size_t size = writer.end();
  CHECK_EQUAL(board.session().feed(frame, size), size);
  for (size_t polls = 1; polls <= 3; polls++) {
    CHECK_EQUAL(board.session().feed(frame, size), 0);  // the next request waits outside
    CHECK_EQUAL(board.session().poll(0), polls < 3);
    CHECK_EQUAL(board.engines[0].inferences, polls);
  }
}

TEST(a_failed_inference_needs_a_reset) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  const std::vector<uint8_t> frames(3 * FRAME, 1);
  board.engines[0].fail_after = 1;
  board.send(sequence++, infer(frames));
  wire::Error error;
  CHECK(board.last(&error));
  CHECK(static_cast<ErrorCode>(error.code) == ErrorCode::INFERENCE_FAILED);
  CHECK_EQUAL(error.detail, 1);
  CHECK(error.text == "broken");
  board.send(sequence++, infer(frames));
  CHECK(last_error(board) == ErrorCode::NEEDS_RESET);
  board.engines[0].fail_after = SIZE_MAX;
  board.send(sequence++, on_slot<wire::Reset>(0));
  board.send(sequence++, infer(frames));
  wire::Outputs outputs;
  CHECK(board.last(&outputs));
  CHECK_EQUAL(outputs.first, 0);
}

TEST(odd_requests_are_refused_by_name) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  board.send(sequence++, infer(std::vector<uint8_t>(FRAME - 1)));
  CHECK(last_error(board) == ErrorCode::BAD_REQUEST);
  board.send(sequence++, infer(std::vector<uint8_t>((FakeBoard::MAX_FRAMES + 1) * FRAME)));
  CHECK(last_error(board) == ErrorCode::TOO_MANY_FRAMES);
  board.send(sequence++, on_slot<wire::Open>(wire::MAX_MODELS));
  CHECK(last_error(board) == ErrorCode::NO_SUCH_SLOT);
  board.send(sequence++, on_slot<wire::Open>(1));
  CHECK(last_error(board) == ErrorCode::NO_MODEL);
  board.send(sequence++, on_slot<wire::Reset>(1));
  CHECK(last_error(board) == ErrorCode::NOT_OPEN);
  board.send(sequence++, on_slot<wire::ReadProfile>(0));
  CHECK(last_error(board) == ErrorCode::NO_PROFILE);
  wire::ReadOutput stale = on_slot<wire::ReadOutput>(0);
  stale.inferences = 1;
  board.send(sequence++, stale);
  CHECK(last_error(board) == ErrorCode::STALE_OUTPUT);
  board.send(sequence++, wire::Done());
  CHECK(last_error(board) == ErrorCode::UNKNOWN_REQUEST);
}

TEST(an_output_larger_than_a_packet_comes_in_pieces) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  size_t found = 0;
  while (found < sizeof(board.engines[0].tensor)) {
    wire::ReadOutput request = on_slot<wire::ReadOutput>(0);
    request.offset = static_cast<uint32_t>(found);
    board.send(sequence++, request);
    wire::OutputPiece piece;
    CHECK(board.last(&piece));
    CHECK_EQUAL(piece.total, sizeof(board.engines[0].tensor));
    CHECK(piece.data.size > 0);
    found += piece.data.size;
  }
  CHECK_EQUAL(found, sizeof(board.engines[0].tensor));
}

TEST(bye_and_a_new_hello_close_the_models) {
  FakeBoard board;
  open_model(board);
  board.send(100, hello(2));
  CHECK(!board.engines[0].loaded);
  board.send(101, on_slot<wire::Open>(0));
  CHECK(board.engines[0].loaded);
  board.send(102, wire::Bye());
  CHECK(!board.engines[0].loaded);
  board.send(103, wire::ReadStats());
  CHECK(last_error(board) == ErrorCode::NO_SESSION);
}

TEST(a_refused_model_leaves_its_slot_closed) {
  FakeBoard board;
  board.send(0, hello(1));
  uint16_t sequence = upload(board, 1, 0, make_model(100, 0xEE));
  board.send(sequence++, on_slot<wire::Open>(0));
  CHECK(last_error(board) == ErrorCode::MODEL_OPERATOR);
  sequence = upload(board, sequence, 0, make_model(100, 0));  // an engine that reports no stride
  board.send(sequence++, on_slot<wire::Open>(0));
  CHECK(last_error(board) == ErrorCode::MODEL_INPUT);
  CHECK(!board.engines[0].loaded);
}

TEST(a_model_opens_at_every_misalignment_that_is_asked_for) {
  FakeBoard board;
  board.send(0, hello(1));
  const std::vector<uint8_t> content = make_model(1000);
  uint16_t sequence = upload(board, 1, 0, content);
  const uint8_t *stored = nullptr;
  for (uint8_t misalignment = 0; misalignment < 16; misalignment++) {
    wire::Open open = on_slot<wire::Open>(0);
    open.flags = static_cast<uint8_t>(misalignment << wire::OPEN_MISALIGNMENT_SHIFT);
    board.send(sequence++, open);
    const StoredModel &model = board.engines[0].opened;
    CHECK(board.engines[0].loaded);
    CHECK(std::equal(content.begin(), content.end(), model.data, model.data + model.size));
    if (misalignment == 0) {
      stored = model.data;
    } else {
      CHECK(model.data != stored);
      CHECK_EQUAL(reinterpret_cast<uintptr_t>(model.data) % 16, static_cast<uintptr_t>(misalignment));
    }
  }
  board.send(sequence++, on_slot<wire::Close>(0));
  CHECK(!board.engines[0].loaded);
}

TEST(heartbeats_come_while_the_host_is_heard_and_stop_after) {
  FakeBoard board;
  board.send(0, hello(1));
  const size_t before = board.sent.size();
  for (; board.now < 4000; board.now += 10) {
    board.feed(nullptr, 0);
  }
  const size_t beats = board.sent.size() - before;
  CHECK(beats >= 35 && beats <= 40);
  CHECK(board.session().active());
  board.now = 20000;
  board.feed(nullptr, 0);
  CHECK_EQUAL(board.sent.size(), before + beats);
  CHECK(!board.session().active());
}

TEST(the_partition_keeps_every_whole_model_and_refuses_what_has_no_room) {
  FakeBoard board;  // 16 sectors, two of them the table
  board.send(0, hello(1));
  uint16_t sequence = 1;
  for (uint8_t slot = 0; slot < wire::MAX_MODELS; slot++) {
    sequence = upload(board, sequence, slot, make_model(3 * wire::SECTOR_SIZE - slot));
  }
  sequence = upload(board, sequence, 0, make_model(2 * wire::SECTOR_SIZE, 9));
  sequence = upload(board, sequence, 1, make_model(3 * wire::SECTOR_SIZE));
  wire::UploadBegin begin = on_slot<wire::UploadBegin>(2);
  begin.size = 4 * wire::SECTOR_SIZE;
  board.send(sequence++, begin);
  wire::Error error;
  CHECK(board.last(&error));
  CHECK(static_cast<ErrorCode>(error.code) == ErrorCode::NO_ROOM);
  CHECK_EQUAL(error.detail, 3 * wire::SECTOR_SIZE);
  FakeBoard rebooted(board.partition.bytes);
  for (uint8_t slot = 0; slot < wire::MAX_MODELS; slot++) {
    CHECK(rebooted.store().verify(slot));
  }
  CHECK_EQUAL(rebooted.store().model(0).data[0], 9);
}

TEST(power_lost_at_any_write_leaves_the_old_model_or_the_new_one) {
  const std::vector<uint8_t> old_model = make_model(9000);
  const std::vector<uint8_t> new_model = make_model(7000, 3);
  bool done = false;
  for (int operations = 0; !done; operations++) {
    FakeBoard board;
    board.send(0, hello(1));
    const uint16_t sequence = upload(board, 1, 0, old_model);
    board.partition.operations_left = operations;
    upload(board, sequence, 0, new_model);
    done = !board.partition.failed;
    FakeBoard rebooted(board.partition.bytes);
    CHECK(rebooted.store().verify(0));
    CHECK_EQUAL(rebooted.store().entry(0).length, done ? new_model.size() : old_model.size());
  }
}

TEST(a_model_with_damaged_bytes_is_corrupt_and_never_loaded) {
  FakeBoard board;
  open_model(board);
  board.partition.bytes[board.store().entry(0).offset + 10] ^= 1;
  FakeBoard rebooted(board.partition.bytes);
  rebooted.send(0, hello(3));
  rebooted.send(1, on_slot<wire::Describe>(0));
  wire::Model model;
  CHECK(rebooted.last(&model));
  CHECK_EQUAL(model.state, wire::CORRUPT);
  rebooted.send(2, on_slot<wire::Open>(0));
  CHECK(last_error(rebooted) == ErrorCode::MODEL_CORRUPT);
}

// --- Sound ---

TEST(sound_becomes_slices_and_outputs_however_it_is_cut) {
  std::vector<uint8_t> expected;
  for (const size_t piece : {16u, 15u, 1u}) {  // of 16 samples a slice, two slices a frame
    FakeBoard board;
    uint16_t sequence = open_model(board);
    board.send(sequence++, listen(1));
    std::vector<uint8_t> results;
    uint32_t slices = 0;
    for (size_t at = 0; at < 240; at += piece) {
      board.send(sequence++, hear(sound(piece)));
      wire::Heard heard;
      CHECK(board.last(&heard));
      CHECK_EQUAL(heard.first, slices);
      results.insert(results.end(), heard.slices.data, heard.slices.data + heard.slices.size);
      slices = 0;
      for (size_t row = 0; row < results.size(); slices++) {
        row += 41 + (results[row + 40] != 0 ? wire::Sample::FIXED_SIZE : 0);
      }
    }
    CHECK_EQUAL(slices, 13);
    CHECK_EQUAL(board.engines[0].inferences, 6);
    expected = expected.empty() ? results : expected;
    CHECK(results == expected);
  }
}

TEST(a_repeated_hear_is_answered_from_memory) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  board.send(sequence++, listen(1));
  board.send(sequence, hear(sound(16)));
  board.send(static_cast<uint16_t>(sequence + 1), hear(sound(16)));
  const std::vector<uint8_t> answer = board.sent.back();
  const uint16_t sum = board.frontend.sum;
  board.send(static_cast<uint16_t>(sequence + 1), hear(sound(16)));
  CHECK(board.sent.back() == answer);
  CHECK_EQUAL(board.frontend.sum, sum);
}

TEST(every_model_that_listens_takes_each_slice) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  sequence = upload(board, sequence, 2, make_model(900, 1));
  board.send(sequence++, on_slot<wire::Open>(2));
  board.send(sequence++, listen(0b101));
  board.send(sequence++, hear(sound(16)));
  board.send(sequence++, hear(sound(16)));
  board.send(sequence++, hear(sound(16)));
  wire::Heard heard;
  CHECK(board.last(&heard));
  CHECK_EQUAL(heard.slices.data[40], 0b100);
  board.send(sequence++, hear(sound(16)));
  CHECK(board.last(&heard));
  CHECK_EQUAL(heard.slices.data[40], 0b101);
  CHECK_EQUAL(heard.slices.size, 41 + 2 * wire::Sample::FIXED_SIZE);
  board.send(sequence++, on_slot<wire::Close>(2));
  board.send(sequence++, hear(sound(16)));
  CHECK(board.last(&heard));
  CHECK_EQUAL(heard.slices.size, 41);
  CHECK_EQUAL(board.engines[2].inferences, 2);
}

TEST(listen_begins_anew) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  std::vector<uint8_t> first;
  for (int round = 0; round < 2; round++) {
    board.send(sequence++, listen(1));
    board.send(sequence++, hear(sound(16)));
    board.send(sequence++, hear(sound(16)));
    board.send(sequence++, hear(sound(16)));
    board.send(sequence++, hear(sound(16)));
    wire::Heard heard;
    CHECK(board.last(&heard));
    CHECK_EQUAL(heard.first, 1);
    const std::vector<uint8_t> result(heard.slices.data, heard.slices.data + heard.slices.size);
    first = round == 0 ? result : first;
    CHECK(result == first);
  }
  CHECK_EQUAL(board.frontend.started, 2);
}

TEST(sound_that_nobody_can_hear_is_refused_by_name) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  board.send(sequence++, hear(sound(16)));
  CHECK(last_error(board) == ErrorCode::NOT_LISTENING);
  board.send(sequence++, listen(2));
  CHECK(last_error(board) == ErrorCode::NOT_OPEN);
  board.send(sequence++, listen(0x80));
  CHECK(last_error(board) == ErrorCode::NO_SUCH_SLOT);
  board.send(sequence++, listen(1, 31));
  CHECK(last_error(board) == ErrorCode::FRONTEND);
  board.send(sequence++, hear(sound(16)));
  CHECK(last_error(board) == ErrorCode::NOT_LISTENING);
  board.send(sequence++, listen(1));
  board.send(sequence++, hear(std::vector<uint8_t>(15)));
  CHECK(last_error(board) == ErrorCode::BAD_REQUEST);
  board.send(sequence++, hear(sound(17)));  // a payload of 512 bytes takes one step
  CHECK(last_error(board) == ErrorCode::TOO_MUCH_SOUND);
  board.engines[0].fail_after = 0;
  for (int slice = 0; slice < 4; slice++) {
    board.send(sequence++, hear(sound(16)));
  }
  CHECK(last_error(board) == ErrorCode::INFERENCE_FAILED);
  board.send(sequence++, hear(sound(16)));
  CHECK(last_error(board) == ErrorCode::NOT_LISTENING);
  board.send(sequence++, infer(std::vector<uint8_t>(FRAME)));
  CHECK(last_error(board) == ErrorCode::NEEDS_RESET);
}

TEST(a_model_that_is_reset_or_infers_listens_no_more) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  board.send(sequence++, listen(1));
  board.send(sequence++, infer(std::vector<uint8_t>(FRAME)));
  board.send(sequence++, hear(sound(16)));
  CHECK(last_error(board) == ErrorCode::NOT_LISTENING);
  board.send(sequence++, listen(1));
  board.send(sequence++, on_slot<wire::Reset>(0));
  board.send(sequence++, hear(sound(16)));
  CHECK(last_error(board) == ErrorCode::NOT_LISTENING);
}

// --- Microphone ---

wire::Listen overhear(uint8_t models) {
  wire::Listen request = listen(models);
  request.source = wire::SOUND_OF_MICROPHONE;
  return request;
}

TEST(what_a_microphone_hears_is_read_as_often_as_wanted) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  board.send(sequence++, overhear(1));
  CHECK(board.microphone.on);
  board.microphone.heard.assign(80, 3);
  board.feed(nullptr, 0);
  for (int times = 0; times < 2; times++) {
    wire::ReadSound request;
    request.first = 50;
    board.send(sequence++, request);
    wire::Sound sound;
    CHECK(board.last(&sound));
    CHECK_EQUAL(sound.first, 50);
    CHECK_EQUAL(sound.lost, 5);
    CHECK_EQUAL(sound.samples.size, 60);
    CHECK_EQUAL(sound.samples.data[0], 3);
    board.send(sequence++, wire::ReadHeard());
    wire::Heard heard;
    CHECK(board.last(&heard));
    CHECK_EQUAL(heard.slices.size, 3 * 41 + wire::Sample::FIXED_SIZE);
  }
  wire::ReadHeard request;
  request.first = 2;
  board.send(sequence++, request);
  wire::Heard heard;
  CHECK(board.last(&heard));
  CHECK_EQUAL(heard.slices.size, 41);
  board.send(sequence++, wire::Bye());
  CHECK(!board.microphone.on);
}

TEST(of_a_longer_time_the_last_second_is_kept) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  board.send(sequence++, overhear(1));
  for (int pieces = 0; pieces < 20; pieces++) {
    board.microphone.heard.assign(1000, static_cast<int16_t>(pieces));
    board.feed(nullptr, 0);
  }
  board.send(sequence++, wire::ReadSound());
  wire::Sound sound;
  CHECK(board.last(&sound));
  CHECK_EQUAL(sound.first, 20000 - Recording::SAMPLES);
  CHECK_EQUAL(sound.samples.data[0], 3);
  board.send(sequence++, wire::ReadHeard());
  wire::Heard heard;
  CHECK(board.last(&heard));
  CHECK_EQUAL(heard.first, 20000 / 16 - 2 - Recording::SLICES);
  wire::ReadSound request;
  request.first = 20001;  // not written yet
  board.send(sequence++, request);
  CHECK(board.last(&sound));
  CHECK_EQUAL(sound.first, 20000);
  CHECK_EQUAL(sound.samples.size, 0);
}

TEST(a_microphone_stops_when_the_host_is_silent_or_asks_for_something_else) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  board.send(sequence++, overhear(1));
  board.send(sequence++, hear(sound(16)));
  CHECK(last_error(board) == ErrorCode::NOT_LISTENING);
  board.send(sequence++, listen(1));
  CHECK(!board.microphone.on);
  board.send(sequence++, wire::ReadSound());
  CHECK(last_error(board) == ErrorCode::NOT_LISTENING);
  board.send(sequence++, overhear(1));
  board.now += 6000;
  board.feed(nullptr, 0);
  CHECK(!board.microphone.on);
  board.microphone.broken = true;
  board.send(sequence++, overhear(1));
  board.send(sequence++, overhear(1));  // the answer to the first is followed by a Heartbeat
  CHECK(last_error(board) == ErrorCode::NO_MEMORY);
  board.send(sequence++, hear(sound(16)));
  CHECK(last_error(board) == ErrorCode::NOT_LISTENING);
}

TEST(a_model_that_fails_at_the_microphone_is_reported_after_its_slices) {
  FakeBoard board;
  uint16_t sequence = open_model(board);
  board.send(sequence++, overhear(1));
  board.engines[0].fail_after = 0;
  board.microphone.heard.assign(160, 1);
  board.feed(nullptr, 0);
  board.send(sequence++, wire::ReadHeard());
  wire::Heard heard;
  CHECK(board.last(&heard));
  CHECK_EQUAL(heard.slices.size, 41);
  wire::ReadHeard request;
  request.first = 1;
  board.send(sequence++, request);
  CHECK(last_error(board) == ErrorCode::INFERENCE_FAILED);
  board.send(sequence++, wire::ReadSound());
  wire::Sound sound;
  CHECK(board.last(&sound));  // it goes on hearing
  CHECK_EQUAL(sound.samples.size, 320);
}

TEST(a_queue_of_samples_loses_what_does_not_fit_and_counts_it) {
  SampleQueue<8> queue;
  const int16_t samples[] = {1, 2, 3, 4, 5};
  int16_t read[8];
  for (int round = 0; round < 5; round++) {
    queue.write(samples, 5);
    CHECK_EQUAL(queue.read(read, 3), 3);
    CHECK_EQUAL(queue.read(read, 8), 2);
    CHECK_EQUAL(read[1], 5);
  }
  queue.write(samples, 5);
  queue.write(samples, 5);
  CHECK_EQUAL(queue.lost(), 2);
  CHECK_EQUAL(queue.read(read, 8), 8);
  CHECK_EQUAL(read[7], 3);
  queue.clear();
  CHECK_EQUAL(queue.lost(), 0);
}
