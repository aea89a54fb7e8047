"""The scratch memory that esp-nn 1.2.3's vector kernels for the ESP32-P4 ask for; before, it asks what the S3 does."""

from __future__ import annotations

from typing import Final

from mww.tflm.arena_allocator import align_up
from mww.tflm.esp_nn_s3 import pointwise
from mww.tflm.scratch import Convolution

_ALIGNMENT: Final = 32
_CACHE_BUDGET: Final = 32 * 1024
"""`L1D_BUDGET`: bytes from which on a padded convolution works in tiles."""


def conv_1_2_3(c: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_esp32p4` of 1.2.3."""
    sums = 4 * c.output_channels
    if c.pointwise:
        filled = sums + 16 * c.output_channels + 32 + _ALIGNMENT
        return filled if c.channels < 16 else pointwise(c)
    filters = c.filter_width * c.filter_height * align_up(c.channels, 16) * c.output_channels
    if not c.padded and c.filter_width * c.channels >= 16:
        return filters + sums + _ALIGNMENT
    if c.window >= 16:
        return c.window + sums + _ALIGNMENT
    if not c.padded:
        channels = _filled_channels(c)
        filters = c.filter_width * c.filter_height * channels * c.output_channels
        return filters + c.input_width * c.input_height * channels + sums + _ALIGNMENT
    if c.padded_input_size + sums > _CACHE_BUDGET:
        return _tiled(c, sums) + sums + _ALIGNMENT
    return c.padded_input_size + filters + sums + _ALIGNMENT


def _filled_channels(c: Convolution) -> int:
    """Channels that make a row of the filter at least 16 bytes."""
    return align_up((16 + c.filter_width - 1) // c.filter_width, 16)


def _tiled(c: Convolution, sums: int) -> int:
    """Filled filters and the rows of the input that fit the cache beside them, for a window below 16 elements."""
    channels = _filled_channels(c)
    filters = c.filter_width * c.filter_height * channels * c.output_channels
    row = (c.input_width + 2 * c.pad_width) * channels
    spare = _CACHE_BUDGET - sums - filters - c.filter_height * row
    outputs = min(spare // (c.stride_height * row) + 1, c.output_height) if spare >= 0 else 1
    return filters + ((outputs - 1) * c.stride_height + c.filter_height + 2 * c.pad_height) * row
