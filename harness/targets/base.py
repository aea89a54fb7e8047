"""The protocol that the emulator, the virtual board, QEMU and a real board all follow, and the data it speaks in."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from mww.esphome.detection import DeviceDetection
from mww.esphome.model import Model

if TYPE_CHECKING:
    from typing_extensions import Self

TargetKind = Literal["emulator", "virtual", "device", "qemu"]
"""What a target is, as results name it."""


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What a target says of itself.

    Attributes:
        kind: The sort of place.
        chip: As `mww.esphome.chips` spells it; for the emulator the chip whose arena is predicted.
        engine: What computes: `tflm`, `tflite-runtime`, `litert`, or the firmware's own name for its interpreter.
        versions: Names and versions of all that could change an output: runtime, kernels, firmware, ESPHome.
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
        detections: What the target's own rule found, at the loaded model's cutoff and window; None where it has none.
    """

    outputs: npt.NDArray[np.uint8]
    microseconds: npt.NDArray[np.uint32] | None
    detections: tuple[DeviceDetection, ...] | None = None


class Target(Protocol):
    """A place a model can run. Use it as a context manager; `load` before `infer`, as often as wanted."""

    def info(self) -> TargetInfo:
        """What this target is."""
        ...

    def load(self, model: Model) -> ArenaUse:
        """Make `model` the one that `infer` runs, from its initial state.

        Raises:
            MwwError: The target cannot take the model, or failed.
        """
        ...

    def reset(self) -> None:
        """Put the streaming state back to the model's initial one."""
        ...

    def infer(self, frames: npt.NDArray[np.int8]) -> Inference:
        """Run frames `[n, stride, 40]`, each advancing the streaming state, in order.

        Raises:
            MwwError: Not every frame was inferred; its `inference` counts from the last `reset` or `load`. The state
                is undefined until the next one.
        """
        ...

    def inferences(self) -> int | None:
        """How many inferences the target itself has counted since the last `reset` or `load`; None if it does not."""
        ...

    def close(self) -> None:
        """Let go of processes and ports; harmless a second time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
