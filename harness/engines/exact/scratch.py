"""What the parts of a program share: its list of calls, and arrays for what is needed within one operator only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Values: TypeAlias = npt.NDArray[np.float32]
"""Stored bytes (or sums of products) as whole numbers in float32."""


def view_as(values: Values, shape: tuple[int, ...]) -> Values | None:
    """The same memory in another shape; None where only a copy has it."""
    reshaped = values.reshape(shape)
    return reshaped if np.may_share_memory(values, reshaped) else None


class Calls:
    """The calls of a block, in order, each over arrays that never move; and the arrays that several of them share."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.list: list[Callable[[], object]] = []
        self._shared: dict[str, npt.NDArray[np.uint8]] = {}
        self._constants: dict[tuple[float, tuple[int, ...]], Values] = {}

    def add(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Put a call at the end."""
        self.list.append(partial(function, *arguments, **options))

    def copy(self, source: npt.NDArray[np.generic], target: npt.NDArray[np.generic]) -> None:
        """Put a copy at the end; the values must fit the target's type."""
        self.add(np.copyto, target, source, casting="unsafe")

    def reshaped(self, values: Values, shape: tuple[int, ...]) -> Values:
        """The same values in another shape: a view where there is one, else a copy at the end."""
        view = view_as(values, shape)
        if view is None:
            view = np.zeros(shape, np.float32)
            self.copy(values, view.reshape(values.shape))
        return view

    def shared(self, role: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array whose contents are lost with the next operator that asks for the same role."""
        size = prod(shape) * np.dtype(dtype).itemsize
        buffer = self._shared.get(role)
        if buffer is None or buffer.nbytes < size:
            buffer = self._shared[role] = np.zeros(size, np.uint8)
        return buffer[:size].view(dtype).reshape(shape)

    def constant(self, value: float, shape: tuple[int, ...]) -> Values:
        """A whole array of one value, which numpy takes in half the time of a scalar for minimum and maximum."""
        if (value, shape) not in self._constants:
            self._constants[value, shape] = np.full(shape, value, np.float32)
        return self._constants[value, shape]
