"""ESPHome's detection rule: which checks of the sliding window wake, and which the VAD vetoes.

Over recorded outputs, or over one output at a time.

It gives what `micro_wake_word.cpp` and `streaming_model.cpp` (ESPHome 2026.6.5, `stop_after_detection: false`) give
slice by slice, but jumps from one check that can fire to the next, so that hundreds of cutoffs over hours are cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mww.core.errors import UsageError
from mww.core.readable import shown
from mww.esphome.contract import FEATURE_STEP_MS, MIN_SLICES_BEFORE_DETECTION, cutoff_byte


class LiveDetector:
    """A model's sliding window and its count of ignored slices."""

    def __init__(self, *, cutoff_byte: int, window: int, stride: int) -> None:
        self._cutoff: Final = cutoff_byte
        self._stride: Final = stride
        self._ring = [0] * window
        self._newest = 0
        self._ignored = -MIN_SLICES_BEFORE_DETECTION
        self._inferences = 0
        self._unchecked = False

    @property
    def average(self) -> int:
        """The mean of the window, a byte by integer division."""
        return sum(self._ring) // len(self._ring)

    @property
    def maximum(self) -> int:
        """The largest byte of the window."""
        return max(self._ring)

    @property
    def inferences(self) -> int:
        """The number of outputs."""
        return self._inferences

    @property
    def listening(self) -> bool:
        """Whether the slices that ESPHome ignores are over."""
        return self._ignored >= 0

    @property
    def above(self) -> bool:
        """Whether the window's mean is above the cutoff."""
        return sum(self._ring) > self._cutoff * len(self._ring)

    def push(self, outputs: npt.NDArray[np.uint8]) -> Iterator[DeviceDetection]:
        """Take outputs, uint8 `[n]`, and yield what is detected; after each, `reset` unless a VAD blocks it."""
        for output in outputs.tolist():
            yield from self._step(output)

    def reset(self) -> None:
        """Do what ESPHome does after a detection: empty the window, and ignore outputs for a second."""
        self._ring = [0] * len(self._ring)
        self._ignored = -MIN_SLICES_BEFORE_DETECTION

    def _step(self, output: int) -> Iterator[DeviceDetection]:
        """The slices of an inference: earlier slices see the previous output, the last slice sees this output."""
        for position in range(1, self._stride + 1):
            if position == self._stride:
                self._newest = (self._newest + 1) % len(self._ring)
                self._ring[self._newest] = output
                self._inferences += 1
                self._unchecked = True
            if self._ring[self._newest] < self._cutoff:
                self._ignored = min(self._ignored + 1, 0)
            if self._unchecked and self.listening:
                self._unchecked = False
                if self.above:
                    begun = position if position < self._stride else 0
                    slices = self._inferences * self._stride + begun
                    yield DeviceDetection(self._inferences - 1, slices, self.average, max(self._ring))


Sums: TypeAlias = npt.NDArray[np.signedinteger[Any]]

_FIT_INT32: Final = (2**31 - 1) // 255
"""Outputs whose sum an int32 holds."""

VAD_CUTOFF: Final = 0.5
VAD_WINDOW: Final = 5
"""The values in the manifest of ESPHome's published VAD model."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A check that fired.

    Attributes:
        inference: Index, from 0, of the newest output in the ring when the check was made.
        time_s: Seconds of features consumed up to and including the check, counted from the end of the lead-in.
        average: Mean of the ring as the device reports it: a byte, by integer division.
        maximum: Largest byte of the ring.
        vad_blocked: Whether the VAD model heard no speech, so that the device only logs it.
    """

    inference: int
    time_s: float
    average: int
    maximum: int
    vad_blocked: bool


