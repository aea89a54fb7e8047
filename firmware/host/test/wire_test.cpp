#include <cstring>
#include <string>
#include <vector>

#include "detector.h"
#include "messages.h"
#include "sha256.h"
#include "test.h"
#include "wire.h"

using namespace esphome::mww_harness;

TEST(crc32_and_sha256_match_their_published_check_values) {
  const char *nine = "123456789";
  CHECK_EQUAL(crc32(reinterpret_cast<const uint8_t *>(nine), 9), 0xCBF43926);
  const Digest abc = sha256(reinterpret_cast<const uint8_t *>("abc"), 3);
  CHECK_EQUAL(abc[0], 0xBA);
  CHECK_EQUAL(abc[31], 0xAD);
}

TEST(frames_of_every_length_come_back_from_buffers_that_just_hold_them) {
  for (size_t size = 0; size < 600; size++) {
    std::vector<uint8_t> payload(size);
    for (size_t i = 0; i < size; i++) {
      payload[i] = static_cast<uint8_t>(size % 3 == 0 ? i : size % 3);
    }
    std::vector<uint8_t> frame(wire_size(size));
    FrameWriter writer(frame.data(), frame.size());
    writer.begin(9, 0x1234);
    writer.bytes(payload.data(), payload.size());
    const size_t written = writer.end();
    CHECK(written > 0);
    std::vector<uint8_t> buffer(size + 7);
    FrameDecoder decoder(buffer.data(), buffer.size());
    int frames = 0;
    for (size_t i = 0; i < written; i++) {
      if (decoder.push(frame[i]) == FrameDecoder::Event::FRAME) {
        frames++;
        CHECK_EQUAL(decoder.frame().type, 9);
        CHECK_EQUAL(decoder.frame().sequence, 0x1234);
        CHECK_EQUAL(decoder.frame().payload.size, size);
        CHECK(size == 0 || std::memcmp(decoder.frame().payload.data, payload.data(), size) == 0);
      }
    }
    CHECK_EQUAL(frames, 1);
  }
}

TEST(a_frame_that_does_not_fit_is_no_frame) {
  uint8_t buffer[20];
  for (size_t capacity = 0; capacity < sizeof(buffer); capacity++) {
    FrameWriter writer(buffer, capacity);
    writer.begin(1, 2);
    writer.text("sixteen bytes...");
    CHECK_EQUAL(writer.end(), 0);
  }
}

TEST(text_is_cut_at_255_bytes) {
  uint8_t buffer[400];
  FrameWriter writer(buffer, sizeof(buffer));
  writer.begin(1, 2);
  writer.text(std::string(300, 'x'));
  CHECK_EQUAL(writer.end(), wire_size(256));
}

TEST(reading_past_the_end_gives_zeros_and_fails) {
  const uint8_t payload[] = {1, 2, 3};
  WireReader reader(payload, sizeof(payload));
  CHECK_EQUAL(reader.u32(), 0);
  CHECK_EQUAL(reader.u8(), 0);
  CHECK(reader.text().empty());
  CHECK(!reader.finish());
}

TEST(a_detection_needs_a_second_of_quiet_and_a_sum_above_the_cutoff) {
  Detector detector;
  detector.arm(100, 2);
  Detection detection;
  for (int frame = 0; frame < 34; frame++) {  // 102 slices
    detection = detector.frame(3, 99);
    CHECK_EQUAL(detection.slice, 0);
  }
  detection = detector.frame(3, 101);
  CHECK_EQUAL(detection.slice, 0);  // 99 + 101 is not above 2 * 100
  detection = detector.frame(3, 102);
  CHECK_EQUAL(detection.slice, 3);
  CHECK_EQUAL(detection.average, 101);
  CHECK_EQUAL(detection.maximum, 102);
}
