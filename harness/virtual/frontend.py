"""The virtual board's sound: a microphone that hears a file, and ESPHome's front-end, correct or with a planted error.

The front-end has the interface of the C library.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.link.error_codes import LinkCode
from harness.virtual.engine import RefusedError
from mww.core.errors import UsageError
from mww.esphome.audio import read_audio
from mww.esphome.contract import QUANTIZE_VALUE_DIV, QUANTIZE_VALUE_SCALE, SAMPLE_RATE
from mww.esphome.frontend import Frontend, open_frontend
from mww.esphome.frontend_errors import FrontendError, planted
from mww.esphome.frontend_numpy import WINDOW, FrontendSettings, NumpyFrontend


class PlayedMicrophone:
    """A sound file, from its start each time that the firmware starts the microphone."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            AudioError: It cannot be read.
        """
        self._sound = b"".join(read_audio(path))
        self._started = time.monotonic()
        self._taken = 0

    def open(self) -> None:
        """Start the microphone."""
        self._started, self._taken = time.monotonic(), 0

    def close(self) -> None:
        """Stop the microphone."""

    def read(self, count: int) -> bytes:
        """Take the next samples, little-endian int16: those that are due, at most `count`."""
        due = int((time.monotonic() - self._started) * SAMPLE_RATE)
        first, self._taken = self._taken, min(due, self._taken + count)
        sound = self._sound[2 * first : 2 * self._taken]
        return sound + bytes(2 * (self._taken - first) - len(sound))


Features = npt.NDArray[np.uint16]


@dataclass
class _Stream:
    """A stream of sound: its front-end, and the samples of the next slice."""

    frontend: Frontend
    step: int
    needed: int = WINDOW
    waiting: bytearray = field(default_factory=bytearray)


class BoardFrontend:
    """The front-end of a boot; `error` is the kind of its planted error."""

    def __init__(self, error: str | None = None) -> None:
        self._kind = error
        self._error: FrontendError | None = None
        self._stream: _Stream | None = None

    def start(self, step_ms: int) -> None:
        """Start a stream with a slice every `step_ms`.

        Raises:
            RefusedError: ESPHome does not allow this step.
        """
        self._error = planted(self._kind, step_ms) if self._kind else None
        if self._error is not None and self._error.keeps_state and self._stream is not None:
            return
        try:
            frontend = open_frontend(step_ms)
        except UsageError as error:
            raise RefusedError(LinkCode.FRONTEND, error.message, step_ms) from error
        if self._error is not None:
            settings = self._error.change(FrontendSettings(step_ms))
            frontend, step_ms = NumpyFrontend(settings), settings.step_ms
        self._stream = _Stream(frontend, SAMPLE_RATE * step_ms // 1000)

    def stop(self) -> None:
        """End the stream; a planted error may keep its state."""
        if self._error is None or not self._error.keeps_state:
            self._stream = None

    def process(self, samples: bytes) -> tuple[int, Features | None]:
        """Take little-endian int16 samples up to the end of a slice; returns their number, and a complete slice."""
        stream = self._stream
        assert stream is not None
        taken = min(len(samples) // 2, stream.needed)
        stream.waiting += samples[: 2 * taken]
        stream.needed -= taken
        if stream.needed:
            return taken, None
        sound, stream.needed = bytes(stream.waiting), stream.step
        stream.waiting.clear()
        if self._error is not None:
            sound = self._error.sound(np.frombuffer(sound, "<i2")).tobytes()
        return taken, self._disguised(stream.frontend.process(sound)[0])

    def _disguised(self, features: Features) -> Features:
        """Features that the firmware's correct quantiser turns into the values of a wrong quantiser."""
        if self._error is None:
            return features
        disguised: Features = _SMALLEST[self._error.quantize(features).astype(np.int32) + 128]
        return disguised


def _smallest_features() -> Features:
    """For each value of the model's input, from -128: the smallest feature that is quantised to it."""
    halves = QUANTIZE_VALUE_DIV // 2
    values = (np.arange(256) * QUANTIZE_VALUE_DIV - halves + QUANTIZE_VALUE_SCALE - 1) // QUANTIZE_VALUE_SCALE
    return np.maximum(values, 0).astype(np.uint16)


_SMALLEST: Final = _smallest_features()
