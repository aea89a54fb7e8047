"""The child's side: holds one interpreter, answers one request at a time, and ends with its parent."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from harness.engines.interpreters import Interpreter, interpreter_factory
from harness.engines.protocol import (
    ANSWER,
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

ADDRESS_SPACE = 1024**3  # bytes; with a model that suits a chip an engine has an eighth of it
_LOG_SIZE = 16 * 1024**2


class Worker:
    """One engine behind one socket and one piece of shared memory."""

    def __init__(self, engine: str, channel: socket.socket, memory: mmap.mmap) -> None:
        self._make: Callable[[bytes], Interpreter] | None = None
        self._engine, self._channel, self._memory = engine, channel, memory
        self._content = b""
        self._interpreter: Interpreter | None = None
        self._inferences = 0

    def serve(self) -> None:
        """Answer until the parent closes its end; the engine is imported before it asks for anything."""
        with suppress(Exception):  # what is wrong is reported when a model is to be loaded, which tries again
            self._make = interpreter_factory(self._engine)
        while request := self._channel.recv(REQUEST.size, socket.MSG_WAITALL):
            operation, number = REQUEST.unpack(request)
            try:
                answer = (Status.DONE, *self._carry_out(operation, number))
            except Exception as error:  # noqa: BLE001 -- the process's edge: whatever a package raises is an answer
                text = f"{type(error).__name__}: {error}".encode(errors="replace")[:INPUT_SIZE]
                self._memory[INPUT_OFFSET : INPUT_OFFSET + len(text)] = text
                answer = (Status.FAILED, len(text), 0)
            self._channel.sendall(ANSWER.pack(*answer))

    def _carry_out(self, operation: int, number: int) -> tuple[int, int]:
        if operation == Operation.INFER:
            return self._infer(number), 0
        if operation == Operation.LOAD:
            self._content = self._memory[INPUT_OFFSET : INPUT_OFFSET + number]
        if self._make is None:
            self._make = interpreter_factory(self._engine)
        self._interpreter, self._inferences = None, 0
        interpreter = self._interpreter = self._make(self._content)
        frame = _bytes(interpreter.frame_shape, interpreter.frame_type)
        output = _bytes(interpreter.output_shape, interpreter.output_type)
        if not (0 < frame <= INPUT_SIZE and 0 < output <= OUTPUT_SIZE):
            self._interpreter = None
            raise ValueError(f"frames of {frame} bytes and outputs of {output}")
        return frame, output

    def _infer(self, number: int) -> int:
        interpreter = self._interpreter
        if interpreter is None:
            raise RuntimeError("no model is loaded")
        memory, infer, finished = self._memory, interpreter.infer, PROGRESS.pack_into
        frames: npt.NDArray[np.generic]
        outputs: npt.NDArray[np.generic]
        frames = np.ndarray((number, *interpreter.frame_shape), interpreter.frame_type, memory, INPUT_OFFSET)
        outputs = np.ndarray((number, *interpreter.output_shape), interpreter.output_type, memory, OUTPUT_OFFSET)
        for index in range(number):
            outputs[index] = infer(frames[index])
            finished(memory, 0, index + 1)
        self._inferences += number
        return self._inferences


def _bytes(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    return math.prod(map(int, shape)) * dtype.itemsize


def main(words: list[str]) -> None:
    """Serve an engine; `words` are its name and the file descriptors of a socket and of the shared memory."""
    engine, channel, memory = words[0], int(words[1]), int(words[2])
    end_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LOG_SIZE, _LOG_SIZE))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    with socket.socket(fileno=channel) as connection, mmap.mmap(memory, MEMORY_SIZE) as shared:
        os.close(memory)
        Worker(engine, connection, shared).serve()


def end_with_parent() -> None:
    """Have the kernel end this process when its parent does, even in the middle of native code.

    The parent holds the other end of stdin and never writes. When that end closes, however the parent ended, SIGIO
    comes, and its default action is to terminate. (PR_SET_PDEATHSIG fires when the *thread* that started us ends.)
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(sys.stdin, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sys.stdin, fcntl.F_SETFL, fcntl.fcntl(sys.stdin, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([sys.stdin], [], [], 0)[0]:
        sys.exit("the parent has ended")
