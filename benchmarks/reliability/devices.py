"""Boards that lie: a relay before a virtual board alters what it says, in frames whose checksums are right.

A run must end by itself, with a result or one error; anything else is counted as lost.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from types import TracebackType
from urllib.parse import urlsplit

import numpy as np

from benchmarks.reliability.mutation import mutated
from benchmarks.reliability.processes import published
from harness.link.framing import Frame, FrameDecoder, encode_frame
from harness.targets.device import DeviceTarget
from harness.targets.registry import TargetOptions
from harness.virtual.process import VirtualBoard
from mww.core.errors import MwwError
from mww.esphome.model import Model, load_model

SECONDS = 120
"""After which a run is taken for hung; the longest wait that the link allows itself is 25 seconds."""

_BYTES_A_SECOND = 1e6
"""How fast a stranger talks: no slower than USB at full speed carries bytes."""

Lie = Callable[[Frame, random.Random], bytes]


def try_lies(name: str, count: int, seed: int) -> Iterator[str | None]:
    """Run a model `count` times on a board that lies in one way; yields what was lost, or None."""
    chance = random.Random(f"{name} {seed}")
    model = load_model(published() / "okay_nabu.json")
    frames = np.random.default_rng(0).integers(-128, 127, (60, model.stride, 40)).astype(np.int8)
    with VirtualBoard() as board:
        for _ in range(count):
            with Liar(board.port, LIES[name], chance) as port:
                yield _outcome(port, model, frames)


def try_preludes(count: int, seed: int) -> Iterator[str | None]:
    """Let a board send garbage before its first frame, at random length; the run must be as without."""
    chance = random.Random(f"prelude {seed}")
    model = load_model(published() / "okay_nabu.json")
    frames = np.zeros((60, model.stride, 40), np.int8)
    with VirtualBoard() as board:
        for _ in range(count):
            garbage = chance.randbytes(chance.choice((1, 7, 100, 5_000, 100_000)))
            with Liar(board.port, _honestly, chance, prelude=garbage) as port:
                try:
                    with closing(DeviceTarget(port, TargetOptions())) as target:
                        target.load(model)
                        target.infer(frames)
                    yield None
                except MwwError as error:
                    yield f"{len(garbage)} bytes: {error.message}"


def _honestly(frame: Frame, chance: random.Random) -> bytes:
    return _honest(frame)


def _outcome(port: str, model: Model, frames: np.ndarray) -> str | None:
    results: list[str | None] = ["it hangs"]

    def run() -> None:
        try:
            with closing(DeviceTarget(port, TargetOptions())) as target:
                target.load(model)
                for _ in range(2):
                    target.reset()
                    outputs = target.infer(frames).outputs
                    results[0] = None if len(outputs) == len(frames) else f"{len(outputs)} outputs"
        except MwwError:
            results[0] = None
        except Exception as error:  # noqa: BLE001 -- what is looked for
            import traceback

            place = traceback.extract_tb(error.__traceback__)[-1]
            results[0] = f"{type(error).__name__}: {error} ({place.filename.rsplit('/', 1)[-1]}:{place.lineno})"

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return "it hangs" if thread.is_alive() else results[0]


class Liar:
    """A relay on loopback for one connection; as a context it is the port."""

    def __init__(self, board: str, lie: Lie, chance: random.Random, *, prelude: bytes = b"") -> None:
        self._board, self._lie, self._chance, self._prelude = board, lie, chance, prelude
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> str:
        self._thread.start()
        return f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()
        self._thread.join()
        self._listener.close()
        self._ended.close()

    def _serve(self) -> None:
        while self._ended not in select.select([self._listener, self._ended], [], [])[0]:
            host, _ = self._listener.accept()
            address = urlsplit(self._board)
            with host, socket.create_connection((address.hostname, address.port)) as board:
                try:
                    host.sendall(self._prelude)
                    self._relay(host, board)
                except OSError:
                    continue

    def _relay(self, host: socket.socket, board: socket.socket) -> None:
        decoder = FrameDecoder()
        host.settimeout(1.0)
        while self._ended not in (readable := select.select([host, board, self._ended], [], [])[0]):
            if host in readable:
                data = host.recv(1 << 16)
                if not data:
                    return
                board.sendall(data)
            if board in readable:
                data = board.recv(1 << 16)
                if not data:
                    return
                frames = [item for item in decoder.feed(data) if isinstance(item, Frame)]
                host.sendall(b"".join(self._lie(frame, self._chance) for frame in frames))


def _honest(frame: Frame) -> bytes:
    return encode_frame(frame.type, frame.sequence, frame.payload)


def _payload(frame: Frame, chance: random.Random) -> bytes:
    if chance.random() < 0.7:
        return _honest(frame)
    return encode_frame(frame.type, frame.sequence, mutated(frame.payload, chance)[: 1 << 16])


def _welcome(frame: Frame, chance: random.Random) -> bytes:
    """Of the greeting every number may be absurd: window, buffer, payload."""
    if len(frame.payload) < 12 or chance.random() < 0.1:
        return _honest(frame)
    payload = bytearray(frame.payload)
    for _ in range(chance.randrange(1, 4)):
        size, code = chance.choice(((1, "<B"), (2, "<H"), (4, "<I")))
        value = chance.choice((0, 1, 2, (1 << (8 * size)) - 1, 1 << (8 * size - 1)))
        struct.pack_into(code, payload, chance.randrange(len(payload) - size + 1), value)
    return encode_frame(frame.type, frame.sequence, bytes(payload))


def _kind(frame: Frame, chance: random.Random) -> bytes:
    kind = frame.type if chance.random() < 0.7 else chance.randrange(256)
    sequence = frame.sequence if chance.random() < 0.8 else chance.randrange(1 << 16)
    return encode_frame(kind, sequence, frame.payload)


def _flood(frame: Frame, chance: random.Random) -> bytes:
    if chance.random() < 0.8:
        return _honest(frame)
    return encode_frame(chance.choice((frame.type, 0x83, 0xFE)), chance.randrange(1 << 16), bytes(64)) * 20_000


def _garbage(frame: Frame, chance: random.Random) -> bytes:
    return _honest(frame) if chance.random() < 0.7 else chance.randbytes(chance.choice((1, 300, 300_000)))


LIES: dict[str, Lie] = {
    "altered payloads": _payload,
    "absurd numbers": _welcome,
    "wrong types and sequence numbers": _kind,
    "floods of frames": _flood,
    "garbage": _garbage,
}


def try_strangers(name: str) -> str | None:
    """Meet something at a port that is not a board; the host must say so in one error, in time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()
        thread = threading.Thread(target=_talk, args=(listener, STRANGERS[name], stop))
        thread.start()
        started = time.monotonic()
        try:
            DeviceTarget(f"socket://127.0.0.1:{listener.getsockname()[1]}", TargetOptions()).close()
            return "it was taken for a board"
        except MwwError:
            seconds = time.monotonic() - started
            return None if seconds < SECONDS else f"the error came after {seconds:.0f} s"
        finally:
            stop.set()
            thread.join()


def _talk(listener: socket.socket, says: bytes, stop: threading.Event) -> None:
    connection, _ = listener.accept()
    connection.settimeout(0.2)
    with connection:
        while not stop.is_set():
            try:
                connection.sendall(says)
                stop.wait(len(says) / _BYTES_A_SECOND or 0.2)
            except TimeoutError:
                continue
            except OSError:
                return


STRANGERS: dict[str, bytes] = {
    "silence": b"",
    "another firmware's log, without end": b"[I][app:102]: hello\r\n" * 50,
    "another baud rate's noise, without end": bytes(range(1, 256)) * 40,
    "frames of another session, without end": encode_frame(0x83, 7, bytes(8)) * 100,
    "zeros without end": bytes(1 << 16),
}
