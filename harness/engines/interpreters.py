"""The interpreters themselves, behind one small protocol. Imported in a worker process only: native code can crash.

Each runs single-threaded with reference kernels, whose numbers are the device's; optimised ones (XNNPACK) are off by
up to 23 of 255.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from mww.tflite.model_file import count_outputs

_ARENA_FLOOR: Final = 1024 * 1024
_ARENA_FACTOR: Final = 10  # of the model's size: tflite-micro's own rule, which is too little for tiny models


class Interpreter(Protocol):
    """One interpreter in its initial state; `frame` and `output` are the arrays of a single inference.

    The output of a model with several is the bytes of all, one after the other.
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
    """TFLite as `tflite-runtime` or LiteRT has it, with the reference resolver."""

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
    """Shape and type of what `infer` returns: of the output, or of the bytes of several."""
    if len(details) == 1:
        return tuple(details[0]["shape"]), np.dtype(details[0]["dtype"])
    sizes = (int(np.prod(output["shape"])) * np.dtype(output["dtype"]).itemsize for output in details)
    return (sum(sizes),), np.dtype(np.uint8)


def _joined(outputs: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    return np.concatenate([np.ascontiguousarray(output).reshape(-1).view(np.uint8) for output in outputs])


def interpreter_factory(engine: str) -> Callable[[bytes], Interpreter]:
    """Import an engine and return what makes its interpreters."""
    if engine == "tflm":
        from tflite_micro import runtime

        # It parses the whole model in Python, 8 ms, for each new interpreter: once for each model is enough.
        runtime.count_resource_variables = lru_cache(maxsize=4)(runtime.count_resource_variables)
        return lambda content: TflmInterpreter(runtime, content)
    if engine == "tflite-runtime":
        from tflite_runtime import interpreter
    else:
        from ai_edge_litert import interpreter
    return lambda content: LiteInterpreter(interpreter, content)
