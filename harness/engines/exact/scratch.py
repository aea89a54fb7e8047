"""The list of calls of a program, and scratch arrays that operators share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Values: TypeAlias = npt.NDArray[np.float32]
"""Stored bytes (or sums of products) as integers in float32."""


def view_as(values: Values, shape: tuple[int, ...]) -> Values | None:
    """The same memory in another shape; None where that needs a copy."""
    reshaped = values.reshape(shape)
    return reshaped if np.may_share_memory(values, reshaped) else None


class Calls:
    """The calls of a block in order, each on arrays that never move, and the arrays that several calls share."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.list: list[Callable[[], object]] = []
        self._shared: dict[str, npt.NDArray[np.uint8]] = {}
        self._constants: dict[tuple[float, tuple[int, ...]], Values] = {}

    def add(self, function: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Append a call."""
        self.list.append(partial(function, *arguments, **options))

    def copy(self, source: npt.NDArray[np.generic], target: npt.NDArray[np.generic]) -> None:
        """Append a copy; the values must fit the target's type."""
        self.add(np.copyto, target, source, casting="unsafe")

    def reshaped(self, values: Values, shape: tuple[int, ...]) -> Values:
        """The same values in another shape: a view where possible, else a copy, which is appended."""
        view = view_as(values, shape)
        if view is None:
            view = np.zeros(shape, np.float32)
            self.copy(values, view.reshape(values.shape))
        return view

    def shared(self, role: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array whose content is lost when the next operator asks for the same role."""
        size = prod(shape) * np.dtype(dtype).itemsize
        buffer = self._shared.get(role)
        if buffer is None or buffer.nbytes < size:
            buffer = self._shared[role] = np.zeros(size, np.uint8)
        return buffer[:size].view(dtype).reshape(shape)

    def constant(self, value: float, shape: tuple[int, ...]) -> Values:
        """An array filled with one value: for minimum and maximum, numpy needs half the time that a scalar takes."""
        if (value, shape) not in self._constants:
            self._constants[value, shape] = np.full(shape, value, np.float32)
        return self._constants[value, shape]
