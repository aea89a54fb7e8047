"""Sums of products to output bytes: in float64 where that is proven equal to TFLite Micro's integers, else in integers.

The device computes clamp(zero_point + multiply(sum + bias)). Both this and the float form never fall as the sum rises,
and take at most 256 values; so they are equal everywhere if they are equal on both sides of each step. The steps are
computed from the multiplier, and both forms are evaluated there, when a model is loaded. Nothing is taken for granted
about rounding: a float form that is off anywhere is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.engines.exact.fixed_point import INT32_MAX, LEAST_SHIFT, Integers, least_input, multiply
from harness.engines.exact.scratch import Calls, Values

FLOAT32_EXACT: Final = 2**24
"""Whole numbers below this are exact in float32, and so is a sum of them in any order."""
_MAGIC: Final = 1.5 * 2**23
"""Numbers near this lie one apart in float32: a conversion to float32 rounds to whole numbers."""
_SIGN: Final = np.int64(-(2**63))
_TILE: Final = 1024
"""Elements of a row of constants: rows of channels are repeated to about this, as short inner loops are slow."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How sums of each channel become bytes; arrays are int64 `[channels]`.

    Attributes:
        multiplier: Of 31 bits.
        shift: Positive to the left.
        bias: Added to a sum first.
        least: The least sum there can be, without the bias.
        largest: The largest.
        zero_point: Of the output.
        low: The least output.
        high: The largest.
    """

    multiplier: Integers
    shift: Integers
    bias: Integers
    least: Integers
    largest: Integers
    zero_point: int
    low: int
    high: int

    def apply(self, sums: npt.NDArray[np.generic]) -> Integers:
        """The bytes of sums `[..., channels]`, by the integer arithmetic itself."""
        scaled = multiply(sums.astype(np.int64) + self.bias, self.multiplier, self.shift)
        return np.clip(scaled + self.zero_point, self.low, self.high)

    def overflow(self) -> str | None:
        """Why the C code would leave int32, which has no defined result; None where it does not."""
        reach = np.maximum(np.abs(self.least + self.bias), np.abs(self.largest + self.bias))
        if (reach > INT32_MAX).any():
            return "sums that leave int32"
        if ((reach << np.clip(self.shift, 0, 31)) > INT32_MAX).any() or (self.shift > 30).any():
            return "an output scale so fine that shifted sums leave int32"
        return None


class Requantiser:
    """The float form of a scaling where it is proven; `proven` is False where the integers are used."""

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling
        self.factor = scaling.multiplier.astype(np.float64) * np.exp2(scaling.shift.astype(np.float64) - 31)
        self.both_signs = scaling.low < scaling.zero_point
        self.offset = self.bias = self.step = np.zeros(len(self.factor))
        steps_fit = bool((scaling.multiplier > 0).all() and (scaling.shift >= LEAST_SHIFT).all())
        self.proven = steps_fit and self._fit()

    @classmethod
    def can_join(cls, parts: Sequence[Requantiser]) -> bool:
        """Whether the channels of several can be those of one: all proven, with the same range of outputs."""
        ends = {(part.scaling.zero_point, part.scaling.low, part.scaling.high) for part in parts}
        return len(ends) == 1 and all(part.proven for part in parts)

    @classmethod
    def joined(cls, parts: Sequence[Requantiser]) -> Requantiser:
        """One with the channels of several that can be joined; what is proven of each stays proven."""
        whole = cls.__new__(cls)
        scalings = [part.scaling for part in parts]
        whole.scaling = replace(
            scalings[0],
            multiplier=np.concatenate([scaling.multiplier for scaling in scalings]),
            shift=np.concatenate([scaling.shift for scaling in scalings]),
            bias=np.concatenate([scaling.bias for scaling in scalings]),
            least=np.concatenate([scaling.least for scaling in scalings]),
            largest=np.concatenate([scaling.largest for scaling in scalings]),
        )
        for name in ("factor", "offset", "bias", "step"):
            setattr(whole, name, np.concatenate([getattr(part, name) for part in parts]))
        whole.both_signs, whole.proven = parts[0].both_signs, True
        return whole

    def _fit(self) -> bool:
        """Choose the constants between the steps, and hold the float form against the integers at each step."""
        scaling = self.scaling
        results = np.arange(scaling.low + 1, scaling.high + 1, dtype=np.int64)[:, None] - scaling.zero_point
        first = least_input(results, scaling.multiplier, scaling.shift) - scaling.bias
        reached = (first > scaling.least) & (first <= scaling.largest)
        halves = results - 0.5
        # A sum at a step, times the factor, plus the constant, must reach the half below the result; the sum before
        # it must not.
        lowest = np.where(reached, halves - first * self.factor, -np.inf)
        highest = np.where(reached, halves - (first - 1) * self.factor, np.inf)
        above = _middle(lowest, highest, np.broadcast_to(results > 0, reached.shape), scaling, self.factor)
        self.offset = above
        if self.both_signs:
            below = _middle(lowest, highest, np.broadcast_to(results <= 0, reached.shape), scaling, self.factor)
            self.bias, self.step = (above + below) / 2, np.maximum((above - below) / 2, 0.0)
        tests = np.where(reached, first, scaling.least)
        before = np.where(reached, first - 1, scaling.least)
        ends = np.stack([scaling.least, scaling.largest])
        return all(np.array_equal(self.evaluate(sums), scaling.apply(sums)) for sums in (tests, before, ends))

    def evaluate(self, sums: Integers) -> Values:
        """What the float form gives for sums int64 `[n, channels]`."""
        calls = Calls(len(sums))
        output = np.empty(sums.shape, np.float32)
        exact = np.abs(sums).max(initial=0) < FLOAT32_EXACT
        self._in_floats(calls, sums.astype(np.float32 if exact else np.float64), output)
        for call in calls.list:
            call()
        return output

    def bind(self, calls: Calls, sums: npt.NDArray[np.floating[Any]], output: Values) -> None:
        """Put the calls at the end that turn `sums` `[rows, channels]` into `output` of the same shape."""
        if self.proven:
            self._in_floats(calls, sums, output)
        else:
            calls.add(_in_integers, self.scaling, sums, output)

    def _in_floats(self, calls: Calls, sums: npt.NDArray[np.floating[Any]], output: Values) -> None:
        rows, channels = sums.shape
        repeats = _repeats(rows, channels)
        shape = (rows // repeats, repeats * channels)
        sums, output = sums.reshape(shape), output.reshape(shape)
        wide = calls.shared("wide", shape, np.float64)
        zero, low, high = self.scaling.zero_point, self.scaling.low, self.scaling.high
        calls.copy(sums, wide)
        calls.add(np.multiply, wide, np.tile(self.factor, repeats), out=wide)
        if self.both_signs:
            # The first of TFLite Micro's two roundings moves what the second one sees away from zero: add a step that
            # has the sign of the sum.
            signed = calls.shared("signed", shape, np.float64)
            step = np.tile(self.step, repeats).view(np.int64)
            calls.add(np.add, wide, np.tile(self.bias, repeats), out=wide)
            calls.add(np.bitwise_and, wide.view(np.int64), _SIGN, out=signed.view(np.int64))
            calls.add(np.bitwise_or, signed.view(np.int64), step, out=signed.view(np.int64))
            calls.add(np.add, wide, signed, out=wide)
            calls.add(np.rint, wide, out=wide)
            moved = 0.0
        else:
            moved = float(_MAGIC)
            calls.add(np.add, wide, np.tile(self.offset + moved, repeats), out=wide)
        calls.add(np.copyto, output, wide, casting="same_kind")
        calls.add(np.maximum, output, calls.constant(low - zero + moved, shape), out=output)
        calls.add(np.minimum, output, calls.constant(high - zero + moved, shape), out=output)
        calls.add(np.add, output, np.float32(zero - moved), out=output)


def _in_integers(scaling: Scaling, sums: npt.NDArray[np.floating[Any]], output: Values) -> None:
    output[...] = scaling.apply(sums)


def _middle(
    lowest: npt.NDArray[np.float64],
    highest: npt.NDArray[np.float64],
    asked: npt.NDArray[np.bool_],
    scaling: Scaling,
    factor: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """A constant in the middle of what all steps of one sign allow, `[channels]`."""
    low = np.where(asked, lowest, -np.inf).max(axis=0, initial=-np.inf)
    high = np.where(asked, highest, np.inf).min(axis=0, initial=np.inf)
    plain = scaling.bias * factor
    low, high = np.where(np.isfinite(low), low, plain), np.where(np.isfinite(high), high, plain)
    middle: npt.NDArray[np.float64] = (low + high) / 2
    return middle


def _repeats(rows: int, channels: int) -> int:
    """How often a row of channels is repeated to make the constants of one inner loop: a divisor of `rows`."""
    repeats = 1
    while rows % (2 * repeats) == 0 and 2 * repeats * channels <= _TILE:
        repeats *= 2
    return repeats
