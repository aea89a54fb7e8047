#pragma once

#include "wire.h"

namespace esphome::mww_harness {

/// Parses a payload as the message of its type and writes it again.
bool reencode(uint8_t type, WireReader &reader, FrameWriter &writer);

}  // namespace esphome::mww_harness
