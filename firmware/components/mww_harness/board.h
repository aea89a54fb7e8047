#pragma once

#include "messages.h"

namespace esphome::mww_harness {

/// Fills in what the board knows of itself: chip, revision, clock, MAC address, versions, reset reason, boot id. The
/// strings live as long as the program.
void read_identity(wire::Welcome *welcome);

/// Fills in what is left of heaps and stack.
void read_memory(wire::Stats *stats);

}  // namespace esphome::mww_harness
