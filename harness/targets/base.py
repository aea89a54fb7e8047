"""The interface of every target, emulator or board, and the data that passes through it.

What is known of a target before it is opened, by its name, is in `harness.targets.registry`.
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
"""What a target is, as results name it: the `kind` of an entry in `harness.targets.registry.TARGETS`."""

MAX_EXPOSED: Final = 255
"""Inner tensors that a copy of a model can have as outputs: ReadOutput counts them in a byte."""
MAX_EXPOSED_BYTES: Final = 256 * 1024
"""And their bytes; more than any board has room for beside the rest."""


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What a target says of itself.

    Attributes:
        kind: The sort of place.
        chip: As `mww.esphome.chips` spells it; for the emulator the chip whose arena is predicted.
        engine: What computes: `tflm`, `tflite-runtime`, `litert`, or the firmware's own name for its interpreter.
        versions: Names and versions of everything that could change an output: runtime, kernels, firmware, ESPHome.
    """

    kind: TargetKind
    chip: str
    engine: str
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ArenaUse:
    """The tensor arena in bytes: used, of the size that was allocated; `predicted` where no chip measured it."""

    used: int
    size: int
    source: Literal["measured", "predicted"]


@dataclass(frozen=True, slots=True)
class Inference:
    """What a batch of frames gave.

    Attributes:
        outputs: uint8 `[n]`.
        microseconds: uint32 `[n]` where they are the chip's own, else None.
        detections: What the target's own rule found, at the loaded model's cutoff and window; None without one.
        instructions: uint32 `[n]` that the processor executed where it counts them, else None.
    """

    outputs: npt.NDArray[np.uint8]
    microseconds: npt.NDArray[np.uint32] | None
    detections: tuple[DeviceDetection, ...] | None = None
    instructions: npt.NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True)
class Hearing:
    """What samples gave: the features that the target's own front-end made, int8 `[n, 40]`, and what the model did."""

    features: npt.NDArray[np.int8]
    inference: Inference


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """What an operator of the model costs in one inference.

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
    """A place where a model runs and its inner tensors can be read. A context manager; `load` before all else.

    `close` leaves the place with the model that it had.
    """

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """What it is, and the versions of everything that computes."""

    def remarks(self) -> tuple[str, ...]:
        """What was noticed beside outputs and tensors, such as an arena of another size than predicted."""
        return ()

    @abstractmethod
    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        """Open a `.tflite` in its initial state: as it is, for `outputs`; or to read `exposed` tensors of it.

        Raises:
            MwwError: It is refused, for example because many tensors must live to the end and memory runs out.
        """

    @abstractmethod
    def reset(self) -> None:
        """Put the streaming state back to the initial one."""

    @abstractmethod
    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """The output after each of `frames` `[n, stride, 40]`."""

    @abstractmethod
    def skip(self, frames: npt.NDArray[np.int8]) -> None:
        """Run frames whose tensors nobody wants."""

    @abstractmethod
    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[Sequence[bytes]]:
        """Yield the exposed tensors after each frame."""


class Target(Closing):
    """A place where a model can run. A context manager; `load` before `infer`, as often as wanted.

    A capability that only some targets have is a method with a default here: a target that has it overrides it.
    """

    @abstractmethod
    def info(self) -> TargetInfo:
        """What this target is."""

    @abstractmethod
    def load(self, model: Model) -> ArenaUse:
        """Make `model` the model that `infer` runs, from its initial state.

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
            MwwError: Not every frame was inferred; its `inference` counts from the last `reset` or `load`. The state
                is undefined until the next one.
        """

    def listen(self) -> None:
        """Put the target's own front-end and the streaming state into their initial states, for `hear`.

        Raises:
            UsageError: The target has no front-end.
            MwwError: It cannot begin.
        """
        raise UsageError(f"{self.info().kind} has no front-end of its own", hint="--from features")

    def hear(self, samples: bytes) -> Hearing:
        """Have the front-end take little-endian int16 samples, 16 kHz mono, and the model what it makes of them.

        Raises:
            MwwError: As for `infer`; `listen` begins anew.
        """
        raise UsageError(f"{self.info().kind} has no front-end of its own", hint="--from features")

    def inferences(self) -> int | None:
        """How many inferences the target has counted since `reset`, `listen` or `load`; None if unknown."""
        return None

    def profile(self, frames: npt.NDArray[np.int8]) -> tuple[OperatorCost, ...] | None:
        """What each operator of the loaded model costs, from its initial state over `frames` `[n, stride, 40]`, n >= 2.

        None where this target cannot measure it. The streaming state is undefined until the next `reset`.

        Raises:
            MwwError: Not every frame was inferred.
        """
        return None

    def tensors(self, model: Model, progress: Progress = no_progress) -> TensorSource | None:
        """The inner tensors of `model`, for `mww bisect`; None where this target cannot give them.

        The target runs nothing else until the source is closed.
        """
        return None
