// Any bytes into the decoder, and any payload into every message: what is accepted is written again as it was.
#include <cstdlib>
#include <cstring>

#include "reencode.h"

using namespace esphome::mww_harness;

static constexpr size_t CAPACITY = 512;

static void check_message(uint8_t type, const ByteView &payload) {
  uint8_t encoded[wire_size(CAPACITY)];
  WireReader reader(payload.data, payload.size);
  FrameWriter writer(encoded, sizeof(encoded));
  writer.begin(type, 0);
  if (!reencode(type, reader, writer)) {
    return;
  }
  const size_t size = writer.end();
  uint8_t buffer[CAPACITY];
  FrameDecoder decoder(buffer, sizeof(buffer));
  for (size_t i = 0; i < size; i++) {
    if (decoder.push(encoded[i]) == FrameDecoder::Event::FRAME) {
      const ByteView &again = decoder.frame().payload;
      if (again.size == payload.size && std::memcmp(again.data, payload.data, again.size) == 0) {
        return;
      }
    }
  }
  std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t buffer[CAPACITY];
  FrameDecoder decoder(buffer, sizeof(buffer));
  for (size_t i = 0; i < size; i++) {
    if (decoder.push(data[i]) == FrameDecoder::Event::FRAME) {
      check_message(decoder.frame().type, decoder.frame().payload);
    }
  }
  if (size > 0 && size < CAPACITY - 7) {
    check_message(data[0], {data + 1, size - 1});
  }
  return 0;
}
