"""The firmware's C++ session on a partition in memory, with an engine whose outputs depend on every frame before."""

from __future__ import annotations

import ctypes as c
import queue
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import numpy.typing as npt

from harness.link.model_table import ModelRecord
from harness.virtual import host_abi as abi
from harness.virtual.engine import RefusedError
from harness.virtual.frontend import BoardFrontend
from harness.virtual.hostlib import host_library, load_library
from mww.core.errors import PortMissingError

PARTITION_SIZE = 256 * 1024
STRIDE = 3
MODEL = ModelRecord(b"model" + bytes([STRIDE]) + bytes(range(250)) * 40, 22_860)
TENSOR = bytes(range(256)) * 20


def expected_outputs(frames: npt.NDArray[np.int8], state: int = 0) -> npt.NDArray[np.uint8]:
    """What the engine below gives for these frames from its initial state."""
    outputs = []
    for frame in frames:
        state = zlib.crc32(frame.tobytes(), state)
        outputs.append(state & 0xFF)
    return np.array(outputs, np.uint8)


@dataclass
class ChainEngine:
    """An engine whose state is the CRC32 of all frames since the reset; the model's byte 5 is its stride."""

    inferences: int = 0
    fail_at: int | None = None
    delay: float = 0.0
    at: int | None = None
    then: Callable[[], object] = lambda: None
    loaded: dict[int, int] = field(default_factory=dict)
    states: dict[int, int] = field(default_factory=dict)
    profiled: bool = False

    def load(self, _: object, slot: int, data: object, size: int, arena: int, any_output: int, facts: object) -> int:
        content = c.string_at(data, size)  # type: ignore[arg-type]
        if not content.startswith(b"model"):
            return 9
        result = facts.contents  # type: ignore[attr-defined]
        result.stride, result.outputs, result.variables = content[5], 1, 6
        result.arena_used, result.arena_size = 1000, arena
        self.loaded[slot], self.states[slot] = content[5], 0
        return 0

    def unload(self, _: object, slot: int) -> None:
        del self.loaded[slot]

    def reset(self, _: object, slot: int) -> int:
        self.states[slot] = 0
        return 0

    def infer(self, _: object, slot: int, frames: object, n: int, profile: int, results: object) -> int:
        size = self.loaded[slot] * 40
        content = c.string_at(frames, n * size)  # type: ignore[arg-type]
        for index in range(n):
            if self.fail_at is not None and self.inferences == self.fail_at:
                return 15
            self.states[slot] = zlib.crc32(content[index * size : (index + 1) * size], self.states[slot])
            results[index].output = self.states[slot] & 0xFF  # type: ignore[index]
            results[index].microseconds = 6800 + index  # type: ignore[index]
            self.inferences += 1
            if self.inferences == self.at:
                self.then()
        if self.delay:
            time.sleep(self.delay * n)
        self.profiled = self.profiled or bool(profile)
        return 0

    def output(self, _: object, slot: int, index: int, size: object) -> int | None:
        self._tensor = c.create_string_buffer(TENSOR, len(TENSOR))
        size[0] = len(TENSOR)  # type: ignore[index]
        return c.addressof(self._tensor) if index == 0 else None

    def profile(self, _: object, slot: int, index: int, out: object) -> int:
        if not self.profiled or index >= 70:
            return 0
        out.contents.microseconds = index * 10  # type: ignore[attr-defined]
        out.contents.name = f"OP_{index}".encode()  # type: ignore[attr-defined]
        return 1


