"""Sliding windows over height and width: the shape that a convolution or pool must give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mww.verification.kernels.node import Node, Problem


@dataclass(frozen=True, slots=True)
class Window:
    """A window; all pairs are (height, width)."""

    size: Sequence[int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: str

    @property
    def extent(self) -> tuple[int, int]:
        """Input rows and columns that one output sees, holes included."""
        rows, columns = ((size - 1) * gap + 1 for size, gap in zip(self.size, self.dilation, strict=True))
        return rows, columns

    def positions(self, axis: int, length: int) -> int:
        """Number of outputs along an axis (0 height, 1 width) of `length` inputs; 0 when the window does not fit."""
        step = self.stride[axis]
        if self.padding == "SAME":
            return -(-length // step)
        return max(0, (length - self.extent[axis]) // step + 1)


def window_problems(node: Node, window: Window, channels: int) -> Iterator[Problem]:
    """Check the window's numbers and, where they make sense, the output's shape; input and output have four dims."""
    for pair, what in ((window.size, "window"), (window.stride, "stride"), (window.dilation, "dilation")):
        if min(pair) < 1:
            yield Problem(f"its {what} is {list(pair)}", ">= 1", str(list(pair)))
            return
    batch, height, width, _ = node.input(0).shape
    rows, columns = window.positions(0, height), window.positions(1, width)
    if rows < 1 or columns < 1:
        message = f"{height}x{width}"
        expected = f">= {window.extent[0]}x{window.extent[1]}"
        yield Problem(f"its window does not fit into its input of {message}", expected, message)
    else:
        yield from node.shape(node.output, (batch, rows, columns, channels), "output")
