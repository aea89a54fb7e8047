"""A board's own microphone: its sound, and the results of the board's front-end, models and rule."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np

from harness.boards.leases import hold_port
from harness.link.client import HeardSound, LinkClient
from harness.link.messages import MAX_MODELS
from harness.link.model_table import ModelRecord
from harness.listen.listener import Heard
from harness.listen.sound_sources import Lost
from harness.run.features import FeatureComparison, FeatureResult
from mww.core.closing import Closing
from mww.core.errors import UsageError
from mww.esphome.contract import FEATURE_STEP_BYTES, FEATURES, SAMPLE_RATE
from mww.esphome.frontend import open_frontend, quantize_features
from mww.esphome.model import Model

_PAUSE: Final = 0.02
"""Seconds between two requests to a board that has nothing new."""
_BLOCK: Final = SAMPLE_RATE * 2 // 10
_COUNTS: Final = 1 << 32


class BoardEars(Closing):
    """A board's microphone; iterate over `blocks`, and take `detections` after each."""

    def __init__(self, port: str, models: Sequence[Model], lost: Lost) -> None:
        """Open the board and load the models; `blocks` starts the microphone.

        Raises:
            UsageError: The board has fewer slots than there are models, or the models' steps differ.
            LinkError: The port has no board.
        """
        if len(models) > MAX_MODELS or len({model.feature_step_size for model in models}) > 1:
            hint = f"up to {MAX_MODELS} models of one feature_step_size: they share the board's front-end"
            raise UsageError("models that do not fit one board", hint=hint)
        self._models, self._lost = models, lost
        self._first, self._lost_samples = 0, 0
        self._waiting: list[Heard] = []
        self._pending = b""
        self._frontend = open_frontend(models[0].feature_step_size)
        self._comparison: FeatureComparison | None = FeatureComparison()
        self.outputs: dict[str, int] = {}
        with ExitStack() as stack:
            board = stack.enter_context(hold_port(port, purpose="mww listen"))
            self._client = stack.enter_context(LinkClient.connect(board.port))
            self._open = stack.pop_all()

    @property
    def has_microphone(self) -> bool:
        """Whether the board has a microphone; without a microphone, `blocks` raises the board's error."""
        return self._client.has_microphone

    @property
    def features(self) -> FeatureResult | None:
        """Whether the board's features equal this computer's for the same sound; None where sound was lost."""
        return self._comparison.so_far() if self._comparison else None

    def blocks(self) -> Iterator[bytes]:
        """Yield the microphone's samples, little-endian int16, as they arrive, until the caller stops.

        Raises:
            LinkError: The board has no microphone, or a model or the link failed.
        """
        for slot, model in enumerate(self._models):
            self._give(slot, model)
        slots = range(len(self._models))
        self._client.listen(slots, step_ms=self._models[0].feature_step_size, microphone=True)
        while True:
            block = self._read_block()
            heard = self._client.read_heard()
            self._take(heard)
            self._compare(block, heard)
            if block:
                yield block
            else:
                time.sleep(_PAUSE)

    def detections(self) -> list[Heard]:
        """The detections of the board's own rule since the last call."""
        heard, self._waiting = self._waiting, []
        return heard

    def close(self) -> None:
        """Close the board."""
        self._open.close()

    def _give(self, slot: int, model: Model) -> None:
        """Open a model on the board, after an upload if the board has a different model."""
        record = ModelRecord(model.content, model.tensor_arena_size or 0)
        if not self._client.holds(slot, record):
            self._client.upload(slot, record)
        self._client.open_model(slot)
        self._client.arm_detection(slot, cutoff=model.cutoff_byte, window=model.sliding_window_size)

    def _read_block(self) -> bytes:
        """The samples that are ready, a tenth of a second at most."""
        block = bytearray()
        while len(block) < _BLOCK:
            sound = self._client.read_sound(self._first)
            gone = (sound.first - self._first) % _COUNTS + (sound.lost - self._lost_samples) % _COUNTS
            if gone:
                self._lost(gone / SAMPLE_RATE)
                self._comparison = None
            self._lost_samples = sound.lost
            self._first = (sound.first + len(sound.samples) // 2) % _COUNTS
            block += sound.samples
            if not sound.samples:
                break
        return bytes(block)

    def _take(self, heard: HeardSound) -> None:
        for slot, model in enumerate(self._models):
            results = heard.models[slot]
            if len(results.outputs):
                self.outputs[model.name] = int(results.outputs[-1])
            for item in results.detections:
                time_s = item.slices * model.feature_step_size / 1000
                entry = Heard(model.name, time_s, item.inference, item.average, item.maximum, False, by="board")
                self._waiting.append(entry)

    def _compare(self, block: bytes, heard: HeardSound) -> None:
        if self._comparison is None or heard.lost:
            self._comparison = None
            return
        samples = self._pending + block
        whole = len(samples) // FEATURE_STEP_BYTES * FEATURE_STEP_BYTES
        self._pending = samples[whole:]
        made = self._frontend.process(samples[:whole]) if whole else np.empty((0, FEATURES), np.uint16)
        self._comparison.add(quantize_features(made), heard.features)
