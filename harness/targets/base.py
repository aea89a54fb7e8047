"""The interface of every target, emulator or board, and the data that passes through it.

`harness.targets.registry` has what is known about a target before it is opened.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mww.core.closing import Closing
from mww.core.errors import UsageError
from mww.core.progress import Progress, no_progress
from mww.esphome.detection import DeviceDetection
from mww.esphome.model import Model
from mww.tflite.model_file import Tensor

TargetKind: TypeAlias = str
"""The kind of a target in results: the `kind` of an entry in `harness.targets.registry.TARGETS`."""

MAX_EXPOSED: Final = 255
"""The most inner tensors that a copy of a model can have as outputs: ReadOutput counts them in a byte."""
MAX_EXPOSED_BYTES: Final = 256 * 1024
"""The most bytes of these tensors; more than fits beside the rest on any board."""


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """Facts that a target reports about itself.

    Attributes:
        kind: The kind of target.
        chip: As `mww.esphome.chips` spells it; for the emulator the chip whose arena is predicted.
        engine: The interpreter: `tflm`, `tflite-runtime`, `litert`, or the firmware's own name for its interpreter.
        versions: Names and versions of everything that could change an output: runtime, kernels, firmware, ESPHome.
    """

    kind: TargetKind
    chip: str
    engine: str
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ArenaUse:
    """The tensor arena in bytes: the used part and the allocated size; `predicted` where no chip measured it."""

    used: int
    size: int
    source: Literal["measured", "predicted"]


@dataclass(frozen=True, slots=True)
class Inference:
    """The results of a batch of frames.

    Attributes:
        outputs: uint8 `[n]`.
        microseconds: uint32 `[n]` where they are the chip's own, else None.
        detections: Detections of the target's own rule, with the loaded model's cutoff and window; None without a rule.
        instructions: uint32 `[n]` that the processor executed where it counts them, else None.
    """

    outputs: npt.NDArray[np.uint8]
    microseconds: npt.NDArray[np.uint32] | None
    detections: tuple[DeviceDetection, ...] | None = None
    instructions: npt.NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True)
class Hearing:
    """The results of samples: features of the target's own front-end, int8 `[n, 40]`, and the model's results."""

    features: npt.NDArray[np.int8]
    inference: Inference


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """The cost of an operator in an inference.

    Attributes:
        operator: Its name, such as `CONV_2D`.
        index: Its place in order of execution, from 0.
        microseconds: On the chip; None where no chip measured it.
        instructions: That the processor executed; None where they were not counted.
    """

    operator: str
    index: int
    microseconds: int | None
    instructions: int | None


class TensorSource(Closing):
    """A place where a model runs and its inner tensors can be read.

    A context manager; call `load` first. `close` restores the model that the place had.
    """

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Its name, and the versions of everything that computes."""

    def remarks(self) -> tuple[str, ...]:
        """Remarks, such as an arena that differs from the prediction."""
        return ()

    @abstractmethod
    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        """Open a `.tflite` in its initial state: unchanged, for `outputs`, or to read `exposed` tensors of it.

        Raises:
            MwwError: It is refused, for example because the exposed tensors need too much memory.
        """

    @abstractmethod
    def reset(self) -> None:
        """Put the streaming state back to the initial one."""

    @abstractmethod
    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """The output after each of `frames` `[n, stride, 40]`."""

    @abstractmethod
    def skip(self, frames: npt.NDArray[np.int8]) -> None:
        """Run frames without reading tensors."""

    @abstractmethod
    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[Sequence[bytes]]:
        """Yield the exposed tensors after each frame."""


class Target(Closing):
    """A place where a model can run.

    A context manager; call `load` before `infer`; both may be called repeatedly. A capability of some targets only is a
    method with a default here, which such a target overrides.
    """

    @abstractmethod
    def info(self) -> TargetInfo:
        """Facts about this target."""

    @abstractmethod
    def load(self, model: Model) -> ArenaUse:
        """Load the model that `infer` runs, in its initial state.

        Raises:
            MwwError: The target cannot take the model, or failed.
        """

    @abstractmethod
    def reset(self) -> None:
        """Put the streaming state back to the model's initial state."""

    @abstractmethod
    def infer(self, frames: npt.NDArray[np.int8]) -> Inference:
        """Run frames `[n, stride, 40]`, each advancing the streaming state, in order.

        Raises:
            MwwError: Not every frame was inferred; its `inference` counts from the last `reset` or `load`. The state is
                undefined until the next `reset` or `load`.
        """

    def computes_here(self) -> bool:
        """Whether it computes in this process, and many short clips by `infer_clips` faster than one by one.

        Reading ahead in a thread would only take the processor from it.
        """
        return False

    def infer_clips(self, clips: Sequence[npt.NDArray[np.int8]]) -> list[npt.NDArray[np.uint8]]:
        """The outputs of clips `[n, stride, 40]`, each from the initial state, which is the state afterwards too.

        Raises:
            MwwError: Not every frame was inferred.
        """
        outputs = []
        for frames in clips:
            self.reset()
            outputs.append(self.infer(frames).outputs)
        self.reset()
        return outputs

    def listen(self) -> None:
        """Reset the target's own front-end and the streaming state, for `hear`.

        Raises:
            UsageError: The target has no front-end.
            MwwError: It cannot start.
        """
        raise UsageError(f"{self.info().kind} has no front-end of its own", hint="--from features")

    def hear(self, samples: bytes) -> Hearing:
        """Pass little-endian int16 samples, 16 kHz mono, through the front-end, and its features to the model.

        Raises:
            MwwError: As for `infer`; `listen` starts again.
        """
        raise UsageError(f"{self.info().kind} has no front-end of its own", hint="--from features")

    def inferences(self) -> int | None:
        """The target's count of inferences since `reset`, `listen` or `load`; None if unknown."""
        return None

    def profile(self, frames: npt.NDArray[np.int8]) -> tuple[OperatorCost, ...] | None:
        """The cost of each operator of the loaded model over `frames` `[n, stride, 40]`, from its initial state.

        At least two frames are needed. None where this target cannot measure it. The streaming state is undefined until
        the next `reset`.

        Raises:
            MwwError: Not every frame was inferred.
        """
        return None

    def tensors(self, model: Model, progress: Progress = no_progress) -> TensorSource | None:
        """The inner tensors of `model`, for `mww bisect`; None where this target cannot give them.

        The target runs nothing else until the source is closed.
        """
        return None
