#include "mww_codec.h"

#include <algorithm>

#include "detector.h"
#include "memory.h"
#include "reencode.h"
#include "sha256.h"
#include "wire.h"

using namespace esphome::mww_harness;

size_t mww_encode_frame(uint8_t type, uint16_t sequence, const uint8_t *payload, size_t size, uint8_t *frame,
                        size_t capacity) {
  FrameWriter writer(frame, capacity);
  writer.begin(type, sequence);
  writer.bytes(payload, size);
  return writer.end();
}

size_t mww_decode_frames(const uint8_t *stream, size_t size, size_t capacity, mww_frame_callback callback,
                         void *context) {
  Memory<uint8_t> buffer(capacity);
  FrameDecoder decoder(buffer.data(), buffer.size());
  size_t rejected = 0;
  for (size_t i = 0; i < size; i++) {
    const FrameDecoder::Event event = decoder.push(stream[i]);
    if (event == FrameDecoder::Event::REJECTED) {
      rejected++;
    } else if (event == FrameDecoder::Event::FRAME) {
      const Frame &frame = decoder.frame();
      callback(context, frame.type, frame.sequence, frame.payload.data, frame.payload.size);
    }
  }
  return rejected;
}

size_t mww_reencode(uint8_t type, const uint8_t *payload, size_t size, uint8_t *frame, size_t capacity) {
  WireReader reader(payload, size);
  FrameWriter writer(frame, capacity);
  writer.begin(type, 0);
  return reencode(type, reader, writer) ? writer.end() : 0;
}

void mww_sha256(const uint8_t *data, size_t size, uint8_t digest[32]) {
  const Digest found = sha256(data, size);
  std::copy(found.begin(), found.end(), digest);
}

size_t mww_detect(uint8_t cutoff, uint8_t window, uint8_t stride, const uint8_t *outputs, size_t count,
                  mww_detected *detections, size_t capacity) {
  Detector detector;
  detector.arm(cutoff, window);
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    const Detection detection = detector.frame(stride, outputs[i]);
    if (detection.slice == 0) {
      continue;
    }
    if (found < capacity) {
      detections[found] = {static_cast<uint32_t>(i), detection.slice, detection.average, detection.maximum};
    }
    found++;
  }
  return found;
}
