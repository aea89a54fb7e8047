"""Recordings: the seconds around a detection or a near miss, as WAV files for `mww run`."""

from __future__ import annotations

import io
import re
import wave
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.listen.listener import Heard
from mww.core.files import write_files
from mww.core.readable import is_there
from mww.esphome.contract import SAMPLE_RATE

LABELS: Final = ("positive", "negative")
"""The labels for recordings by hand: folders that `mww run` and `mww cutoff` know."""
BEFORE: Final = 3.0
"""Seconds before a detection in a recording: a wake word and a second before it."""
AFTER: Final = 1.0

_SECOND: Final = SAMPLE_RATE * 2


@dataclass
class Keeper:
    """The last seconds of sound, and the detections whose recording is not complete.

    Attributes:
        folder: The folder for `detection/`, `near-miss/` and the labels of recordings by hand.
    """

    folder: Path
    _blocks: deque[bytes] = field(default_factory=deque)
    _held: int = 0
    _end: int = 0
    _waiting: list[tuple[int, Heard]] = field(default_factory=list)
    _number: int = 0

    def hear(self, block: bytes) -> list[Path]:
        """Take samples, and write the recordings that they complete.

        Raises:
            OutputError: It cannot be written.
        """
        self._blocks.append(block)
        self._held += len(block)
        self._end += len(block)
        while self._held - len(self._blocks[0]) >= (BEFORE + AFTER) * _SECOND:
            self._held -= len(self._blocks.popleft())
        ready = [heard for due, heard in self._waiting if due <= self._end]
        self._waiting = [(due, heard) for due, heard in self._waiting if due > self._end]
        return [self._write(heard) for heard in ready]

    def keep(self, heard: Heard) -> None:
        """Write the seconds around a detection or near miss, once they are complete."""
        self._waiting.append((self._end + int(AFTER * _SECOND), heard))

    def keep_now(self, label: str) -> Path:
        """Write the last seconds at once, under a label.

        Raises:
            OutputError: It cannot be written.
        """
        return self._put(label, "kept", self._end / _SECOND)

    def close(self) -> list[Path]:
        """Write the recordings that are not complete."""
        waiting, self._waiting = self._waiting, []
        return [self._write(heard) for _, heard in waiting]

    def _write(self, heard: Heard) -> Path:
        kind = "near-miss" if heard.near_miss else "detection"
        return self._put(kind, re.sub(r"[^\w-]", "_", heard.model, flags=re.ASCII), heard.time_s)

    def _put(self, kind: str, name: str, time_s: float) -> Path:
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(b"".join(self._blocks))
        while True:
            self._number += 1
            path = self.folder / kind / f"{name}-{self._number:04d}-at-{time_s:.1f}s.wav"
            if not is_there(path):
                break
        path.parent.mkdir(parents=True, exist_ok=True)
        write_files({path: content.getvalue()})
        return path
