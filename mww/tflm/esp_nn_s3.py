"""The scratch memory that esp-nn's assembly kernels for the ESP32-S3 ask for; `esp_nn` says which version asks what."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mww.tflm.arena_allocator import align_up
from mww.tflm.scratch import Convolution, ScratchSize

_ALIGNMENT_1_1: Final = 32
_ALIGNMENT_1_2_3: Final = 64
"""1.2.3 keeps 48 bytes more around the buffer, where the assembly reads ahead and behind."""

_BATCH_POSITIONS: Final = 16
"""`ESP_NN_3X3_BATCH_POSITIONS`."""
_PANEL_LIMIT: Final = 24 * 1024
_PANEL_STAGING: Final = 16 * 1024
"""Bytes of a 1x1's filters from which on it works in panels of output channels, and of their staging area."""

_WHOLE_INPUT_LIMIT: Final = 40 * 1024
_WHOLE_INT16_LIMIT: Final = 48 * 1024
"""Bytes from which on 1.2.1's depthwise kernels work in strips of as many rows as the filter has."""


def pointwise(c: Convolution, alignment: int = _ALIGNMENT_1_1) -> int:
    """A 1x1 convolution: channels filled up to 8, filters copied, and a buffer that turns eight pixels."""
    channels = align_up(c.channels, 8)
    pixels = c.input_width * c.input_height
    filled_input = pixels * channels if c.channels % 8 else 0
    turned = 2 * 8 * channels if pixels >= 8 else 0
    return filled_input + channels * c.output_channels + turned + alignment


