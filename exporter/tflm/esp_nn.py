"""The scratch memory that esp-nn's convolutions ask for, by esp-nn version and chip; data for `runtime`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Convolution:
    """What esp-nn's scratch functions are told of a convolution; pairs are (width, height) in elements."""

    input_width: int
    input_height: int
    channels: int
    filter_width: int
    filter_height: int
    output_width: int
    output_height: int
    output_channels: int
    pad_width: int
    pad_height: int
    stride_width: int
    stride_height: int
    multiplier: int

    @property
    def padded(self) -> bool:
        """Whether the input needs padding in front."""
        return bool(self.pad_width or self.pad_height)

    @property
    def input_size(self) -> int:
        """Bytes of the int8 input."""
        return self.input_width * self.input_height * self.channels


ScratchSize: TypeAlias = Callable[[Convolution], int]
"""Bytes to request; nothing is requested for 0 or less."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The scratch functions of one chip."""

    conv: ScratchSize
    depthwise_conv: ScratchSize


def _align(size: int, alignment: int) -> int:
    return (size + alignment - 1) // alignment * alignment


def _no_scratch(convolution: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_opt` and `esp_nn_get_depthwise_conv_scratch_size_opt`."""
    return 0


def _conv_vector(c: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_esp32s3` and `..._esp32p4` of 1.1.2, which are the same."""
    alignment = 32
    if (c.filter_width, c.filter_height, c.stride_width, c.stride_height) == (1, 1, 1, 1) and not c.padded:
        channels = _align(c.channels, 8)
        pixels = c.input_width * c.input_height
        input_scratch = pixels * channels if c.channels % 8 else 0
        transpose = 2 * 8 * channels if pixels >= 8 else 0
        return input_scratch + channels * c.output_channels + transpose + alignment
    padded_input = (c.input_width + 2 * c.pad_width) * (c.input_height + 2 * c.pad_height) * c.channels
    filters = c.filter_width * c.filter_height * _align(c.channels, 16) * c.output_channels
    return (padded_input if c.padded else 0) + filters + alignment + 4 * c.output_channels


def _depthwise_conv_esp32s3(c: Convolution) -> int:
    """`esp_nn_get_depthwise_conv_scratch_size_esp32s3` of 1.1.2."""
    filters = c.filter_width * c.filter_height * c.channels * c.multiplier
    three_by_three = c.multiplier == 1 and c.channels % 8 == 0 and (c.filter_width, c.filter_height) == (3, 3)
    if three_by_three and c.channels % 16 == 0:
        if c.padded:
            pad_width, pad_height = 2 * c.pad_width, 2 * c.pad_height
        else:
            pad_width = c.output_width * c.stride_width + c.filter_width - 1 - c.input_width
            pad_height = c.output_height * c.stride_height + c.filter_height - 1 - c.input_height
        padded_input = (c.input_width + pad_width) * (c.input_height + pad_height) * c.channels
        return filters + (padded_input if pad_width or pad_height else 0) + 16
    if three_by_three or c.multiplier % 4 == 0:
        return 2 * (filters + c.input_size) + 16
    return 32


_GENERIC: Final = Kernels(conv=_no_scratch, depthwise_conv=_no_scratch)

KERNELS: Final[dict[str, dict[str, Kernels]]] = {
    "1.1.2": {
        "esp32": _GENERIC,
        "esp32s2": _GENERIC,
        "esp32s3": Kernels(conv=_conv_vector, depthwise_conv=_depthwise_conv_esp32s3),
        "esp32c3": _GENERIC,
        "esp32c6": _GENERIC,
        "esp32p4": Kernels(conv=_conv_vector, depthwise_conv=_no_scratch),
    },
}
"""esp-nn version to chip to scratch functions, from `include/esp_nn*.h` and `src/convolution/`."""
