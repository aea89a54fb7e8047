"""The parent's side of an engine: starts its process, sends it batches, watches it, and restarts it when it died.

The parent never loads an interpreter. Any failure of an interpreter (crash, abort, endless loop, too much memory) is an
`EngineError` here, after which `reset` or `load` works again; a model that has done it twice is not tried again.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import util
from typing import BinaryIO, Final

from harness.engines.catalog import engine_spec, installed_version
from harness.engines.protocol import (
    ANSWER,
    BATCH,
    INPUT_OFFSET,
    INPUT_SIZE,
    MEMORY_SIZE,
    OUTPUT_OFFSET,
    OUTPUT_SIZE,
    PROGRESS,
    REQUEST,
    Operation,
    Status,
)
from mww.core.children import start_child
from mww.core.closing import Closing
from mww.core.errors import EngineError

START_DEADLINE: Final = 60.0
"""Seconds for starting Python, importing the engine and preparing a model."""
FRAME_DEADLINE: Final = 10.0
"""Seconds without a finished inference after which an engine counts as hung."""
RENEWAL: Final = 4000
"""Interpreters that a process makes before it is replaced; tflite-micro leaks 1.4 kB with each, and a new process takes
a second.
"""

ATTEMPTS: Final = 2
"""Processes that a model may crash: each may take a whole deadline, and there may be many clips."""

_LOG_TAIL: Final = 2000
_LONGEST: Final = 500


@dataclass(slots=True)
class _Child:
    """A running process and the connection to it; `made` counts its interpreters."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    memory: mmap.mmap
    log: BinaryIO
    made: int = 0

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.channel.close()
        self.memory.close()
        self.log.close()


