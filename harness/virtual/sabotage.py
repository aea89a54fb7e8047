"""An engine with faults: the effects of a broken firmware, kernel or arena on outputs, at a chosen inference."""

from __future__ import annotations

import random
from dataclasses import replace

from harness.link.error_codes import LinkCode
from harness.virtual.engine import Engine, Facts, RefusedError
from harness.virtual.faults import Faults
from mww.esphome import contract


class RebootFault(Exception):
    """The firmware has crashed, and the chip restarts."""


class HangFault(Exception):
    """The firmware hangs."""


class FaultyEngine:
    """Passes everything to another engine, except for the faults; inferences count from power-on, over all models."""

    def __init__(self, engine: Engine, faults: Faults) -> None:
        self._engine = engine
        self._faults = faults
        self._random = random.Random(faults.seed)
        self._inferences = 0
        self._since_reset: dict[int, int] = {}
        self._rebooted = self._hung = False

    def load(self, slot: int, content: bytes, manifest_arena: int, *, any_output: bool) -> Facts:
        """See `Engine`."""
        facts = self._engine.load(slot, content, manifest_arena, any_output=any_output)
        if self._faults.swap is not None and facts.stride == 1:
            raise RefusedError(LinkCode.FAULT, f"swap={self._faults.swap}, but the model takes a single slice a frame")
        more = self._faults.arena
        self._since_reset[slot] = 0
        return replace(facts, arena_used=facts.arena_used + more, arena_size=facts.arena_size + more)

    def unload(self, slot: int) -> None:
        """See `Engine`."""
        self._engine.unload(slot)

    def reset(self, slot: int) -> None:
        """See `Engine`."""
        self._since_reset[slot] = 0
        if not self._faults.noreset:
            self._engine.reset(slot)

    def infer(self, slot: int, frames: bytes, count: int) -> bytes:
        """See `Engine`.

        Raises:
            RebootFault: One of the frames is the one at which the chip restarts.
            HangFault: One of the frames is the one at which the chip hangs.
        """
        faults, first = self._faults, self._inferences
        due = range(first, first + count)
        if faults.hang in due and not self._hung:
            self._hung = True
            raise HangFault
        if faults.reboot in due and not self._rebooted:
            self._rebooted = True
            raise RebootFault
        if faults.swap is not None and faults.swap in due:
            frames = _swap_slices(frames, len(frames) // count, faults.swap - first)
        outputs = bytearray(self._engine.infer(slot, frames, count))
        self._inferences += count
        self._round(slot, outputs)
        if faults.wrong is not None and faults.wrong in due:
            outputs[faults.wrong - first] ^= 1 << self._random.randrange(8)
        return bytes(outputs)

    def _round(self, slot: int, outputs: bytearray) -> None:
        start = self._since_reset[slot]
        self._since_reset[slot] += len(outputs)
        if self._faults.round:
            for at in range(-(start + 1) % self._faults.round, len(outputs), self._faults.round):
                outputs[at] ^= 1

    def output(self, slot: int, index: int) -> bytes:
        """See `Engine`."""
        return self._engine.output(slot, index)


def _swap_slices(frames: bytes, size: int, index: int) -> bytes:
    """Exchange the first slice of a frame with the last different slice."""
    start, width = index * size, contract.FEATURES
    slices = [frames[at : at + width] for at in range(start, start + size, width)]
    for other in range(len(slices) - 1, 0, -1):
        if slices[other] != slices[0]:
            slices[0], slices[other] = slices[other], slices[0]
            break
    return frames[:start] + b"".join(slices) + frames[start + size :]
