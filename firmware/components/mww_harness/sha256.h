#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace esphome::mww_harness {

using Digest = std::array<uint8_t, 32>;

/// SHA-256 of `data` (FIPS 180-4).
Digest sha256(const uint8_t *data, size_t size);

}  // namespace esphome::mww_harness
