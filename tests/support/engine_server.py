"""The other end of the host firmware's engine socket: an engine for each connection."""

import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol

from harness.link import messages as wire
from harness.virtual.engine import RefusedError, TflmEngine
from harness.virtual.frontend import BoardFrontend
from tests.support import host_board

_REQUEST = struct.Struct("<BI")
_ANSWER = struct.Struct("<HI")
_INFERENCE = struct.Struct("<IB")


class Request(IntEnum):
    """`SocketEngine::Request`."""

    LOAD = 0
    RESET = 1
    INFER = 2
    OUTPUT = 3
    PROFILE = 4
    START = 5
    PROCESS = 6


class Refusal(Exception):
    """An error code of the link."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class SocketEngine(Protocol):
    """An interpreter with at most one model."""

    def load(self, content: bytes, manifest_arena: int, any_output: bool) -> wire.Model: ...

    def reset(self) -> None: ...

    def infer(self, frames: bytes, profile: bool) -> list[tuple[int, int]]:
        """Microseconds and output of each frame."""
        ...

    def output(self, index: int) -> bytes: ...

    def profile(self) -> list[wire.OpTime]: ...

    def close(self) -> None: ...


class ChainEngine:
    """`host_board.ChainEngine` behind the socket: the state is the CRC32 of all frames since the reset."""

    def __init__(self, shared: host_board.ChainEngine) -> None:
        self._shared = shared

    def load(self, content: bytes, manifest_arena: int, any_output: bool) -> wire.Model:
        if not content.startswith(b"model"):
            raise Refusal(9)
        self._size, self._state = content[5] * 40, 0
        return wire.Model(0, 0, 0, 0, bytes(32), content[5], 1, 6, -128, 0, 0.1, 1 / 256, 1000, manifest_arena, 240)

    def reset(self) -> None:
        self._state = 0

    def infer(self, frames: bytes, profile: bool) -> list[tuple[int, int]]:
        if self._shared.inferences == self._shared.fail_at:
            raise Refusal(15)
        assert len(frames) == self._size, "more than one inference at a time"
        self._state = zlib.crc32(frames, self._state)
        self._shared.inferences += 1
        time.sleep(self._shared.delay)
        return [(6800, self._state & 0xFF)]

    def output(self, index: int) -> bytes:
        if index > 0:
            raise Refusal(20)
        return host_board.TENSOR

    def profile(self) -> list[wire.OpTime]:
        return [wire.OpTime(index * 10, f"OP_{index}".encode().ljust(24, b"\0")) for index in range(70)]

    def close(self) -> None:
        """It holds nothing."""


class EngineServer:
    """Serves engines on a Unix socket until it is left."""

    def __init__(self, path: Path, engine: Callable[[], SocketEngine], frontend: str | None = None) -> None:
        self.path = path
        self._engine = engine
        self._frontend = BoardFrontend(frontend)  # a new connection does not reset it
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, name="engine-server", daemon=True).start()

    def __enter__(self) -> "EngineServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # left
                return
            threading.Thread(target=self._serve, args=(connection,), name="engine", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        engine = None
        with connection, suppress(ConnectionError):  # the firmware was ended in the middle
            while header := connection.recv(_REQUEST.size, socket.MSG_WAITALL):
                what, size = _REQUEST.unpack(header)
                payload = connection.recv(size, socket.MSG_WAITALL) if size else b""
                try:
                    if what >= Request.START:
                        code, answer = 0, _hear(self._frontend, Request(what), payload)
                    else:
                        engine = engine or self._engine()
                        code, answer = 0, _carry_out(engine, Request(what), payload)
                except Refusal as refusal:
                    code, answer = refusal.code, b""
                connection.sendall(_ANSWER.pack(code, len(answer)) + answer)
        if engine is not None:
            engine.close()


def _hear(frontend: BoardFrontend, what: Request, payload: bytes) -> bytes:
    if what is Request.START:
        with _refusals():
            frontend.start(payload[0])
        return b""
    taken, features = frontend.process(payload)
    return struct.pack("<H", taken) + (b"" if features is None else features.astype("<u2").tobytes())


def _carry_out(engine: SocketEngine, what: Request, payload: bytes) -> bytes:
    match what:
        case Request.LOAD:
            (arena,) = struct.unpack_from("<I", payload)
            return engine.load(payload[5:], arena, bool(payload[4])).encode()
        case Request.RESET:
            engine.reset()
            return b""
        case Request.INFER:
            return b"".join(_INFERENCE.pack(*row) for row in engine.infer(payload[1:], bool(payload[0])))
        case Request.OUTPUT:
            return engine.output(payload[0])
        case Request.PROFILE:
            return b"".join(time.encode() for time in engine.profile())
        case _:
            raise AssertionError(what)


class TflmWorker:
    """TFLM in the worker process that the emulator runs, with the arena that is predicted for an ESP32-S3.

    `alter` changes the model that it interprets.
    """

    def __init__(self, alter: Callable[[bytes], bytes] = bytes) -> None:
        self._engine = TflmEngine("esp32s3", alter)

    def load(self, content: bytes, manifest_arena: int, any_output: bool) -> wire.Model:
        with _refusals():
            facts = self._engine.load(0, content, manifest_arena, any_output=any_output)
        self._size = facts.stride * 40
        return wire.Model(
            model=0,
            state=wire.OPEN,
            size=len(content),
            manifest_arena=manifest_arena,
            sha256=bytes(32),
            stride=facts.stride,
            outputs=facts.outputs,
            variables=facts.variables,
            input_zero_point=facts.input_zero_point,
            output_zero_point=facts.output_zero_point,
            input_scale=facts.input_scale,
            output_scale=facts.output_scale,
            arena_used=facts.arena_used,
            arena_size=facts.arena_size,
            variable_arena_used=0,
        )

    def reset(self) -> None:
        with _refusals():
            self._engine.reset(0)

    def infer(self, frames: bytes, profile: bool) -> list[tuple[int, int]]:
        with _refusals():
            return [(0, output) for output in self._engine.infer(0, frames, len(frames) // self._size)]

    def output(self, index: int) -> bytes:
        return self._engine.output(0, index)

    def profile(self) -> list[wire.OpTime]:
        return []

    def close(self) -> None:
        self._engine.close()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise Refusal(error.code) from error
