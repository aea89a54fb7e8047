"""Converts sums of products to output bytes over a block of frames: with floats where proven, else with integers."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.engines.exact.fixed_point import Scaling
from harness.engines.exact.float_form import FloatForm, Floats, fit
from harness.engines.exact.scratch import Calls, Values

_TILE: Final = 8192
"""Elements of a row of constants: numpy repeatedly copies shorter rows into a buffer of this size."""


class Requantiser:
    """Converts sums into bytes."""

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling

    @cached_property
    def form(self) -> FloatForm | None:
        """The float form; None where the integers are used."""
        return fit(self.scaling)

    def bind(self, calls: Calls, sums: Floats, output: Values) -> None:
        """Append the calls that convert `sums` `[rows, channels]` into `output` of the same shape.

        The sums are overwritten.
        """
        if self.form is None:
            calls.add(_in_integers, self.scaling, sums, output)
        else:
            self._in_floats(self.form, calls, sums, output)

    def _in_floats(self, form: FloatForm, calls: Calls, sums: Floats, output: Values) -> None:
        rows, channels = sums.shape
        repeats = _repeats(rows, channels)
        # Contiguous arrays of the same shape are the fastest: then numpy needs no iterator.
        shape = (sums.size,) if repeats == rows else (rows // repeats, repeats * channels)
        sums, output = sums.reshape(shape), output.reshape(shape)
        factor, offset, *bends = (np.tile(values, repeats) for values in form.constants)
        work: npt.NDArray[Any] = output
        if factor.dtype != output.dtype:
            work = calls.shared("wide", shape, factor.dtype)
            calls.copy(sums, work)
            sums = work
        if bends:
            other = calls.shared("other", shape, factor.dtype)
            calls.add(np.minimum, sums, bends[1], out=other)
            calls.add(np.maximum, sums, bends[0], out=work)
            calls.add(np.add, work, other, out=work)
            sums = work
        calls.add(np.add, sums, offset, out=work)
        calls.add(np.multiply, work, factor, out=work)
        calls.add(np.rint, work, out=work)
        if work is not output:
            calls.copy(work, output)
        calls.add(np.maximum, output, calls.constant(self.scaling.low, shape), out=output)
        calls.add(np.minimum, output, calls.constant(self.scaling.high, shape), out=output)


def _in_integers(scaling: Scaling, sums: Floats, output: Values) -> None:
    output[...] = scaling.apply(sums)


def _repeats(rows: int, channels: int) -> int:
    """How often a row of channels is repeated: the smallest divisor of `rows` that makes it long enough."""
    least = -(-_TILE // channels)
    return next((repeats for repeats in range(least, rows) if rows % repeats == 0), rows)
