"""An operator about to be prepared, and the memory requests that its kernel's `Prepare` makes."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, NoReturn, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from mww.core.errors import UnsupportedModelError
from mww.tflite.model_file import ModelFile, Operator, Subgraph, Tensor
from mww.tflm.runtime import Runtime

EXPORT_AGAIN: Final = "export the model again; mww verify explains what ESPHome's runtime accepts"
"""The hint of a model that TFLM refuses."""

_Options = TypeVar("_Options")


@dataclass(frozen=True, slots=True)
class TempTensor:
    """`AllocateTempInputTensor` or `AllocateTempOutputTensor`; freed when `Prepare` ends."""

    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Persistent:
    """`AllocatePersistentBuffer`, bytes."""

    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class Scratch:
    """`RequestScratchBufferInArena`, bytes."""

    size: int


Request: TypeAlias = TempTensor | Persistent | Scratch


@dataclass(frozen=True, slots=True)
class Node:
    """An operator about to be prepared."""

    runtime: Runtime
    model: ModelFile
    subgraph: Subgraph
    operator: Operator

    def refuse(self, reason: str) -> NoReturn:
        """Raise that TFLM cannot prepare this operator."""
        place = f"operator {self.operator.index} of subgraph {self.subgraph.index}"
        raise UnsupportedModelError(f"{self.operator.op} ({place}) cannot be prepared: {reason}", hint=EXPORT_AGAIN)

    def ensure(self, condition: bool, reason: str) -> None:
        """`TF_LITE_ENSURE`."""
        if not condition:
            self.refuse(reason)

    def optional_input(self, position: int) -> Tensor | None:
        """An input that may be left out."""
        inputs = self.operator.inputs
        if position >= len(inputs) or inputs[position] < 0:
            return None
        return self.subgraph.tensors[inputs[position]]

    def input(self, position: int) -> Tensor:
        """An input that must be there."""
        tensor = self.optional_input(position)
        return tensor if tensor is not None else self.refuse(f"input {position} is missing")

    def output(self, position: int = 0) -> Tensor:
        """An output that must be there."""
        if position >= len(self.operator.outputs):
            self.refuse(f"output {position} is missing")
        return self.subgraph.tensors[self.operator.outputs[position]]

    def counts(self, inputs: tuple[int, ...], outputs: int) -> None:
        """Ensure the number of inputs (any of several) and outputs."""
        self.ensure(len(self.operator.inputs) in inputs, f"it has {len(self.operator.inputs)} inputs")
        self.ensure(len(self.operator.outputs) == outputs, f"it has {len(self.operator.outputs)} outputs")

    def options(self, kind: type[_Options]) -> _Options:
        """The operator's options."""
        if not isinstance(self.operator.options, kind):
            self.refuse("it has no options")
        return self.operator.options

    def indices(self, tensor: Tensor, minimum: int) -> npt.NDArray[np.int64]:
        """A constant int32 vector of at least `minimum` elements."""
        self.ensure(self.model.is_constant(tensor), f"tensor {tensor.index} is not constant")
        self.ensure(tensor.dtype == "INT32", f"tensor {tensor.index} is {tensor.dtype}, not INT32")
        values = self.model.constant(tensor).reshape(-1).astype(np.int64)
        self.ensure(len(values) >= minimum, f"tensor {tensor.index} has {len(values)} elements, not {minimum}")
        return values

    def scale(self, tensor: Tensor) -> float:
        """`params.scale`: 0 without quantisation."""
        return tensor.quantization.scale if tensor.quantization else 0.0

    def zero_point(self, tensor: Tensor) -> int:
        """`params.zero_point`: 0 without quantisation."""
        return tensor.quantization.zero_point if tensor.quantization else 0

    def multiplier(self, numerator: float, denominator: float) -> float:
        """A real multiplier that `QuantizeMultiplier` can represent."""
        value = numerator / denominator if denominator else float("nan")
        self.ensure(isfinite(value), "its scales give no finite multiplier")
        return value

    def rank(self, tensor: Tensor, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor that must have so many dimensions."""
        self.ensure(len(tensor.shape) == dimensions, f"tensor {tensor.index} has {len(tensor.shape)} dimensions")
        return tensor.shape

    def activation_range(self, activation: str, output: Tensor) -> None:
        """`CalculateActivationRangeQuantized`."""
        self.ensure(output.dtype in ("UINT8", "INT8", "INT16"), f"the output is {output.dtype}")
        if activation in ("RELU", "RELU6", "RELU_N1_TO_1"):
            scale = self.scale(output)
            self.ensure(scale != 0 and abs(6.0 / scale) < 2**31, "its output scale is too small for the activation")