@dataclass(frozen=True, slots=True)
class DeviceDetection:
    """A detection by the rule on a board, which has no VAD.

    Attributes:
        inference: Index since the reset of the newest output in the sliding window.
        slices: Slices consumed since the reset, up to and including the check.
        average: Of the sliding window, by integer division.
        maximum: Of the sliding window.
    """

    inference: int
    slices: int
    average: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the ring that fired: at which inference and slice, on which outputs."""

    inference: int
    slices: int
    oldest: int
    vad_blocked: bool


def detect(  # noqa: PLR0913 -- two models' settings, each with its manifest's name
    outputs: npt.ArrayLike,
    *,
    cutoff: float,
    window: int,
    stride: int,
    vad_outputs: npt.ArrayLike | None = None,
    vad_cutoff: float = VAD_CUTOFF,
    vad_window: int = VAD_WINDOW,
    vad_stride: int | None = None,
    feature_step_size: int = FEATURE_STEP_MS,
    lead_in: float = 0.0,
) -> list[Detection]:
    """Apply ESPHome's rule to the outputs of one clip, from a cold start.

    Args:
        outputs: uint8 `[n]`, one an inference.
        cutoff: Probability 0..1, as the manifest has it.
        window: `sliding_window_size`.
        stride: Slices an inference.
        vad_outputs: uint8 `[m]` of the VAD model on the same slices; None without a VAD.
        vad_cutoff: The VAD manifest's cutoff.
        vad_window: The VAD manifest's window.
        vad_stride: The VAD model's stride; None where it is `stride`.
        feature_step_size: Milliseconds a slice.
        lead_in: Seconds in front of the clip, which `time_s` does not count.

    Returns:
        The checks that fired, in order, those that the VAD blocked included.

    Raises:
        UsageError: A cutoff, window or stride out of range.
    """
    vad = None
    if vad_outputs is not None:
        vad = Vad(vad_outputs, cutoff=vad_cutoff, window=vad_window, stride=vad_stride or stride)
    recording = Recording(outputs, window=window, stride=stride)
    return recording.detections(_byte(cutoff), vad, feature_step_size=feature_step_size, lead_in=lead_in)


class Vad:
    """The VAD model's outputs, and whether it hears speech at a slice."""

    def __init__(self, outputs: npt.ArrayLike, *, cutoff: float, window: int, stride: int) -> None:
        _check_sizes(window, stride)
        self._sums = _prefix_sums(_as_bytes(outputs))
        self._threshold = _byte(cutoff) * window
        self._window, self._stride = window, stride

    def speech(self, slices: int) -> bool:
        """Whether the VAD model's window is above its cutoff when `slices` slices are consumed."""
        heard = min(slices // self._stride, len(self._sums) - 1)
        return int(self._sums[heard] - self._sums[max(0, heard - self._window)]) > self._threshold


class Recording:
    """The outputs of a clip, prepared for the rule at many cutoffs.

    Between two resets of the ring (the start, and each detection), the outputs below the cutoff alone say at which
    slice the count of `ignore_windows` is through; from there on, every check that finds a sum above the threshold
    fires. Both are looked up in running sums.
    """

    def __init__(self, outputs: npt.ArrayLike, *, window: int, stride: int) -> None:
        _check_sizes(window, stride)
        self.outputs = _as_bytes(outputs)
        self._window, self._stride = window, stride
        self._sums = _prefix_sums(self.outputs)

    @property
    def loudest(self) -> float:
        """The highest average of a window that is checked: nothing fires at a cutoff byte that is as large."""
        return float(self._checked_sums().max(initial=0)) / self._window

    @property
    def highest_average(self) -> int | None:
        """The highest average that the device would report of a window that it checks at all; None without one."""
        checked = self._checked_sums()
        return int(checked.max()) // self._window if len(checked) else None

    def detections(
        self, byte: int, vad: Vad | None = None, *, feature_step_size: int = FEATURE_STEP_MS, lead_in: float = 0.0
    ) -> list[Detection]:
        """What the device would report at a cutoff byte; the other arguments are those of `detect`."""
        return [
            Detection(
                inference=check.inference,
                time_s=check.slices * feature_step_size / 1000 - lead_in,
                average=int(self._sums[check.inference + 1] - self._sums[check.oldest]) // self._window,
                maximum=int(self.outputs[check.oldest : check.inference + 1].max()),
                vad_blocked=check.vad_blocked,
            )
            for check in self.checks(byte, vad)
        ]

    def checks(self, byte: int, vad: Vad | None = None) -> Iterator[Check]:
        """Yield the checks that fire at a cutoff byte, in order."""
        if byte == 0:  # no output is below 0, so the count never moves and nothing is ever checked
            return
        loud = np.flatnonzero(self._window_sums() > byte * self._window)
        below = _prefix_sums(self.outputs < byte)
        start = consumed = 0  # the first inference since the ring was zeroed, and the slices before that
        while (ready := self._first_check(below, start, consumed)) is not None:
            for inference in self._above(byte, start, ready[0], loud):
                slices = ready[1] if inference == ready[0] else (inference + 1) * self._stride
                blocked = vad is not None and not vad.speech(slices)
                yield Check(inference, slices, max(start, inference - self._window + 1), blocked)
                if not blocked:
                    start, consumed = inference + 1, slices
                    break
            else:
                return

    def _window_sums(self) -> Sums:
        """The sum of the window that ends at each inference; made anew, since hours of outputs are large."""
        sums = self._sums[1:].copy()
        full = max(0, len(sums) - self._window)
        sums[len(sums) - full :] -= self._sums[1 : full + 1]
        return sums

    def _checked_sums(self) -> Sums:
        """The sums of the windows that the device checks at all: none before the count has run down once."""
        return self._window_sums()[MIN_SLICES_BEFORE_DETECTION // self._stride :]

    def _first_check(self, below: Sums, start: int, consumed: int) -> tuple[int, int] | None:
        """The first inference that is checked, and at which slice: where the count reaches 0, mid-stride or not.

        Until the first inference after a reset, the ring's newest entry is 0 and so each slice counts; from then on
        each inference below the cutoff counts for the `stride` slices that it is the newest for.
        """
        missing = MIN_SLICES_BEFORE_DETECTION - ((start + 1) * self._stride - 1 - consumed)
        if missing <= 0:
            return (start, (start + 1) * self._stride) if start < len(self.outputs) else None
        quiet = -(-missing // self._stride)
        wanted = below.dtype.type(below[start] + quiet)  # of another type, all of `below` would be converted
        inference = int(np.searchsorted(below, wanted)) - 1
        slices = (inference + 1) * self._stride + missing - (quiet - 1) * self._stride - 1
        return (inference, slices) if slices <= len(self.outputs) * self._stride else None

    def _above(self, byte: int, start: int, first: int, loud: npt.NDArray[np.int64]) -> Iterator[int]:
        """Inferences from `first` whose ring, which holds nothing from before `start`, is above the threshold."""
        full = start + self._window - 1
        filling = self._sums[first + 1 : full + 1] - self._sums[start] > byte * self._window
        return map(int, chain(first + np.flatnonzero(filling), loud[np.searchsorted(loud, max(first, full)) :]))


def _byte(cutoff: float) -> int:
    if not 0 <= cutoff <= 1:
        raise UsageError(f"a probability cutoff of {shown(cutoff)}", hint="0 to 1")
    return cutoff_byte(cutoff)


def _check_sizes(window: int, stride: int) -> None:
    if window < 1 or stride < 1:
        raise UsageError(
            f"a sliding window of {shown(window)} and a stride of {shown(stride)}", hint="both are 1 or more"
        )


def _as_bytes(outputs: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    values = np.asarray(outputs)
    if values.ndim != 1 or (values.size and values.dtype != np.uint8 and not _fits_bytes(values)):
        raise UsageError(f"outputs of type {values.dtype} and shape {list(values.shape)}", hint="uint8 [n]")
    return values.astype(np.uint8)


def _fits_bytes(values: npt.NDArray[np.generic]) -> bool:
    return values.dtype.kind in "iu" and int(values.min()) >= 0 and int(values.max()) <= 255


def _prefix_sums(values: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> Sums:
    """Sums of the first k values, for k from 0 on; of half the size where they fit, which they do for 70 hours."""
    sums: Sums = np.zeros(len(values) + 1, np.int32 if len(values) <= _FIT_INT32 else np.int64)
    np.cumsum(values, dtype=sums.dtype, out=sums[1:])
    return sums
