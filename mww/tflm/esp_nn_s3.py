"""The scratch memory that esp-nn's assembly kernels for the ESP32-S3 ask for; `esp_nn` says which version asks what."""

from __future__ import annotations

from typing import Final

from mww.tflm.arena_allocator import align_up
from mww.tflm.scratch import Convolution

_ALIGNMENT_1_1: Final = 32
_ALIGNMENT_1_2_3: Final = 64
"""1.2.3 keeps 48 bytes more around the buffer, where the assembly reads ahead and behind."""

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
    """`esp_nn_get_depthwise_conv_scratch_size_esp32s3` of 1.2.0, which mends the int16 paths' overrun of 1.1."""
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


def _padded_input_and_filters(c: Convolution) -> int:
    """A padded copy of the input if it is padded, filters with their channels filled up to 16, a sum for each."""
    filters = c.filter_width * c.filter_height * align_up(c.channels, 16) * c.output_channels
    return (c.padded_input_size if c.padded else 0) + filters + 4 * c.output_channels


def _conv_1_2(c: Convolution, alignment: int) -> int:
    if c.pointwise:
        return pointwise(c, alignment)
    row = c.filter_width * c.channels
    if row < 16 <= c.window:  # one window as a row, im2col
        window = align_up(c.window)
        return 4 * c.output_channels + 16 + c.output_channels * window + 16 + window + alignment
    aligned_filters = align_up(row) * c.filter_height * c.output_channels
    right, below = max(0, c.overrun_width), max(0, c.overrun_height)
    grown_input = (c.input_width + right) * (c.input_height + below) * c.channels if right or below else 0
    return _padded_input_and_filters(c) + aligned_filters + grown_input + alignment


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
