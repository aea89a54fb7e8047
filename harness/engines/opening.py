"""Opens an engine by its name: native interpreters in a worker process, the exact engine in this process."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from harness.engines.catalog import EXACT_ENGINE, default_engine
from harness.engines.process import FRAME_DEADLINE, EngineProcess
from mww.core.errors import MwwError

if TYPE_CHECKING:
    from typing_extensions import Self


class Engine(Protocol):
    """An interpreter, for one thread at a time. Frames and outputs are plain bytes.

    Attributes:
        engine: Its name.
        version: Version of the package that computes.
        frame_size: Bytes of a frame of the loaded model.
        output_size: Bytes of its output.
        inferences: Number of inferences since `load` or `reset`.
    """

    engine: str
    version: str
    frame_size: int
    output_size: int
    inferences: int

    def load(self, content: bytes) -> None:
        """Load a `.tflite` file's bytes, in the initial state.

        Raises:
            EngineError: The model is refused, or the engine failed.
        """
        ...

    def reset(self) -> None:
        """Restore the initial state."""
        ...

    def infer(self, frames: bytes) -> bytes:
        """Run whole frames, each advancing the state, and return their outputs.

        Raises:
            EngineError: Names the first inference, counted from `load` or `reset`, without an output.
        """
        ...

    def infer_clips(self, clips: Sequence[bytes]) -> list[bytes]:
        """Run the frames of clips, each from the initial state; the state afterwards is the initial one.

        Raises:
            EngineError: As for `infer`.
        """
        ...

    def close(self) -> None:
        """End the processes; harmless a second time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_engine(name: str | None = None, *, deadline: float = FRAME_DEADLINE) -> Engine:
    """Open an engine; None means the default of this machine.

    Raises:
        UsageError: No engine has that name.
        MissingPackageError: Its package is not installed.
    """
    name = name or default_engine()
    if name != EXACT_ENGINE:
        return EngineProcess(name, deadline=deadline)
    from harness.engines.exact.checked import ExactEngine

    return ExactEngine()


def golden_engine(content: bytes) -> str:
    """The name of the engine that makes a model's golden outputs: `exact`, or `tflm` for a model that `exact` refuses.

    Where neither runs it, the name of the engine that reports why when it is opened.
    """
    from harness.engines.exact.engine import prepared

    try:
        prepared(content)
    except MwwError:
        return default_engine()
    return EXACT_ENGINE
