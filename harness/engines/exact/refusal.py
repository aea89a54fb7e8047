"""Models that the exact engine refuses, and its requirements on an operator's tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mww.tflite.model_file import ModelFile, Operator, Quantization, Subgraph, Tensor
from mww.tflite.schema import INTEGER_RANGES, Options

BYTES = ("INT8", "UINT8")


class RefusedError(ValueError):
    """Names the operator, and the option or tensor that is not supported."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operator with its tensors."""

    model: ModelFile
    graph: Subgraph
    operator: Operator

    def refused(self, why: str) -> RefusedError:
        """The error that names this operator."""
        return RefusedError(f"{self.operator.op} {self.operator.index}: {why}")

    @property
    def options(self) -> Options:
        """Its options."""
        return self.operator.options

    def input(self, number: int) -> Tensor:
        """A tensor that must exist."""
        inputs = self.operator.inputs
        if number >= len(inputs) or inputs[number] < 0:
            raise self.refused(f"input {number} is missing")
        return self.graph.tensors[inputs[number]]

    @property
    def output(self) -> Tensor:
        """The first output."""
        if not self.operator.outputs:
            raise self.refused("the output is missing")
        return self.graph.tensors[self.operator.outputs[0]]

    def optional(self, number: int) -> Tensor | None:
        """An optional tensor."""
        inputs = self.operator.inputs
        return self.graph.tensors[inputs[number]] if number < len(inputs) and inputs[number] >= 0 else None

    def constant(self, tensor: Tensor, *dtypes: str) -> npt.NDArray[np.int64]:
        """A tensor's values from the file, int64 in its shape."""
        if tensor.dtype not in dtypes:
            raise self.refused(f"tensor {tensor.index} is {tensor.dtype}, not {' or '.join(dtypes)}")
        if not self.model.is_constant(tensor):
            raise self.refused(f"tensor {tensor.index} is not constant")
        return self.model.constant(tensor).astype(np.int64)

    def integers(self, number: int) -> list[int]:
        """The values of a constant int32 input."""
        return [int(value) for value in self.constant(self.input(number), "INT32").reshape(-1)]

    def quantization(self, tensor: Tensor, *dtypes: str) -> Quantization:
        """Scale and zero point of a tensor with a single scale and one of these types."""
        if tensor.dtype not in dtypes:
            raise self.refused(f"tensor {tensor.index} is {tensor.dtype}, not {' or '.join(dtypes)}")
        quantization = tensor.quantization
        if quantization is None or quantization.per_channel or not quantization.scale > 0:
            raise self.refused(f"tensor {tensor.index} needs exactly one scale above 0")
        low, high = INTEGER_RANGES[tensor.dtype]
        if not low <= quantization.zero_point <= high:
            raise self.refused(f"tensor {tensor.index} has the zero point {quantization.zero_point}")
        return quantization

    def check_shape(self, tensor: Tensor, expected: Sequence[int]) -> None:
        """Refuse a shape that differs from the operator's result: TFLite Micro takes output shapes from the file."""
        if tensor.shape != tuple(expected):
            raise self.refused(f"tensor {tensor.index} has the shape {list(tensor.shape)}, not {list(expected)}")

    def activation(self, name: str) -> str:
        """The activation, which the kernels must support."""
        if name not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
            raise self.refused(f"the activation {name}")
        return name
