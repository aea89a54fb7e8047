"""Windows that slide over height and width, as views of a block of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.engines.exact.refusal import Node
from harness.engines.exact.scratch import Calls, Values


@dataclass(frozen=True, slots=True)
class Window:
    """A window; all pairs are (height, width)."""

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    same: bool

    @classmethod
    def of(
        cls, node: Node, size: Sequence[int], stride: tuple[int, int], dilation: tuple[int, int], padding: str
    ) -> Window:
        """Make a window, after a check of its numbers."""
        if min(*size, *stride, *dilation) < 1:
            raise node.refused(f"a window of {list(size)}, stride {list(stride)}, dilation {list(dilation)}")
        return cls((size[0], size[1]), stride, dilation, padding == "SAME")

    def output(self, source: Sequence[int], channels: int) -> tuple[int, ...]:
        """The output shape over `[batch, height, width, channels]`; sizes are below 1 where the window does not fit."""
        sizes = (self._positions(axis, source[axis + 1]) for axis in (0, 1))
        return (source[0], *sizes, channels)

    def _positions(self, axis: int, length: int) -> int:
        if self.same:
            return -(-length // self.stride[axis])
        return max(0, (length - self._extent(axis)) // self.stride[axis] + 1)

    def _extent(self, axis: int) -> int:
        return (self.size[axis] - 1) * self.dilation[axis] + 1

    def _padding(self, axis: int, length: int) -> tuple[int, int]:
        """Rows of padding before and after (`ComputePaddingWithOffset`)."""
        if not self.same:
            return 0, 0
        total = max(0, (self._positions(axis, length) - 1) * self.stride[axis] + self._extent(axis) - length)
        return total // 2, total - total // 2

    def over(self, calls: Calls, source: Values, padding: float) -> Values:
        """A view `[frames, batch, rows, columns, height, width, channels]` of each output's window."""
        rows, columns = (self._positions(axis, source.shape[axis + 2]) for axis in (0, 1))
        around = [self._padding(axis, source.shape[axis + 2]) for axis in (0, 1)]
        if any(map(any, around)):
            source = self._padded(calls, source, around, padding)
        frame, batch, row, column, channel = source.strides
        (height, width), (down, right), (tall, wide) = self.size, self.stride, self.dilation
        return np.lib.stride_tricks.as_strided(
            source,
            (*source.shape[:2], rows, columns, height, width, source.shape[4]),
            (frame, batch, row * down, column * right, row * tall, column * wide, channel),
            writeable=False,
        )

    def _padded(self, calls: Calls, source: Values, around: list[tuple[int, int]], padding: float) -> Values:
        frames, batch, height, width, channels = source.shape
        (above, below), (left, right) = around
        shape = (frames, batch, above + height + below, left + width + right, channels)
        padded = np.full(shape, padding, np.float32)
        calls.copy(source, padded[:, :, above : above + height, left : left + width])
        return padded

    def counts(self, shape: Sequence[int]) -> npt.NDArray[np.float64]:
        """The number of inputs in each output's window, `[rows, columns]`, over `[batch, height, width, channels]`."""
        along = []
        for axis in (0, 1):
            length = shape[axis + 1]
            starts = np.arange(self._positions(axis, length)) * self.stride[axis] - self._padding(axis, length)[0]
            along.append(np.minimum(starts + self.size[axis], length) - np.maximum(starts, 0))
        counts: npt.NDArray[np.float64] = np.multiply.outer(along[0], along[1]).astype(np.float64)
        return counts
