"""The tensors inside a model, frame by frame: what a place must offer for that, and an interpreter that does."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from harness.engines.opening import open_engine
from harness.targets.registry import EMULATOR
from mww.tflite.flatbuffer import Buffer
from mww.tflite.model_file import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

"""Takes what is done, how much of it, and of how much."""

MAX_EXPOSED: Final = 255
"""Tensors that a copy can have as outputs: ReadOutput counts them in a byte."""
MAX_EXPOSED_BYTES: Final = 256 * 1024
"""And their bytes; more than any board has room for beside the rest."""

_SUBGRAPHS: Final = 2
_OUTPUTS: Final = 2


class TensorSource(Protocol):
    """Where a model runs whose inner tensors can be read. A context manager; `load` before all else."""

    def versions(self) -> dict[str, str]:
        """What it is, and the versions of all that computes."""
        ...

    def remarks(self) -> tuple[str, ...]:
        """What was noticed beside outputs and tensors, such as an arena of another size than predicted."""
        ...

    def load(self, content: bytes, exposed: Sequence[Tensor] = ()) -> None:
        """Open a `.tflite` in its initial state: as it is, for `outputs`; or to read `exposed` tensors of it.

        Raises:
            MwwError: It is refused, such as for want of memory where many tensors must live to the end.
        """
        ...

    def reset(self) -> None:
        """Put the streaming state back to the initial one."""
        ...

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """The output after each of `frames` `[n, stride, 40]`."""
        ...

    def skip(self, frames: npt.NDArray[np.int8]) -> None:
        """Run frames whose tensors nobody wants."""
        ...

    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[Sequence[bytes]]:
        """Yield the exposed tensors after each frame."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def with_outputs(content: bytes, tensors: Sequence[int]) -> bytes:
    """A copy of a model whose outputs are tensors of its main subgraph; nothing else is changed.

    The new list of outputs goes to the end of the file: the old one may be shared with an operator's.
    """
    main = next(Buffer(content).root().tables(_SUBGRAPHS))
    field = main.position(_OUTPUTS)
    padded = bytearray(content) + b"\0" * (-len(content) % 4)
    struct.pack_into("<I", padded, field, len(padded) - field)
    return bytes(padded) + struct.pack(f"<I{len(tensors)}i", len(tensors), *tensors)


def exposing(content: bytes, tensors: Sequence[Tensor]) -> bytes:
    """The model as it is, or where there are `tensors` to read, the copy with those as outputs."""
    return with_outputs(content, [tensor.index for tensor in tensors]) if tensors else content


class Closing(ABC):
    """Closes at the end of a `with`."""

    @abstractmethod
    def close(self) -> None:
        """Give back what was taken."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EngineTensors(Closing):
    """An interpreter on this machine."""

    def __init__(self, engine: str | None) -> None:
        self._engine = open_engine(engine)
        self._exposed: tuple[Tensor, ...] = ()

    def versions(self) -> dict[str, str]:
        """See `TensorSource`."""
        return {"kind": EMULATOR, "engine": self._engine.engine, self._engine.engine: self._engine.version}

    def remarks(self) -> tuple[str, ...]:
        """See `TensorSource`."""
        return ()

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
            found, at = self._engine.infer(frame.tobytes()), 0
            pieces = []
            for tensor in self._exposed:
                pieces.append(found[at : at + tensor.nbytes])
                at += tensor.nbytes
            yield pieces

    def close(self) -> None:
        """See `TensorSource`."""
        self._engine.close()
