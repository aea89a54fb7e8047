"""The child process of an engine: it holds one interpreter, answers one request at a time, and ends with its parent.

Native interpreters are imported only here, because native code can crash on a damaged model.
"""

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

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
from mww.tflite.model_file import count_outputs

_ARENA_FLOOR: Final = 1024 * 1024
_ARENA_FACTOR: Final = 10  # times the model's size: tflite-micro's own rule, which is too little for tiny models


class Interpreter(Protocol):
    """An interpreter in its initial state; `frame` and `output` are the arrays of a single inference.

    For a model with several outputs, `output` holds the bytes of all, one after the other.
    """

    frame_shape: tuple[int, ...]
    frame_type: np.dtype[np.generic]
    output_shape: tuple[int, ...]
    output_type: np.dtype[np.generic]

    def infer(self, frame: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Run one frame."""
        ...


class TflmInterpreter:
    """TFLite Micro, the device's own runtime, from the package `tflite-micro`."""

    def __init__(self, runtime: Any, content: bytes) -> None:
        arena = max(_ARENA_FLOOR, _ARENA_FACTOR * len(content))
        self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
        self._outputs = range(count_outputs(content))
        source = self._interpreter.get_input_details(0)
        self.frame_shape, self.frame_type = tuple(source["shape"]), np.dtype(source["dtype"])
        details = [self._interpreter.get_output_details(index) for index in self._outputs]
        self.output_shape, self.output_type = _joint(details)

    def infer(self, frame: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Run one frame."""
        interpreter = self._interpreter
        interpreter.set_input(frame, 0)
        interpreter.invoke()
        if len(self._outputs) > 1:
            return _joined([interpreter.get_output(index) for index in self._outputs])
        output: npt.NDArray[np.generic] = interpreter.get_output(0)
        return output


class LiteInterpreter:
    """TFLite from `tflite-runtime` or LiteRT, with the reference resolver."""

    def __init__(self, module: Any, content: bytes) -> None:
        self._interpreter = module.Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
        )
        self._interpreter.allocate_tensors()
        source, details = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()
        self._input, self._outputs = source["index"], [output["index"] for output in details]
        self.frame_shape, self.frame_type = tuple(source["shape"]), np.dtype(source["dtype"])
        self.output_shape, self.output_type = _joint(details)

    def infer(self, frame: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Run one frame."""
        interpreter = self._interpreter
        interpreter.set_tensor(self._input, frame)
        interpreter.invoke()
        if len(self._outputs) > 1:
            return _joined([interpreter.get_tensor(index) for index in self._outputs])
        output: npt.NDArray[np.generic] = interpreter.get_tensor(self._outputs[0])
        return output


def _joint(details: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of the result of `infer`: of the output, or of the bytes of several outputs."""
    if len(details) == 1:
        return tuple(details[0]["shape"]), np.dtype(details[0]["dtype"])
    sizes = (int(np.prod(output["shape"])) * np.dtype(output["dtype"]).itemsize for output in details)
    return (sum(sizes),), np.dtype(np.uint8)


def _joined(outputs: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    return np.concatenate([np.ascontiguousarray(output).reshape(-1).view(np.uint8) for output in outputs])


def interpreter_factory(engine: str) -> Callable[[bytes], Interpreter]:
    """Import an engine and return the function that makes its interpreters."""
    if engine == "tflm":
        from tflite_micro import runtime

        # It would parse the whole model in Python, 8 ms, for each new interpreter: once for each model is enough.
        runtime.count_resource_variables = lru_cache(maxsize=4)(runtime.count_resource_variables)
        return lambda content: TflmInterpreter(runtime, content)
    if engine == "tflite-runtime":
        from tflite_runtime import interpreter
    else:
        from ai_edge_litert import interpreter
    return lambda content: LiteInterpreter(interpreter, content)


ADDRESS_SPACE = 1024**3  # bytes; an engine needs an eighth of it with a model that fits a chip
_LOG_SIZE = 16 * 1024**2


class Worker:
    """Serves an engine over a socket and a block of shared memory."""

    def __init__(self, engine: str, channel: socket.socket, memory: mmap.mmap) -> None:
        self._make: Callable[[bytes], Interpreter] | None = None
        self._engine, self._channel, self._memory = engine, channel, memory
        self._content = b""
        self._interpreter: Interpreter | None = None
        self._inferences = 0

    def serve(self) -> None:
        """Answer requests until the parent closes its end; the engine is imported before the first request."""
        with suppress(Exception):  # loading a model tries again and reports the error
            self._make = interpreter_factory(self._engine)
        while request := self._channel.recv(REQUEST.size, socket.MSG_WAITALL):
            operation, number = REQUEST.unpack(request)
            try:
                answer = (Status.DONE, *self._carry_out(operation, number))
            except Exception as error:  # noqa: BLE001 -- the process's edge: any exception of a package becomes an answer
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
    """Let the kernel end this process when its parent ends, even in the middle of native code.

    The parent holds the other end of stdin and never writes. When that end closes, however the parent ended, SIGIO
    arrives, and its default action is to terminate. (PR_SET_PDEATHSIG fires when the *thread* that started us ends.)
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(sys.stdin, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sys.stdin, fcntl.F_SETFL, fcntl.fcntl(sys.stdin, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([sys.stdin], [], [], 0)[0]:
        sys.exit("the parent has ended")
