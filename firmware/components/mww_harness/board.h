#pragma once

#include "messages.h"

namespace esphome::mww_harness {

/// Fills in the facts about the board: chip, revision, clock, MAC address, versions, reset reason, boot id. The
/// strings live as long as the program.
void read_identity(wire::Welcome *welcome);

/// Fills in the free memory of heaps and stack.
void read_memory(wire::Stats *stats);

}  // namespace esphome::mww_harness
