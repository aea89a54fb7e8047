"""ESPHome's detection rule as outputs come, an inference at a time: what `detection.Recording` gives for a whole clip.

The bookkeeping is that of `streaming_model.cpp` and `micro_wake_word.cpp`, slice by slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from mww.esphome.contract import MIN_SLICES_BEFORE_DETECTION
from mww.esphome.detection import DeviceDetection


class LiveDetector:
    """One model's sliding window and its count of slices that are ignored."""

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
        """How many outputs there were."""
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
        """Do what ESPHome does after a detection: empty the window, and ignore a second."""
        self._ring = [0] * len(self._ring)
        self._ignored = -MIN_SLICES_BEFORE_DETECTION

    def _step(self, output: int) -> Iterator[DeviceDetection]:
        """The slices of one inference: those before it count the output before it, the last counts this one."""
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
