#include "reencode.h"

#include "messages.h"

namespace esphome::mww_harness {

bool reencode(uint8_t type, WireReader &reader, FrameWriter &writer) {
  bool whole = false;
  wire::visit_message(type, [&](auto message) {
    whole = message.decode(reader);
    if (whole) {
      message.encode(writer);
    }
  });
  return whole;
}

}  // namespace esphome::mww_harness
