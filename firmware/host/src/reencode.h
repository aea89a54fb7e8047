#pragma once

#include "wire.h"

namespace esphome::mww_harness {

template<typename Message> bool reencode(WireReader &reader, FrameWriter &writer) {
  Message message;
  if (!message.decode(reader)) {
    return false;
  }
  message.encode(writer);
  return true;
}

/// Parses a payload as the message of its type and writes it again.
bool reencode(uint8_t type, WireReader &reader, FrameWriter &writer);

}  // namespace esphome::mww_harness
