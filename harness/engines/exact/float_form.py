"""Constants for requantisation in float32 or float64 that give TFLite Micro's bytes, with the proof.

Both results never fall as a sum rises, and take at most 256 values; so they are equal everywhere if they are equal on
both sides of each step. The steps are computed from the multiplier. Nothing is taken for granted about rounding:
constants are tried there, and a channel's are used if they are right at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.engines.exact.fixed_point import LEAST_SHIFT, Integers, Scaling, least_input

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

FLOAT32_EXACT: Final = 2**24
"""Whole numbers below this are exact in float32, and so is a sum of them in any order."""

_TRIES: Final = range(1, 256)
"""Number of constants to try for a channel where the obvious constants fail."""
_ULPS: Final = 6
"""The largest change of the factor among them, in units of the last place."""
_HARDEST: Final = 16
"""Steps at each end of the range where they are tried; the chosen constants are checked at all steps."""
_ENOUGH: Final = 0.6
"""Share of channels that the obvious constants must fit: where they fit fewer, the search has always failed."""


@dataclass(frozen=True, slots=True)
class FloatForm:
    """The bytes are `rint((sum + offset) * factor)`, within the limits.

    With bends, `max(sum, bend) + min(sum, other bend)` stands for the sum: so what is added differs below and above
    them, as the first of TFLite Micro's two roundings moves what the second one sees away from zero.

    Attributes:
        constants: `[2, ..., channels]`: factor and offset; or `[4, ..., channels]` with the two bends.
    """

    constants: Floats

    @property
    def bends(self) -> bool:
        """Whether there are bends."""
        return len(self.constants) > 2

    def evaluate(self, sums: Integers) -> Floats:
        """The bytes of sums `[..., channels]`, before the limits."""
        factor, offset, *bends = self.constants
        values: Floats = sums.astype(factor.dtype)
        if bends:
            values = np.maximum(values, bends[0]) + np.minimum(values, bends[1])
        result: Floats = np.rint((values + offset) * factor)
        return result


def fit(scaling: Scaling) -> FloatForm | None:
    """The cheapest form that is right for every sum of a scaling; None where no tried form is right."""
    if (scaling.multiplier <= 0).any() or (scaling.shift < LEAST_SHIFT).any() or scaling.low >= scaling.high:
        return None
    steps = _Steps.of(scaling)
    straight = scaling.low >= scaling.zero_point
    single = max(np.abs(scaling.least).max(), np.abs(scaling.largest).max()) < FLOAT32_EXACT
    for dtype, bends in ((np.float32, False), (np.float32, True), (np.float64, False), (np.float64, True)):
        if (single or dtype == np.float64) and (straight or bends):
            form = _searched(steps, dtype, bends=bends)
            if form is not None and steps.right(form).all():
                return form
    return None


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps where the result rises; arrays `[steps, channels]`, or `[steps, 1]` for `results`.

    Attributes:
        results: The output from each step on.
        first: The least sum with that output.
        reached: Whether there are sums on both sides.
        factor: The factor of a sum, float64 `[channels]`.
        middle: The first step that the upper part of a bent form is for.
        bend: A sum between that step and the one before it, float64 `[channels]`.
        scaling: Of all this.
    """

    results: Integers
    first: Integers
    reached: npt.NDArray[np.bool_]
    factor: npt.NDArray[np.float64]
    middle: int
    bend: npt.NDArray[np.float64]
    scaling: Scaling

    @classmethod
    def of(cls, scaling: Scaling) -> _Steps:
        results = np.arange(scaling.low + 1, scaling.high + 1, dtype=np.int64)[:, None]
        first = least_input(results - scaling.zero_point, scaling.multiplier, scaling.shift) - scaling.bias
        reached = (first > scaling.least) & (first <= scaling.largest)
        factor = scaling.multiplier.astype(np.float64) * np.exp2(scaling.shift.astype(np.float64) - 31)
        straight = scaling.low >= scaling.zero_point
        middle = len(results) // 2 if straight else scaling.zero_point - scaling.low
        bend = first[max(middle - 1, 0) : middle + 1].mean(axis=0).round()
        return cls(results, first, reached, factor, middle, bend, scaling)

    def hardest(self, index: int) -> _Steps:
        """A single channel, with the steps that limit the offset most."""
        room = (self.results[:, 0] - 0.5) / self.factor[index] - self.first[:, index]
        room = np.where(self.reached[:, index], room, np.inf)
        parts = (np.argsort(room[: self.middle]), self.middle + np.argsort(room[self.middle :]))
        chosen = [part[self.reached[part, index]] for part in parts]
        chosen = [np.unique(np.concatenate([part[:_HARDEST], part[-_HARDEST:]])) for part in chosen]
        steps = np.concatenate(chosen)
        arrays = (self.first[steps, index, None], self.reached[steps, index, None], self.factor[index, None])
        bend, scaling = self.bend[index, None], self.scaling.channel(index)
        return _Steps(self.results[steps], *arrays, len(chosen[0]), bend, scaling)

    def right(self, form: FloatForm) -> npt.NDArray[np.bool_]:
        """Which channels `[..., channels]` of a form are right on both sides of each step, and at both ends."""
        least, largest = self.scaling.least, self.scaling.largest
        here = form.evaluate(np.where(self.reached, self.first, least)) >= self.results
        before = form.evaluate(np.where(self.reached, self.first - 1, least)) < self.results
        right: npt.NDArray[np.bool_] = np.where(self.reached, here & before, True).all(axis=-2)
        for sums in (least, largest):
            ends = np.clip(form.evaluate(sums[None])[..., 0, :], self.scaling.low, self.scaling.high)
            right &= ends == self.scaling.apply(sums)
        return right

    def candidates(self, dtype: npt.DTypeLike, tries: range, *, bends: bool) -> FloatForm:
        """Forms `[tries, 1, channels]`: try 0 is in the middle of the allowed range, the others are near it."""
        tried = np.array(tries)[:, None]
        factor = self.factor.astype(dtype)
        factor = factor + (np.spacing(factor) * _around(tried)).astype(dtype)
        # A sum at a step, times the factor, must reach the half below the result; the sum before it must not.
        lowest = (self.results - 0.5) / factor.astype(np.float64)[:, None] - self.first
        steps = slice(self.middle) if bends else slice(None)
        below = self._between(lowest, steps, (tried * 0.6180339887 + 0.5) % 1)
        if not bends:
            return FloatForm(np.stack([factor, below.astype(dtype)])[:, :, None])
        above = self._between(lowest, slice(self.middle, None), (tried * 0.7548776662 + 0.5) % 1)
        bend = np.broadcast_to(self.bend, below.shape)
        constants = (factor, below - bend, bend, bend + (above - below))
        return FloatForm(np.stack([values.astype(dtype) for values in constants])[:, :, None])

    def _between(
        self, lowest: npt.NDArray[np.float64], steps: slice, share: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """The offsets that some of the steps allow, `[tries, channels]`, at `share` of the range."""
        reached, lowest = self.reached[steps], lowest[:, steps]
        plain = self.scaling.bias + self.scaling.zero_point / self.factor
        used = reached.any(axis=0)
        low = np.where(used, np.where(reached, lowest, -np.inf).max(axis=1, initial=-np.inf), plain)
        high = np.where(used, np.where(reached, lowest, np.inf).min(axis=1, initial=np.inf) + 1, plain)
        result: npt.NDArray[np.float64] = low + (high - low) * share
        return result


def _around(tried: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The integers from -_ULPS to _ULPS, in turn."""
    number = 2 * _ULPS + 1
    turned: npt.NDArray[np.int64] = (tried * 7 + number // 2) % number - number // 2
    return turned


def _searched(steps: _Steps, dtype: npt.DTypeLike, *, bends: bool) -> FloatForm | None:
    """A form with constants for each channel; None where no tried constants fit a channel."""
    form = steps.candidates(dtype, range(1), bends=bends)
    right = steps.right(form)[0]
    constants = form.constants[:, 0, 0].copy()
    if right.mean() < _ENOUGH:
        return None
    for channel in np.flatnonzero(~right).tolist():
        alone = steps.hardest(channel)
        form = alone.candidates(dtype, _TRIES, bends=bends)
        good = np.flatnonzero(alone.right(form)[:, 0])
        if not len(good):
            return None
        constants[:, channel] = form.constants[:, good[0], 0, 0]
    return FloatForm(constants)
