"""The emulator: a model in an interpreter on this machine, with the device's outputs bit for bit by default.

Its arena is predicted for a chip and never the interpreter's own: a 64-bit host needs a different size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.engines.canary import check_canary
from harness.engines.catalog import EXACT_ENGINE, engine_spec
from harness.engines.opening import Engine, open_engine
from harness.targets.base import ArenaUse, Inference, Target, TargetInfo, TensorSource
from harness.targets.registry import TargetOptions
from mww.core.errors import EngineError, UsageError
from mww.core.progress import Progress, no_progress
from mww.esphome.chips import DEFAULT_CHIP, find_chip
from mww.esphome.contract import FEATURES
from mww.esphome.model import Model
from mww.tflite.model_file import Tensor, exposing
from mww.tflm.arena import predict_arena

_KIND: Final = "emulator"


class EngineTensors(TensorSource):
    """An interpreter on this machine, with the tensors inside its model."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine, and close it at the end."""
        self._engine = engine
        self._exposed: tuple[Tensor, ...] = ()

    def versions(self) -> dict[str, str]:
        """See `TensorSource`."""
        return {"kind": _KIND, "engine": self._engine.engine, self._engine.engine: self._engine.version}

    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        """See `TensorSource`."""
        self._exposed = tuple(exposed)
        self._engine.load(exposing(content, exposed))

    def reset(self) -> None:
        """See `TensorSource`."""
        self._engine.reset()

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """See `TensorSource`."""
        return np.frombuffer(self._engine.infer(frames.tobytes()), np.uint8)

    def skip(self, frames: npt.NDArray[np.int8]) -> None:
        """See `TensorSource`."""
        self._engine.infer(frames.tobytes())

    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[Sequence[bytes]]:
        """See `TensorSource`."""
        for frame in frames:
            content, at = self._engine.infer(frame.tobytes()), 0
            pieces = []
            for tensor in self._exposed:
                pieces.append(content[at : at + tensor.nbytes])
                at += tensor.nbytes
            yield pieces

    def close(self) -> None:
        """See `TensorSource`."""
        self._engine.close()


def golden_tensors() -> EngineTensors:
    """The engine that makes goldens, as the reference for inner tensors.

    Raises:
        MissingPackageError: Its package is not installed.
    """
    return EngineTensors(open_engine(None))


class EmulatorTarget(Target):
    """An engine as a target."""

    def __init__(self, engine: str | None = None, chip: str = DEFAULT_CHIP) -> None:
        """Open the engine; None is the default of this machine.

        Raises:
            UsageError: The engine or chip is unknown.
            MissingPackageError: The engine's package is not installed.
            EngineError: It is a version of TFLM that does not compute what the device does.
        """
        self._chip = find_chip(chip).name
        self._engine = open_engine(engine)
        try:
            check_canary(self._engine)
        except BaseException:
            self.close()
            raise

    def info(self) -> TargetInfo:
        """The engine with its version, and the chip whose arena is predicted."""
        spec = engine_spec(self._engine.engine)
        return TargetInfo(_KIND, self._chip, spec.name, ((spec.distribution, self._engine.version),))

    def load(self, model: Model) -> ArenaUse:
        """Make an interpreter of the model.

        Raises:
            UnsupportedModelError: ESPHome's runtime would refuse the model.
            EngineError: The engine refused it or crashed.
        """
        predicted = predict_arena(model.content, self._chip, manifest_size=model.tensor_arena_size)
        self._engine.load(model.content)
        if (self._engine.frame_size, self._engine.output_size) != (model.stride * FEATURES, 1):
            sizes = f"frames of {self._engine.frame_size} bytes and outputs of {self._engine.output_size}"
            raise EngineError(f"engine {self._engine.engine} sees {sizes} in {model.name}", hint="use --engine tflm")
        return ArenaUse(predicted.used, predicted.probe or predicted.minimum, "predicted")

    def computes_here(self) -> bool:
        """See `Target`."""
        return self._engine.engine == EXACT_ENGINE

    def reset(self) -> None:
        """Make a new interpreter: exact for every engine, while their own resets are not."""
        self._engine.reset()

    def infer(self, frames: npt.NDArray[np.int8]) -> Inference:
        """Run frames `[n, stride, 40]`; without times, which would not be the chip's."""
        return Inference(np.frombuffer(self._engine.infer(frames.tobytes()), np.uint8), None)

    def infer_clips(self, clips: Sequence[npt.NDArray[np.int8]]) -> list[npt.NDArray[np.uint8]]:
        """See `Target`."""
        outputs = self._engine.infer_clips([frames.tobytes() for frames in clips])
        return [np.frombuffer(content, np.uint8) for content in outputs]

    def inferences(self) -> int | None:
        """The engine's count of inferences."""
        return self._engine.inferences

    def tensors(self, model: Model, progress: Progress = no_progress) -> EngineTensors:
        """See `Target`."""
        return EngineTensors(self._engine)

    def close(self) -> None:
        """End the engine's process."""
        self._engine.close()


def open_target(name: str, options: TargetOptions) -> EmulatorTarget:
    """Open an emulator; it has no baud rate and no stored model."""
    if options.baud is not None:
        raise UsageError(f"the target {name} has no baud rate", hint="leave --baud out")
    return EmulatorTarget(options.engine, options.chip or DEFAULT_CHIP)
