"""The virtual board's microphone: it plays a sound file at its own pace, then silence."""

from __future__ import annotations

import time
from pathlib import Path

from mww.esphome.audio import read_audio
from mww.esphome.contract import SAMPLE_RATE


class PlayedMicrophone:
    """One file, from its beginning each time that the firmware begins to hear."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            AudioError: It cannot be read.
        """
        self._sound = b"".join(read_audio(path))
        self._started = time.monotonic()
        self._taken = 0

    def open(self) -> None:
        """Begin to hear."""
        self._started, self._taken = time.monotonic(), 0

    def close(self) -> None:
        """Hear nothing any more."""

    def read(self, count: int) -> bytes:
        """Take the next samples, little-endian int16, as many as there are by now and at most `count`."""
        due = int((time.monotonic() - self._started) * SAMPLE_RATE)
        first, self._taken = self._taken, min(due, self._taken + count)
        sound = self._sound[2 * first : 2 * self._taken]
        return sound + bytes(2 * (self._taken - first) - len(sound))
