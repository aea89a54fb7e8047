"""Any tensor of a model as its output, frame by frame: on the golden engine, in another interpreter, on a board."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from exporter.flatbuffer import Buffer
from harness.boards.leases import hold_port
from harness.engines.catalog import DEFAULT_ENGINE
from harness.engines.process import EngineProcess
from harness.errors import LinkError
from harness.link.client import LinkClient
from harness.link.messages import FLAG_VIRTUAL
from harness.link.model_table import ModelRecord
from harness.link.ports import DEFAULT_BAUD
from harness.model import Model
from harness.targets.registry import EMULATOR, TargetOptions
from harness.targets.virtual import DEFAULT_CHIP
from harness.virtual.process import VirtualBoard

if TYPE_CHECKING:
    from typing_extensions import Self

_SLOT: Final = 0
_SUBGRAPHS: Final = 2
_OUTPUTS: Final = 2


class TensorSource(Protocol):
    """Where a model runs whose inner tensors can be read. A context manager; `load` before all else."""

    def versions(self) -> dict[str, str]:
        """What it is, and the versions of all that computes."""
        ...

    def load(self, content: bytes) -> None:
        """Open a `.tflite` with any output, in its initial state.

        Raises:
            MwwError: It is refused.
        """
        ...

    def reset(self) -> None:
        """Put the streaming state back to the initial one."""
        ...

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """The first byte of the output after each of `frames` `[n, stride, 40]`."""
        ...

    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[bytes]:
        """Yield the whole output after each frame."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def with_output(content: bytes, tensor: int) -> bytes:
    """A copy of a model whose only output is a tensor of its main subgraph.

    The new list of outputs goes to the end of the file: the old one may be shared with an operator's.
    """
    main = next(Buffer(content).root().tables(_SUBGRAPHS))
    field = main.position(_OUTPUTS)
    padded = bytearray(content) + b"\0" * (-len(content) % 4)
    struct.pack_into("<I", padded, field, len(padded) - field)
    return bytes(padded) + struct.pack("<Ii", 1, tensor)


class _Closing(ABC):
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


class EngineTensors(_Closing):
    """An interpreter on this machine."""

    def __init__(self, engine: str) -> None:
        self._engine = EngineProcess(engine)

    def versions(self) -> dict[str, str]:
        """See `TensorSource`."""
        return {"kind": EMULATOR, "engine": self._engine.engine, self._engine.engine: self._engine.version}

    def load(self, content: bytes) -> None:
        """See `TensorSource`."""
        self._engine.load(content)

    def reset(self) -> None:
        """See `TensorSource`."""
        self._engine.reset()

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """See `TensorSource`."""
        return np.frombuffer(self._engine.infer(frames.tobytes()), np.uint8)[:: self._engine.output_size]

    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[bytes]:
        """See `TensorSource`; all frames run at once."""
        size = self._engine.output_size
        found = self._engine.infer(frames.tobytes())
        return (found[at : at + size] for at in range(0, len(found), size))

    def close(self) -> None:
        """See `TensorSource`."""
        self._engine.close()


class BoardTensors(_Closing):
    """A board; each changed model goes to it over the link, and the unchanged one last."""

    def __init__(self, url: str, options: TargetOptions, model: Model) -> None:
        """Greet the board.

        Raises:
            LinkError: There is none.
            BoardBusyError: Somebody else uses it.
        """
        self._model = model
        with ExitStack() as stack:
            stack.enter_context(hold_port(url, purpose="mww bisect"))
            self._client = stack.enter_context(LinkClient.connect(url, baud=options.baud or DEFAULT_BAUD))
            self._open = stack.pop_all()

    def versions(self) -> dict[str, str]:
        """See `TensorSource`."""
        board = self._client.board
        kind = "virtual" if board.flags & FLAG_VIRTUAL else "device"
        told = {
            "kind": kind,
            "chip": board.chip,
            "engine": board.engine,
            "firmware": board.firmware,
            "esphome": board.esphome,
            "esp-idf": board.idf,
            "runtime": board.runtime,
            "esp-nn": board.kernels,
        }
        return {name: version for name, version in told.items() if version}

    def load(self, content: bytes) -> None:
        """See `TensorSource`; without the manifest's arena size, since an inner output may need more."""
        self._client.upload(_SLOT, ModelRecord(content, 0))
        self._client.open_model(_SLOT, any_output=True)

    def reset(self) -> None:
        """See `TensorSource`."""
        self._client.reset(_SLOT)

    def outputs(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """See `TensorSource`; all frames are streamed at once."""
        return self._client.infer(frames, _SLOT).outputs

    def tensors(self, frames: npt.NDArray[np.int8]) -> Iterator[bytes]:
        """See `TensorSource`; a frame is run when its tensor is asked for."""
        for frame in frames:
            self._client.infer(frame[np.newaxis], _SLOT)
            yield self._client.read_output(_SLOT)

    def close(self) -> None:
        """Leave the board with the model that it is asked about, and let go of it."""
        with self._open, suppress(LinkError):  # a board that is gone keeps what it has
            self._client.upload(_SLOT, ModelRecord(self._model.content, self._model.tensor_arena_size or 0))


@contextmanager
def open_source(target: str, options: TargetOptions, model: Model) -> Iterator[TensorSource]:
    """Open what `mww bisect --target` names; a virtual board is started, and removed.

    Raises:
        UsageError: There is no such target.
        MwwError: It cannot be opened.
    """
    with ExitStack() as stack:
        if target == EMULATOR:
            source: TensorSource = EngineTensors(options.engine or DEFAULT_ENGINE)
        else:
            if target == "virtual":
                target = stack.enter_context(VirtualBoard(options.chip or DEFAULT_CHIP, baud=options.baud)).port
            source = BoardTensors(target, options, model)
        yield stack.enter_context(source)
