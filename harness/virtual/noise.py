"""A bad cable: corrupts, drops, repeats and interrupts the link's frames, each with the probability it was given.

And a board whose detection rule is wrong: what it says is changed in the frame that carries it.
"""

from __future__ import annotations

import random
from typing import Final

import numpy as np

from harness.link.client import SAMPLE
from harness.link.framing import Frame, FrameDecoder, encode_frame
from harness.link.messages import Outputs
from harness.virtual.faults import Faults

_TEXT: Final = b"[W][wifi:123]: beacon timeout, reconnecting\r\n"
_MAX_HELD: Final = 1 << 18  # bytes without a zero, after which they are passed on as they are


class Noise:
    """One direction; frames are what stands between zeros."""

    def __init__(self, faults: Faults, direction: str) -> None:
        self._faults = faults
        self._random = random.Random(f"{direction}{faults.seed}")
        self._held = b""

    def spoil(self, data: bytes) -> bytes:
        """Pass bytes through, holding back a frame until it is whole."""
        *whole, self._held = (self._held + data).split(b"\0")
        if len(self._held) > _MAX_HELD:
            whole, self._held = [*whole, self._held], b""
        return b"".join(self._spoil_frame(chunk) if chunk else b"\0" for chunk in whole)

    def forget(self) -> None:
        """Lose what is held back."""
        self._held = b""

    def _spoil_frame(self, frame: bytes) -> bytes:
        faults, chance = self._faults, self._random.random
        if faults.detect is not None:
            frame = _wrong_rule(frame, faults.detect)
        if chance() < faults.drop:
            return b"\0"
        if chance() < faults.corrupt:
            at = self._random.randrange(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ self._random.randrange(1, 256)]) + frame[at + 1 :]
        if chance() < faults.log:
            at = self._random.choice((0, self._random.randrange(len(frame))))
            frame = _TEXT + b"\0" + frame if at == 0 else frame[:at] + _TEXT + frame[at:]
        copies = 2 if chance() < faults.duplicate else 1
        return (b"\0" + frame + b"\0") * copies


def _wrong_rule(frame: bytes, inference: int) -> bytes:
    """Turn what the rule is said to have found at an inference since the reset into its opposite."""
    for entry in FrameDecoder().feed(frame + b"\0"):
        if isinstance(entry, Frame) and entry.type == Outputs.type:
            answer = Outputs.decode(entry.payload)
            samples = np.frombuffer(answer.samples, SAMPLE).copy()
            if 0 <= (at := inference - answer.first) < len(samples):
                row = samples[at]
                row["detected"], row["average"], row["maximum"] = (0, 0, 0) if row["detected"] else (1, 255, 255)
                changed = Outputs(answer.model, answer.first, samples.tobytes())
                return encode_frame(entry.type, entry.sequence, changed.encode()).strip(b"\0")
    return frame
