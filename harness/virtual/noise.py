"""A bad cable: corrupts, drops, repeats and interrupts the link's frames, each with the probability it was given.

And a board whose detection rule is wrong: what it says is changed in the frame that carries it.
"""

from __future__ import annotations

import random
from typing import Final

import numpy as np

from harness.link.client import SAMPLE, heard_slices
from harness.link.framing import Frame, FrameDecoder, encode_frame
from harness.link.messages import Heard, Outputs
from harness.virtual.faults import Faults

_TEXT: Final = b"[W][wifi:123]: beacon timeout, reconnecting\r\n"
_MAX_HELD: Final = 1 << 18  # bytes without a zero, after which they are passed on as they are


class Noise:
    """One direction; frames are what stands between zeros."""

    def __init__(self, faults: Faults, direction: str) -> None:
        self._faults = faults
        self._random = random.Random(f"{direction}{faults.seed}")
        self._held = b""
        self._rule = None if faults.detect is None else _WrongRule(faults.detect)

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
        if self._rule is not None:
            frame = self._rule.change(frame)
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


class _WrongRule:
    """Turns what the rule is said to have found at an inference since the reset into its opposite."""

    def __init__(self, inference: int) -> None:
        self._inference = inference
        self._before: dict[int, int] = {}
        """Inferences of the first model before each slice at which an answer began, since answers come again."""

    def change(self, frame: bytes) -> bytes:
        """A frame as the board with that rule would send it."""
        for entry in FrameDecoder().feed(frame + b"\0"):
            if isinstance(entry, Frame) and entry.type in (Outputs.type, Heard.type):
                payload = (self._outputs if entry.type == Outputs.type else self._heard)(entry.payload)
                return encode_frame(entry.type, entry.sequence, payload).strip(b"\0")
        return frame

    def _outputs(self, payload: bytes) -> bytes:
        answer = Outputs.decode(payload)
        return Outputs(answer.model, answer.first, self._rows(answer.samples, answer.first)).encode()

    def _heard(self, payload: bytes) -> bytes:
        answer = Heard.decode(payload)
        if answer.first == 0:
            self._before = {0: 0}
        count, slices, changed = self._before.get(answer.first), answer.first, bytearray()
        if count is None:  # of the stream before
            return payload
        for features, samples in heard_slices(answer):
            changed += features + bytes([sum(1 << slot for slot in samples)])
            for number, row in enumerate(samples.values()):
                changed += row if number else self._rows(row, count)
            count, slices = count + bool(samples), slices + 1
        self._before[slices] = count
        return Heard(answer.first, bytes(changed)).encode()

    def _rows(self, content: bytes, first: int) -> bytes:
        samples = np.frombuffer(content, SAMPLE).copy()
        if 0 <= (at := self._inference - first) < len(samples):
            row = samples[at]
            row["detected"], row["average"], row["maximum"] = (0, 0, 0) if row["detected"] else (1, 255, 255)
        return samples.tobytes()
