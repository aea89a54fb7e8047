"""What esp-nn's scratch functions are given and answer; the functions themselves are in `esp_nn_s3` and `esp_nn_p4`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Convolution:
    """What esp-nn's scratch functions receive about a convolution, in elements.

    `filter_channels` is 0 where TFLM does not pass it, which sends newer kernels to reference code.
    """

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
    filter_channels: int

    @property
    def padded(self) -> bool:
        """Whether the input needs padding in front."""
        return bool(self.pad_width or self.pad_height)

    @property
    def pointwise(self) -> bool:
        """Whether it is 1x1, each step of the input once, without padding: a matrix product."""
        steps = self.filter_width, self.filter_height, self.stride_width, self.stride_height
        return steps == (1, 1, 1, 1) and not self.padded

    @property
    def window(self) -> int:
        """Elements of the input that one output sees."""
        return self.filter_width * self.filter_height * self.channels

    @property
    def input_size(self) -> int:
        """Bytes of the int8 input."""
        return self.input_width * self.input_height * self.channels

    @property
    def padded_input_size(self) -> int:
        """Bytes of the int8 input with its padding on both sides."""
        width, height = self.input_width + 2 * self.pad_width, self.input_height + 2 * self.pad_height
        return width * height * self.channels

    @property
    def trailing(self) -> tuple[int, int]:
        """Columns right of the input and rows below it that the filter's last position still needs."""
        right = (self.output_width - 1) * self.stride_width + self.filter_width - self.pad_width - self.input_width
        below = (self.output_height - 1) * self.stride_height + self.filter_height - self.pad_height - self.input_height
        return max(0, right), max(0, below)

    @property
    def overrun_width(self) -> int:
        """Columns by which the filter's last position lies behind the input, padding in front not counted."""
        return self.output_width * self.stride_width + self.filter_width - 1 - self.input_width

    @property
    def overrun_height(self) -> int:
        """Rows by which the filter's last position lies below the input, padding above not counted."""
        return self.output_height * self.stride_height + self.filter_height - 1 - self.input_height


ScratchSize: TypeAlias = Callable[[Convolution], int]
"""Bytes to request; nothing is requested for 0 or less."""


def no_scratch(convolution: Convolution) -> int:
    """`esp_nn_get_conv_scratch_size_opt` and `esp_nn_get_depthwise_conv_scratch_size_opt`, of every version."""
    return 0