class EngineProcess(Closing):
    """An interpreter in a separate process, for one thread at a time.

    Frames and outputs are plain bytes: a frame is the model's input tensor, an output its output tensors, one after the
    other.

    Attributes:
        version: The installed version of the engine's package.
        frame_size: Bytes of a frame of the loaded model.
        output_size: Bytes of its output.
        inferences: What the child has counted since `load` or `reset`.
    """

    def __init__(self, engine: str, *, deadline: float = FRAME_DEADLINE) -> None:
        """Start the process; it imports the engine while the caller continues.

        Raises:
            UsageError: The engine is unknown.
            MissingPackageError: Its package is not installed.
        """
        self.version = installed_version(engine_spec(engine))
        self.engine = engine
        self.frame_size = self.output_size = self.inferences = 0
        self._deadline = deadline
        self._content = b""
        self._lost: list[EngineError] = []
        self._child: _Child | None = self._start()

    @property
    def pid(self) -> int | None:
        """The child's process id; None without a child."""
        return self._child.process.pid if self._child else None

    def load(self, content: bytes) -> None:
        """Make an interpreter of a `.tflite` file's bytes.

        Raises:
            EngineError: The engine refuses the model, crashes on it, or does not answer in time.
        """
        if len(content) > INPUT_SIZE:
            raise EngineError(f"a model of {len(content)} bytes", hint=f"the limit is {INPUT_SIZE} bytes")
        self._content = content
        self._lost.clear()
        self._load()

    def reset(self) -> None:
        """Restore the model's initial state, in a new process if the last process died.

        Raises:
            EngineError: As for `load`; or the model has used its `ATTEMPTS`, and is not tried again until it is loaded.
        """
        if len(self._lost) >= ATTEMPTS:
            last = self._lost[-1]
            raise EngineError(f"{last}, {ATTEMPTS} times: no further attempt is made", hint=last.hint)
        if self._child is None or self._child.made >= RENEWAL:
            self._load()
        else:
            self._prepare(Operation.RESET, 0)

    def infer(self, frames: bytes) -> bytes:
        """Run any number of frames, one after the other, and return their outputs, one after the other.

        Raises:
            EngineError: Names the first inference, counted from `load` or `reset`, without an output.
        """
        child, size = self._child, self.frame_size
        if child is None or not size or len(frames) % size:
            raise EngineError(f"{len(frames)} bytes of frames for a model that takes {size}", hint="load a model first")
        step = min(BATCH, INPUT_SIZE // size, OUTPUT_SIZE // self.output_size) * size
        outputs = []
        for start in range(0, len(frames), step):
            block = frames[start : start + step]
            number = len(block) // size
            child.memory[INPUT_OFFSET : INPUT_OFFSET + len(block)] = block
            self.inferences = self._ask(Operation.INFER, number, self._deadline)[0]
            outputs.append(child.memory[OUTPUT_OFFSET : OUTPUT_OFFSET + number * self.output_size])
        return outputs[0] if len(outputs) == 1 else b"".join(outputs)

    def infer_clips(self, clips: Sequence[bytes]) -> list[bytes]:
        """Run the frames of clips, each from the initial state; the state afterwards is the initial one.

        Raises:
            EngineError: As for `reset` and `infer`.
        """
        outputs = []
        for frames in clips:
            self.reset()
            outputs.append(self.infer(frames))
        self.reset()
        return outputs

    def close(self) -> None:
        """Within `started_ahead`, leave the process to the next `EngineProcess` of this engine; elsewhere end it."""
        waiting = _AHEAD.get(self.engine)
        if waiting is not None and self._child is not None:
            waiting.append(self._child)
            self._child = None
        self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _start(self) -> _Child:
        try:
            return _waiting_child(self.engine) or _start_child(self.engine)
        except OSError as error:
            raise EngineError(
                f"cannot start a process for engine {self.engine}: {error.strerror}",
                hint="check memory and the number of processes; ulimit -a shows the limits",
            ) from error

    def _load(self) -> None:
        if self._child is not None and self._child.made >= RENEWAL:
            self._end()
        child = self._child = self._child or self._start()
        child.memory[INPUT_OFFSET : INPUT_OFFSET + len(self._content)] = self._content
        self._prepare(Operation.LOAD, len(self._content))

    def _prepare(self, operation: Operation, number: int) -> None:
        assert self._child is not None
        self._child.made += 1
        self.inferences = self.frame_size = self.output_size = 0
        self.frame_size, self.output_size = self._ask(operation, number, START_DEADLINE)

    def _ask(self, operation: Operation, number: int, deadline: float) -> tuple[int, int]:
        child = self._child
        assert child is not None
        try:
            PROGRESS.pack_into(child.memory, 0, 0)
            child.channel.sendall(REQUEST.pack(operation, number))
            answer = self._receive(child, deadline)
        except (ConnectionError, TimeoutError) as error:
            raise self._failed(isinstance(error, TimeoutError), deadline) from error
        except BaseException:
            # Interrupted: the late answer would be taken as the answer to the next request.
            self._end()
            raise
        status, first, second = ANSWER.unpack(answer)
        if status == Status.FAILED:
            message = child.memory[INPUT_OFFSET : INPUT_OFFSET + first].decode(errors="replace")
            raise self._refused(child, operation, message)
        return first, second

    def _receive(self, child: _Child, deadline: float) -> bytes:
        """Wait for the answer while inferences finish."""
        if child.channel.gettimeout() != deadline:  # a system call, expensive if made for every frame
            child.channel.settimeout(deadline)
        finished = 0
        while True:
            try:
                answer = child.channel.recv(ANSWER.size, socket.MSG_WAITALL)
            except TimeoutError:
                (now,) = PROGRESS.unpack_from(child.memory)
                if now <= finished:
                    raise
                finished = now
                continue
            if len(answer) < ANSWER.size:
                raise ConnectionResetError
            return answer

    def _failed(self, hung: bool, deadline: float) -> EngineError:
        """End the child if it still runs, and make the error that says how it ended."""
        child = self._child
        assert child is not None
        (finished,) = PROGRESS.unpack_from(child.memory)
        status = None if hung else _exit_status(child.process)
        detail = _last_words(child.log)
        self._end()
        how = f"did not answer within {deadline:g} s" if status is None else _describe_exit(status)
        inference = self.inferences + finished if self.frame_size else None
        hint = f"its last output: {detail}" if detail else "mww verify says what ESPHome's runtime would refuse"
        lost = EngineError(f"engine {self.engine} {how}", hint=hint, inference=inference)
        self._lost.append(lost)
        return lost

    def _refused(self, child: _Child, operation: Operation, message: str) -> EngineError:
        what = "failed on a frame" if operation == Operation.INFER else "does not take this model"
        detail = "; ".join(words for words in (_last_words(child.log), _one_line(message)) if words)
        hint = "mww verify says what ESPHome's runtime would refuse"
        inference = None
        if operation == Operation.INFER:
            inference = self.inferences + PROGRESS.unpack_from(child.memory)[0]
        return EngineError(f"engine {self.engine} {what}: {detail}", hint=hint, inference=inference)


_AHEAD: Final[dict[str, list[_Child]]] = {}
"""By engine: processes that are not used yet."""


@contextmanager
def started_ahead(engine: str, count: int = 1) -> Iterator[None]:
    """Start processes now, for the next `EngineProcess`es of this engine.

    Within the block, each also takes over a process that an earlier one has closed. Processes that wait at the end of
    the outermost block end with it. `EngineProcess` reports any error of the engine.
    """
    outermost = engine not in _AHEAD
    waiting = _AHEAD.setdefault(engine, [])
    try:
        spec = engine_spec(engine)
        if spec.version is None and util.find_spec(spec.module) is not None:
            with suppress(OSError):
                waiting += [_start_child(engine) for _ in range(count - len(waiting))]
        yield
    finally:
        if outermost:
            del _AHEAD[engine]
            while waiting:
                waiting.pop().close()


def _waiting_child(engine: str) -> _Child | None:
    """Take a process that waits; a process that has ended meanwhile is put away."""
    waiting = _AHEAD.get(engine, [])
    while waiting:
        child = waiting.pop()
        if child.process.poll() is None:
            return child
        child.close()
    return None


def _start_child(engine: str) -> _Child:
    with ExitStack() as undo:
        channel, other = map(undo.enter_context, socket.socketpair())
        log = undo.enter_context(tempfile.TemporaryFile())
        with other, _anonymous_file() as file:
            file.truncate(MEMORY_SIZE)
            memory = undo.enter_context(mmap.mmap(file.fileno(), MEMORY_SIZE))
            words = (engine, str(other.fileno()), str(file.fileno()))
            process = start_child(
                "harness.engines.worker",
                *words,
                stdout=log,
                stderr=log,
                pass_fds=(other.fileno(), file.fileno()),
                environment=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        undo.pop_all()
    return _Child(process, channel, memory, log)


def _anonymous_file() -> BinaryIO:
    """A file without a name, in memory where the system supports it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("mww-engine"), "w+b")
    return tempfile.TemporaryFile()


def _exit_status(process: subprocess.Popen[bytes]) -> int:
    """How a child that closed its socket ended; it is killed if it keeps running."""
    try:
        return process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _describe_exit(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"


def _last_words(log: BinaryIO) -> str:
    """The last output of the native code, in one line; it is shown once."""
    end = log.seek(0, os.SEEK_END)
    log.seek(max(0, end - _LOG_TAIL))
    text = log.read().decode(errors="replace")
    log.truncate(0)
    log.seek(0)
    return _one_line(text)


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())[-_LONGEST:]