def conv_1_1(c: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_esp32s3` of 1.0.2 to 1.2.0, which the P4 shares up to 1.2.2."""
    return pointwise(c) if c.pointwise else _padded_input_and_filters(c) + _ALIGNMENT_1_1


def conv_1_2_1(c: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_esp32s3` of 1.2.1 and 1.2.2."""
    return _conv_1_2(c, _ALIGNMENT_1_1)


def conv_1_2_3(c: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_esp32s3` of 1.2.3."""
    return _conv_1_2(c, _ALIGNMENT_1_2_3)


def depthwise_1_1(c: Convolution) -> int:
    """`esp_nn_get_depthwise_conv_scratch_size_esp32s3` of 1.0.2 to 1.1.2."""
    return _depthwise(c, alignment=16)


def depthwise_1_2_0(c: Convolution) -> int:
    """`esp_nn_get_depthwise_conv_scratch_size_esp32s3` of 1.2.0, which fixes the int16 paths' overrun of 1.1."""
    return _depthwise(c, alignment=32)


def depthwise_1_2_1(c: Convolution) -> int:
    """`esp_nn_get_depthwise_conv_scratch_size_esp32s3` from 1.2.1 on."""
    filters = c.window * c.multiplier
    as_int16 = 2 * (filters + c.input_size)
    if c.multiplier == 1 and c.channels % 8 == 0:
        if (c.filter_width, c.filter_height) != (3, 3):
            strip = 2 * c.input_width * c.filter_height * c.channels
            return (as_int16 if as_int16 <= _WHOLE_INT16_LIMIT else 2 * filters + strip) + 32
        if c.channels % 16 == 0:
            return _three_by_three(c, _WHOLE_INPUT_LIMIT)
        return _filled_to_16(c) if c.channels >= 12 else as_int16 + 32
    if c.multiplier == 1 and c.channels > 3:
        return _filled_to_8(c)
    return as_int16 + 32 if c.multiplier % 4 == 0 else 32


def conv_2026_11(c: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_esp32s3` at commit 25cae54: one copy of the filters at most, none of a 1x1's."""
    grouped = by_groups(c, conv_2026_11)
    if grouped is not None:
        return grouped
    if (c.filter_width, c.filter_height) == (3, 3) and c.channels % 16 == 0 < c.channels and c.output_channels >= 16:
        return _three_by_three_windows(c)
    if c.pointwise:
        turned = 16 * align_up(c.channels, 8) if c.input_width * c.input_height >= 8 else 0
        tail = 24 * c.channels + 8 * c.output_channels
        panel = 24 * c.channels + _PANEL_STAGING if c.channels * c.output_channels > _PANEL_LIMIT else 0
        return max(turned, tail, panel) + _ALIGNMENT_1_2_3
    row = c.filter_width * c.channels
    if row < 16 <= c.window:
        return _window_as_row(c, _ALIGNMENT_1_2_3)
    right, below = c.trailing
    padded = (c.input_width + c.pad_width + right) * (c.input_height + c.pad_height + below) * c.channels
    filters = align_up(row) * c.filter_height * c.output_channels
    needs_padding = c.padded or right or below
    return (padded if needs_padding else 0) + filters + 4 * c.output_channels + _ALIGNMENT_1_2_3


def depthwise_2026_11(c: Convolution) -> int:
    """`esp_nn_get_depthwise_conv_scratch_size_esp32s3` of the same months: a column filter reads int8 in place."""
    column = (c.input_width, c.filter_width, c.output_width, c.stride_width, c.pad_width) == (1, 1, 1, 1, 0)
    if c.multiplier == 1 and column and c.channels % 16 == 0:
        return 4 * c.channels + 2 * c.filter_height * c.channels + 64
    if c.multiplier == 1 and c.channels % 8 == 0 and (c.filter_width, c.filter_height) == (3, 3):
        if c.channels % 16 == 0:
            return _three_by_three_strips(c)
        if c.channels >= 12:
            return _filled_to_16(c) + 3 * 4 * align_up(c.channels, 16)
    return depthwise_1_2_1(c)


def by_groups(c: Convolution, size: ScratchSize) -> int | None:
    """A grouped convolution: what one group needs, a slice of the input and one of the output; None for any other."""
    if not 0 < c.filter_channels < c.channels or c.channels % c.filter_channels:
        return None
    groups = c.channels // c.filter_channels
    if c.output_channels % groups:
        return None
    group = replace(c, channels=c.filter_channels, output_channels=c.output_channels // groups)
    output = c.output_width * c.output_height * group.output_channels
    return size(group) + group.input_size + output + 64


def _three_by_three_windows(c: Convolution) -> int:
    """Windows of 16 positions and the 1x1 kernel's work area; for fewer positions one window and a filter copy."""
    if c.output_width * c.output_height >= _BATCH_POSITIONS:
        return _BATCH_POSITIONS * c.window + 24 * c.window + _PANEL_STAGING + _ALIGNMENT_1_2_3 + 32
    return c.window + c.output_channels * c.window + 4 * c.output_channels + 32


def _three_by_three_strips(c: Convolution) -> int:
    """Filters and the padded input, or above the limit as many of its rows as fit beside them."""
    right, below = c.trailing
    width, height = c.pad_width + right, c.pad_height + below
    if not width and not height:
        return c.window + 16
    row = (c.input_width + width) * c.channels
    rows = c.input_height + height
    if row * rows <= _WHOLE_INPUT_LIMIT:
        return c.window + row * rows + 16
    fitting = (_WHOLE_INPUT_LIMIT - c.window - 32) // row
    return c.window + min(max(fitting, c.filter_height), rows) * row + 32


def _padded_input_and_filters(c: Convolution) -> int:
    """A padded copy of the input if it is padded, filters with their channels filled up to 16, a sum for each."""
    filters = c.filter_width * c.filter_height * align_up(c.channels, 16) * c.output_channels
    return (c.padded_input_size if c.padded else 0) + filters + 4 * c.output_channels


def _conv_1_2(c: Convolution, alignment: int) -> int:
    if c.pointwise:
        return pointwise(c, alignment)
    row = c.filter_width * c.channels
    if row < 16 <= c.window:
        return _window_as_row(c, alignment)
    aligned_filters = align_up(row) * c.filter_height * c.output_channels
    right, below = max(0, c.overrun_width), max(0, c.overrun_height)
    grown_input = (c.input_width + right) * (c.input_height + below) * c.channels if right or below else 0
    return _padded_input_and_filters(c) + aligned_filters + grown_input + alignment


def _window_as_row(c: Convolution, alignment: int) -> int:
    """One window as a row (im2col), with filled filters and a sum for each."""
    window = align_up(c.window)
    return 4 * c.output_channels + 16 + c.output_channels * window + 16 + window + alignment


def _depthwise(c: Convolution, alignment: int) -> int:
    three_by_three = c.multiplier == 1 and c.channels % 8 == 0 and (c.filter_width, c.filter_height) == (3, 3)
    if three_by_three and c.channels % 16 == 0:
        return _three_by_three(c)
    if three_by_three or c.multiplier % 4 == 0:
        return 2 * (c.window * c.multiplier + c.input_size) + alignment
    return 32


def _three_by_three(c: Convolution, limit: int | None = None) -> int:
    """Filters, and the input grown to what they reach, or above the limit a strip of it."""
    grown = (2 * c.pad_width, 2 * c.pad_height) if c.padded else (c.overrun_width, c.overrun_height)
    if not any(grown):
        return c.window + 16
    width = c.input_width + grown[0]
    size = width * (c.input_height + grown[1]) * c.channels
    if limit is not None and size > limit:
        size = width * c.filter_height * c.channels
    return c.window + size + 16


def _filled_to_16(c: Convolution) -> int:
    """Filters, grown input and output, all with their channels filled up to 16."""
    channels = align_up(c.channels, 16)
    width = c.input_width + 2 * c.pad_width + max(0, c.overrun_width)
    height = c.input_height + 2 * c.pad_height + max(0, c.overrun_height)
    return (9 + width * height + c.output_width * c.output_height) * channels + 64


def _filled_to_8(c: Convolution) -> int:
    """Filters and input as int16, the output, and bias, shift and multiplier, their channels filled up to 8."""
    channels = align_up(c.channels, 8)
    filters = align_up(2 * c.filter_width * c.filter_height * channels)
    source = align_up(2 * c.input_width * c.input_height * channels)
    output = align_up(c.output_width * c.output_height * channels)
    return filters + source + output + 3 * 4 * channels + 16