class HostBoard:
    """One boot of a board; `partition` may come from an earlier boot."""

    def __init__(
        self,
        transmit: Callable[[bytes], None],
        *,
        partition: bytearray | None = None,
        engine: ChainEngine | None = None,
        boot_id: int = 1,
        window: int = 4,
        max_payload: int = 1024,
        max_frames: int = 8,
        batch: int = 1,
        flash_fails_at: int | None = None,
        deaf: bool = False,
        microphone: bytes | None = None,
    ) -> None:
        self.engine = engine or ChainEngine()
        self.partition = partition if partition is not None else bytearray(b"\xff" * PARTITION_SIZE)
        self._flash = (c.c_uint8 * len(self.partition)).from_buffer(self.partition)
        self._writes_left = flash_fails_at
        self._library = load_library(host_library())
        self._config = abi.Config(
            identity=self._identity(boot_id),
            limits=abi.Limits(max_payload, max_frames, batch, 100, window, 4, 4096),
            engine=abi.EngineTable(
                None,
                abi.LOAD(self.engine.load),
                abi.UNLOAD(self.engine.unload),
                abi.RESET(self.engine.reset),
                abi.INFER(self.engine.infer),
                abi.OUTPUT(self.engine.output),
                abi.PROFILE(self.engine.profile),
            ),
            frontend=abi.FrontendTable() if deaf else self._frontend(),
            microphone=abi.MicrophoneTable() if microphone is None else self._microphone(microphone),
            partition=abi.Partition(
                None, c.addressof(self._flash), len(self.partition), abi.ERASE(self._erase), abi.WRITE(self._write)
            ),
            platform=abi.Platform(
                None,
                abi.TRANSMIT(lambda _, data, size: transmit(c.string_at(data, size))),
                abi.MEMORY(),
            ),
        )
        self._session = self._library.mww_session_create(c.byref(self._config))
        assert self._session
        self._left = b""

    def step(self, data: bytes, now_ms: int) -> None:
        """Take bytes and work until only new ones bring more."""
        self._left += data
        busy = True
        while busy or self._left:
            taken = self._library.mww_session_feed(self._session, self._left, len(self._left))
            self._left = self._left[taken:]
            busy = bool(self._library.mww_session_poll(self._session, now_ms & 0xFFFFFFFF))

    def log(self, text: str) -> None:
        self._library.mww_session_log(self._session, 3, text.encode())

    def close(self) -> None:
        self._library.mww_session_destroy(self._session)

    @staticmethod
    def _identity(boot_id: int) -> abi.Identity:
        words = (b"esp32s3", b"0.2", b"test", b"0.1", b"chain", b"2026.6.5", b"", b"1.3.3~1", b"", b"power-on")
        return abi.Identity(boot_id, 240, 1, (c.c_uint8 * 6)(1, 2, 3, 4, 5, 6), *words)

    @staticmethod
    def _frontend() -> abi.FrontendTable:
        frontend = BoardFrontend()

        def start(_: object, step_ms: int) -> int:
            try:
                frontend.start(step_ms)
            except RefusedError as error:
                return error.code
            return 0

        def process(_: object, samples: object, size: int, features: object, made: object) -> int:
            taken, result = frontend.process(c.string_at(samples, 2 * size))  # type: ignore[arg-type]
            made[0] = result is not None  # type: ignore[index]
            if result is not None:
                c.memmove(features, result.tobytes(), result.nbytes)  # type: ignore[arg-type]
            return taken

        stop = abi.STOP(lambda _: frontend.stop())
        return abi.FrontendTable(None, abi.START(start), stop, abi.PROCESS(process))

    @staticmethod
    def _microphone(sound: bytes) -> abi.MicrophoneTable:
        """All of the sound at once, then nothing."""
        left = bytearray(sound)

        def read(_: object, samples: object, size: int) -> int:
            taken = bytes(left[: 2 * size])
            del left[: 2 * size]
            c.memmove(samples, taken, len(taken))  # type: ignore[arg-type]
            return len(taken) // 2

        return abi.MicrophoneTable(None, abi.OPEN(lambda _: 0), abi.CLOSE(lambda _: None), abi.READ(read))

    def _erase(self, _: object, offset: int, size: int) -> int:
        if not self._flash_works():
            return 0
        self._flash[offset : offset + size] = b"\xff" * size  # type: ignore[assignment]
        return 1

    def _write(self, _: object, offset: int, data: object, size: int) -> int:
        if not self._flash_works():
            return 0
        content = c.string_at(data, size)  # type: ignore[arg-type]
        assert all(byte == 0xFF for byte in self._flash[offset : offset + size]), "written without erasing"
        self._flash[offset : offset + size] = content  # type: ignore[assignment]
        return 1

    def _flash_works(self) -> bool:
        if self._writes_left is None:
            return True
        self._writes_left -= 1
        return self._writes_left >= 0


