"""Reads inner tensors on a board, with copies of the model that replace it temporarily."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType

import numpy as np
import numpy.typing as npt

from harness.link.client import LinkClient
from harness.link.messages import MAX_MODELS, OPEN, STORED
from harness.link.model_table import ModelRecord
from harness.targets.base import TargetKind, TensorSource
from mww.core.errors import DeviceError, LinkError, UnknownRuntimeError, UnsupportedModelError
from mww.core.progress import Progress, no_progress
from mww.esphome.model import Model
from mww.tflite.model_file import Tensor, exposing
from mww.tflm.arena import ArenaPrediction, predict_arena

_log = logging.getLogger(__name__)


class BoardTensors(TensorSource):
    """A board; changed copies of the model replace it over the link, and it is restored at the end."""

    def __init__(self, client: LinkClient, kind: TargetKind, model: Model, progress: Progress = no_progress) -> None:
        """Find the model on the board; the caller keeps the session `client`."""
        self._client = client
        self._kind = kind
        self._model = model
        self._progress = progress
        self._exposed: tuple[Tensor, ...] = ()
        self._borrowed = self._lost = False
        self._arena_used = 0
        self._slot, self._arena = self._find_slot()

    def versions(self) -> dict[str, str]:
        """See `TensorSource`."""
        board = self._client.board
        versions = {
            "kind": self._kind,
            "chip": board.chip,
            "engine": board.engine,
            "firmware": board.firmware,
            "esphome": board.esphome,
            "esp-idf": board.idf,
            "runtime": board.runtime,
            "esp-nn": board.kernels.partition(" ")[0],
            "kernels": board.kernels.partition(" ")[2],
        }
        return {name: version for name, version in versions.items() if version}

    def remarks(self) -> tuple[str, ...]:
        """See `TensorSource`."""
        chip = self._client.board.chip
        predicted = _predicted(self._model.content, chip)
        if predicted is None or self._arena_used in (0, predicted.used):
            return ()
        message = f"the board uses {self._arena_used} bytes of arena where {predicted.used} are predicted for {chip}"
        return (message,)

    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        """See `TensorSource`; a copy with more outputs than the model gets the arena that it needs."""
        self._exposed = tuple(exposed)
        copy = exposing(content, exposed)
        own = copy == self._model.content
        arena = self._arena if own else _needed_arena(copy, self._client.board.chip)
        self._store(ModelRecord(copy, arena), borrowed=not own)
        opened = self._client.open_model(self._slot, any_output=bool(exposed))
        self._arena_used = opened.arena_used if own else self._arena_used

    def reset(self) -> None:
        """See `TensorSource`."""
        self._client.reset(self._slot)

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """See `TensorSource`; all frames are streamed at once."""
        return self._client.infer(frames, self._slot).outputs

    def skip(self, frames: npt.NDArray[np.int8]) -> None:
        """See `TensorSource`."""
        self._client.infer(frames, self._slot)

    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[Sequence[bytes]]:
        """See `TensorSource`; a frame runs when its tensors are requested."""
        sizes = [tensor.nbytes for tensor in self._exposed]
        for frame in frames:
            self._client.infer(frame[np.newaxis], self._slot)
            yield self._client.read_outputs(sizes, self._slot)

    def close(self) -> None:
        """Restore the model on the board."""
        with uninterrupted():
            if self._borrowed:
                self._borrowed = False
                self._give_back()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lost = isinstance(error, LinkError) and not isinstance(error, DeviceError)
        super().__exit__(kind, error, trace)

    def _find_slot(self) -> tuple[int, int]:
        """The slot that holds the model, or else the first slot, as for `mww run`; and the arena for the model.

        A bare `.tflite` has no arena, so the arena stored on the board stays.
        """
        arena = self._model.tensor_arena_size
        for slot in range(min(MAX_MODELS, self._client.board.models)):
            stored = self._client.describe(slot)
            if stored.state in (STORED, OPEN) and stored.sha256.hex() == self._model.sha256:
                return slot, stored.manifest_arena if arena is None else arena
        return 0, arena or 0

    def _store(self, record: ModelRecord, *, borrowed: bool) -> None:
        if self._client.holds(self._slot, record):
            return
        self._borrowed = self._borrowed or borrowed
        self._client.upload(self._slot, record, progress=self._progress)
        self._borrowed = borrowed

    def _give_back(self) -> None:
        """Restore the model, in a new session if the last session failed, for example when the board rebooted."""
        record = ModelRecord(self._model.content, self._arena)
        try:
            if self._lost:
                self._client.reconnect()
            self._client.upload(self._slot, record)
        except LinkError as problem:
            _log.warning(
                "the board keeps a changed copy of %s: %s; mww run gives it the model back",
                self._model.name,
                problem.message,
            )


def _predicted(content: bytes, chip: str) -> ArenaPrediction | None:
    """The predicted arena on a chip; None for a chip or model without a prediction."""
    try:
        return predict_arena(content, chip)
    except (UnknownRuntimeError, UnsupportedModelError):
        return None


def _needed_arena(content: bytes, chip: str) -> int:
    """The arena of a copy with a tenth more; 0, which lets the board decide, where it is unknown."""
    predicted = _predicted(content, chip)
    return predicted.minimum + predicted.minimum // 10 if predicted else 0


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the end of the block; signals reach only the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
