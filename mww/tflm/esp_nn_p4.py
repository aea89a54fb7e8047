"""The scratch memory of esp-nn's vector kernels for the ESP32-P4, from 1.2.3 on; before, it is the S3's."""

from __future__ import annotations

from typing import Final

from mww.tflm.arena_allocator import align_up
from mww.tflm.esp_nn_s3 import by_groups, pointwise
from mww.tflm.scratch import Convolution

_ALIGNMENT: Final = 32
_CACHE_BUDGET: Final = 32 * 1024
"""`L1D_BUDGET`: bytes from which on a padded convolution works in tiles."""


_BATCH_WINDOW: Final = 2304
"""`ESP_NN_IM2COL_BATCH_MAX_WINDOW`."""
_SECOND_CACHE: Final = 96 * 1024
"""Bytes of filters from which on a padded convolution works in tiles."""


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


def conv_2026_11(c: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_riscv_pie`, into which the P4's kernels went after 1.2.3."""
    grouped = by_groups(c, conv_2026_11)
    if grouped is not None:
        return grouped
    if c.pointwise:
        return conv_1_2_3(c)
    sums = 4 * c.output_channels
    row = c.filter_width * c.channels
    batched = 128 <= c.window <= _BATCH_WINDOW and c.output_channels >= 16
    if not c.padded and row >= 16 and not batched:
        filters = c.filter_width * c.filter_height * align_up(c.channels, 16) * c.output_channels
        return filters + sums + _ALIGNMENT
    beyond_cache = c.padded and row >= 16 and c.window * c.output_channels > _SECOND_CACHE
    if c.window >= 16 and not beyond_cache:
        staging = 16 * c.window + 16 if c.window <= _BATCH_WINDOW else 0
        return sums + c.window + staging + _ALIGNMENT
    if not c.padded:
        return conv_1_2_3(c)
    return _planned_tiles(c) + _ALIGNMENT


def depthwise_2026_11(c: Convolution) -> int:
    """`esp_nn_get_depthwise_conv_scratch_size_riscv_pie`: a sum a channel."""
    return 4 * c.channels if c.multiplier == 1 and c.channels >= 8 else 0


def _planned_tiles(c: Convolution) -> int:
    """`conv_plan_tiles`: sums, filled filters where a row is short, and the staged rows of the tallest tile."""
    channels, filters = c.channels, 0
    if c.filter_width * c.channels < 16:
        channels = _filled_channels(c)
        filters = c.filter_width * c.filter_height * channels * c.output_channels
    row = (c.input_width + 2 * c.pad_width) * channels
    fixed = 4 * c.output_channels + filters
    outputs = c.output_height
    if ((outputs - 1) * c.stride_height + c.filter_height) * row + fixed > _CACHE_BUDGET:
        spare = _CACHE_BUDGET - fixed - c.filter_height * row
        outputs = min(max(spare // (c.stride_height * row) + 1, 1), c.output_height) if spare >= 0 else 1
    return fixed + ((outputs - 1) * c.stride_height + c.filter_height) * row


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
