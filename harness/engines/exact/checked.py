"""The exact engine with the interface of all engines, compared with TFLite Micro over a model's first clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from harness.engines.canary import has_passed, note_pass
from harness.engines.catalog import DEFAULT_ENGINE, EXACT_ENGINE, engine_spec, installed_version, is_installed
from harness.engines.exact.engine import VERSION, ExactModel, prepared
from harness.engines.process import EngineProcess
from mww.core.closing import Closing
from mww.core.errors import EngineError

CHECKED_CLIPS: Final = 2
"""Clips of each model that TFLite Micro also runs, once."""
CHECKED_FRAMES: Final = 1000
"""The most frames of these clips."""


class ExactEngine(Closing):
    """`ExactModel` behind the protocol `harness.engines.opening.Engine`.

    Where tflite-micro is installed, the first clips of each model run there too, once for each version of both. A
    difference is an error that names both, and the model is not run again until it is loaded.
    """

    engine = EXACT_ENGINE
    version = VERSION
    asks_reference = True
    """Whether TFLite Micro runs at all; of several processes with the same model, only one compares."""

    def __init__(self) -> None:
        self.frame_size = self.output_size = self.inferences = 0
        self._model: ExactModel | None = None
        self._reference: EngineProcess | None = None
        self._note = ""
        self._clips = self._frames = 0
        self._began = False
        self._difference: EngineError | None = None

    def load(self, content: bytes) -> None:
        """See `Engine`."""
        self._stop_checking()
        self._difference = None
        graph = prepared(content)
        self._model = model = ExactModel(graph)
        self.frame_size, self.output_size, self.inferences = model.frame_size, model.output_size, 0
        if not self.asks_reference or not is_installed(DEFAULT_ENGINE):
            return
        version = installed_version(engine_spec(DEFAULT_ENGINE))
        self._note = f"{self.engine}-{self.version}-{DEFAULT_ENGINE}-{version}-{graph.model.sha256}"
        if not has_passed(self._note):
            self._reference = EngineProcess(DEFAULT_ENGINE)
            self._clips = self._frames = 0
            self._began = False
            self._ask_reference(content)

    def reset(self) -> None:
        """See `Engine`."""
        if self._model is None:
            raise EngineError("the exact engine has no model", hint="load a model first")
        if self._difference is not None:
            raise self._difference
        self._model.reset()
        self.inferences = 0
        if self._reference is None:
            return
        self._clips += self._began
        self._began = False
        if self._clips >= CHECKED_CLIPS:
            self._passed()
        else:
            self._reference.reset()

    def infer(self, frames: bytes) -> bytes:
        """See `Engine`."""
        model = self._model
        if model is None or len(frames) % self.frame_size:
            raise EngineError(
                f"{len(frames)} bytes of frames for a model that takes {self.frame_size}", hint="load a model first"
            )
        outputs = model.infer(np.frombuffer(frames, np.int8).reshape(-1, self.frame_size))
        if self._reference is not None:
            self._compare(frames[: (CHECKED_FRAMES - self._frames) * self.frame_size], outputs.tobytes())
        self.inferences += len(outputs)
        return outputs.tobytes()

    def infer_clips(self, clips: Sequence[bytes]) -> list[bytes]:
        """See `Engine`; many short clips in one line take less time than one by one."""
        outputs: list[bytes] = []
        while len(outputs) < len(clips) and self._reference is not None:
            self.reset()
            outputs.append(self.infer(clips[len(outputs)]))
        self.reset()
        assert self._model is not None
        arrays = [np.frombuffer(frames, np.int8).reshape(-1, self.frame_size) for frames in clips[len(outputs) :]]
        return outputs + [result.tobytes() for result in self._model.infer_clips(arrays)]

    def close(self) -> None:
        """See `Engine`."""
        self._stop_checking()

    def _ask_reference(self, content: bytes) -> None:
        """Load the model in TFLite Micro too; a model that it refuses cannot be compared."""
        assert self._reference is not None
        try:
            self._reference.load(content)
        except EngineError:
            self._stop_checking()

    def _compare(self, frames: bytes, outputs: bytes) -> None:
        """Compare outputs with those of the reference.

        Raises:
            EngineError: They differ.
        """
        reference = self._reference
        assert reference is not None
        expected = reference.infer(frames)
        self._frames += len(frames) // self.frame_size
        self._began = self._began or bool(frames)
        mine = np.frombuffer(outputs[: len(expected)], np.uint8).reshape(-1, self.output_size)
        apart = (mine != np.frombuffer(expected, np.uint8).reshape(mine.shape)).any(axis=1)
        if apart.any():
            inference = self.inferences + int(np.argmax(apart))
            own, other = f"{self.engine} {self.version}", f"{reference.engine} {reference.version}"
            self._difference = EngineError(
                f"engine {own} and {other} disagree about this model at inference {inference}",
                hint="please report the model, and use --engine tflm until then",
                inference=inference,
            )
            self._stop_checking()
            raise self._difference
        if self._frames >= CHECKED_FRAMES:
            self._passed()

    def _passed(self) -> None:
        note_pass(self._note)
        self._stop_checking()

    def _stop_checking(self) -> None:
        reference, self._reference = self._reference, None
        if reference is not None:
            reference.close()