@dataclass
class Noise:
    """What goes wrong on the way, as shares of frames; the same for both directions."""

    seed: int = 0
    corrupt: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    log: float = 0.0
    log_inside: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def disturb(self, frame: bytes) -> bytes:
        """The frame as it arrives."""
        if self._hits(self.drop):
            return b""
        if self._hits(self.corrupt):
            at = self._random.randrange(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ (1 << self._random.randrange(8))]) + frame[at + 1 :]
        if self._hits(self.log_inside):
            at = self._random.randrange(len(frame))
            frame = frame[:at] + b"I (123) wifi: text\r\n" + frame[at:]
        if self._hits(self.log):
            frame = b"I (456) heap: between\r\n" + frame
        return frame + frame if self._hits(self.duplicate) else frame

    def _hits(self, share: float) -> bool:
        return share > 0 and self._random.random() < share


def frames_of(data: bytes) -> Iterator[bytes]:
    """The frames that one write of the host consists of."""
    for part in data.split(b"\0"):
        if part:
            yield b"\0" + part + b"\0"


class BoardPort:
    """A `Port` with a `HostBoard` at its other end, in a thread, behind a noisy line."""

    def __init__(self, *, noise: Noise | None = None, **options: object) -> None:
        self.noise = noise or Noise()
        self._options = options
        self._to_host: queue.Queue[bytes] = queue.Queue()
        self._to_board: queue.Queue[bytes | None] = queue.Queue()
        self._boot_ids = count(1)
        self.dead = threading.Event()
        self.reboots = 0
        self.board = self._boot()
        self._thread = threading.Thread(target=self._run, name="host-board", daemon=True)
        self._thread.start()

    def read(self) -> bytes:
        try:
            data = self._to_host.get(timeout=0.02)
        except queue.Empty:
            return b""
        while not self._to_host.empty():
            data += self._to_host.get()
        return data

    def write(self, data: bytes) -> None:
        if not self._thread.is_alive():
            raise PortMissingError("the port went away", hint="plug it in")
        self._to_board.put(b"".join(map(self.noise.disturb, frames_of(data))))

    def reset_chip(self) -> bool:
        return False

    def close(self) -> None:
        """The board stays; `end` ends it."""

    def reboot(self) -> None:
        """The next bytes find a fresh boot with the same flash."""
        self.reboots += 1

    def end(self) -> None:
        self._to_board.put(None)
        self._thread.join(5)
        self.board.close()

    def _boot(self) -> HostBoard:
        partition = getattr(getattr(self, "board", None), "partition", None)
        options = {"partition": partition, **self._options} if partition is not None else self._options
        return HostBoard(self._transmit, boot_id=next(self._boot_ids), **options)  # type: ignore[arg-type]

    def _transmit(self, frame: bytes) -> None:
        self._to_host.put(self.noise.disturb(frame))

    def _run(self) -> None:
        started = time.monotonic()
        rebooted = 0
        while True:
            try:
                data = self._to_board.get(timeout=0.02)
            except queue.Empty:
                data = b""
            if data is None:
                return
            if self.dead.is_set():
                continue
            if self.reboots > rebooted:
                rebooted = self.reboots
                self.board.close()
                self.board = self._boot()
            self.board.step(data, int((time.monotonic() - started) * 1000))
