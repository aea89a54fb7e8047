"""The interpreters themselves, behind one small protocol. Imported in a worker process only: native code can crash.

Each runs single-threaded with reference kernels, whose numbers are the device's; optimised ones (XNNPACK) are off by
up to 23 of 255.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

_ARENA_FLOOR: Final = 1024 * 1024
_ARENA_FACTOR: Final = 10  # of the model's size: tflite-micro's own rule, which is too little for tiny models


class Interpreter(Protocol):
    """One interpreter in its initial state; `frame` and `output` are the arrays of a single inference."""

    frame_shape: tuple[int, ...]
    frame_type: np.dtype[np.generic]
    output_shape: tuple[int, ...]
    output_type: np.dtype[np.generic]

    def infer(self, frame: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Run one frame."""
        ...


class TflmInterpreter:
    """TFLite Micro, the device's own runtime, from the package `tflite-micro`."""

    def __init__(self, content: bytes) -> None:
        from tflite_micro import runtime

        if not hasattr(runtime.count_resource_variables, "cache_info"):
            # It parses the whole model in Python, 8 ms, for each new interpreter: once for each model is enough.
            runtime.count_resource_variables = lru_cache(maxsize=4)(runtime.count_resource_variables)
        arena = max(_ARENA_FLOOR, _ARENA_FACTOR * len(content))
        self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
        source, output = self._interpreter.get_input_details(0), self._interpreter.get_output_details(0)
        self.frame_shape, self.frame_type = tuple(source["shape"]), np.dtype(source["dtype"])
        self.output_shape, self.output_type = tuple(output["shape"]), np.dtype(output["dtype"])

    def infer(self, frame: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Run one frame."""
        interpreter = self._interpreter
        interpreter.set_input(frame, 0)
        interpreter.invoke()
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
        source, output = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self._input, self._output = source["index"], output["index"]
        self.frame_shape, self.frame_type = tuple(source["shape"]), np.dtype(source["dtype"])
        self.output_shape, self.output_type = tuple(output["shape"]), np.dtype(output["dtype"])

    def infer(self, frame: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Run one frame."""
        interpreter = self._interpreter
        interpreter.set_tensor(self._input, frame)
        interpreter.invoke()
        output: npt.NDArray[np.generic] = interpreter.get_tensor(self._output)
        return output


def interpreter_factory(engine: str) -> Callable[[bytes], Interpreter]:
    """Import an engine and return what makes its interpreters."""
    if engine == "tflm":
        return TflmInterpreter
    if engine == "tflite-runtime":
        from tflite_runtime import interpreter
    else:
        from ai_edge_litert import interpreter
    return lambda content: LiteInterpreter(interpreter, content)
