"""One operator with its tensors at hand, and the questions that many kernels ask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Final, TypeAlias

from mww.tflite.model_file import ModelFile, Operator, Tensor
from mww.verification.rules import Graph

FUSED_ACTIVATIONS: Final = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
"""`CalculateActivationRangeQuantized` takes any other for NONE, without a word."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a kernel refuses its operator, or would compute something else."""

    message: str
    expected: str | None = None
    found: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class Node:
    """An operator in its subgraph; a kernel's `operands` say which tensors are there."""

    model: ModelFile
    graph: Graph
    operator: Operator

    @cached_property
    def inputs(self) -> list[Tensor | None]:
        """The input tensors; None where an optional one is left out."""
        return self.graph.tensors(self.operator.inputs)

    @cached_property
    def outputs(self) -> list[Tensor]:
        """The output tensors."""
        return [self.graph.subgraph.tensors[index] for index in self.operator.outputs]

    def input(self, index: int) -> Tensor:
        """An input that `operands` has shown to be present."""
        tensor = self.inputs[index]
        assert tensor is not None
        return tensor

    def optional(self, index: int) -> Tensor | None:
        """An input that may be left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    def rank(self, tensor: Tensor, allowed: Sequence[int], what: str) -> Iterator[Problem]:
        """The number of dimensions."""
        if len(tensor.shape) not in allowed:
            result = str(len(tensor.shape))
            yield Problem(f"its {what} has {result} dimensions", _numbers(allowed), result)

    def dtype(self, tensor: Tensor, allowed: Sequence[str], what: str) -> Iterator[Problem]:
        """The type."""
        if tensor.dtype not in allowed:
            yield Problem(f"its {what} is {tensor.dtype}", " or ".join(allowed), tensor.dtype)

    def shape(self, tensor: Tensor, expected: Sequence[int], what: str) -> Iterator[Problem]:
        """The whole shape; TFLM takes output shapes from the file, and writes where they say."""
        if tensor.shape != tuple(expected):
            result = str(list(tensor.shape))
            yield Problem(f"its {what} has the shape {result}", str(list(expected)), result)

    def elements(self, tensor: Tensor, expected: int, what: str) -> Iterator[Problem]:
        """The number of elements."""
        if tensor.elements != expected:
            yield Problem(f"its {what} has {tensor.elements} elements", str(expected), str(tensor.elements))

    def quantised(self, tensor: Tensor, what: str) -> Iterator[Problem]:
        """One scale and zero point for the whole tensor, where the type is an integer that carries them."""
        if tensor.dtype not in ("INT8", "UINT8", "INT16", "INT4"):
            return
        if tensor.quantization is None:
            yield Problem(f"its {what} has no quantisation", "one scale and zero point")
        elif tensor.quantization.per_channel:
            text = f"{len(tensor.quantization.scales)} scales"
            yield Problem(f"its {what} is quantised per channel", "one scale", text)

    def same_quantisation(self, one: Tensor, other: Tensor, what: str) -> Iterator[Problem]:
        """Exactly the same scale and zero point: the kernel copies bytes and never rescales."""
        if one.dtype not in ("INT8", "UINT8", "INT16"):
            return
        if parameters(one) != parameters(other):
            yield Problem(f"its {what} are quantised differently", _text(one), _text(other))

    def activation(self, name: str) -> Iterator[Problem]:
        """A fused activation that the kernel knows."""
        if name not in FUSED_ACTIVATIONS:
            yield Problem(f"its activation {name} is ignored on the device", ", ".join(FUSED_ACTIVATIONS), name)

    def integers(self, tensor: Tensor, count: int, what: str) -> list[int] | Problem:
        """The first `count` values of a constant int32 tensor, or why they do not exist."""
        data = self.model.buffers[tensor.buffer]
        if tensor.dtype != "INT32" or not data.size or data.external:
            return Problem(f"its {what} is not an int32 constant", "an int32 constant", tensor.dtype)
        if tensor.elements < count or data.size != tensor.nbytes:
            return Problem(f"its {what} has {tensor.elements} values", f">= {count}", str(tensor.elements))
        return [int(value) for value in self.model.constant(tensor).reshape(-1)[:count]]


Kernel: TypeAlias = Callable[[Node], Iterator[Problem]]
"""What one of the device's kernels refuses, or computes wrongly without a word."""


def operands(
    inputs: Sequence[int] | None, outputs: Sequence[int] | None, *, required: int | None = None
) -> Callable[[Kernel], Kernel]:
    """Give a kernel its numbers of inputs and outputs (None: one or more), and refuse a node that has others.

    The first `required` inputs (all by default) must not be left out.
    """

    def decorate(kernel: Kernel) -> Kernel:
        @wraps(kernel)
        def judged(node: Node) -> Iterator[Problem]:
            problems = [*_count(len(node.inputs), inputs, "inputs"), *_count(len(node.outputs), outputs, "outputs")]
            if not problems and None in node.inputs[:required]:
                problems.append(Problem("a required input is left out"))
            yield from problems or kernel(node)

        return judged

    return decorate


def _count(result: int, allowed: Sequence[int] | None, what: str) -> Iterator[Problem]:
    if allowed is None and not result:
        yield Problem(f"it has no {what}", "1 or more", "0")
    elif allowed is not None and result not in allowed:
        yield Problem(f"it has {result} {what}", _numbers(allowed), str(result))


def parameters(tensor: Tensor) -> tuple[float, int] | None:
    """Scale and zero point of a tensor, or None."""
    if tensor.quantization is None:
        return None
    return tensor.quantization.scale, tensor.quantization.zero_point


def _numbers(numbers: Sequence[int]) -> str:
    return " or ".join(str(number) for number in numbers)


def _text(tensor: Tensor) -> str:
    pair = parameters(tensor)
    return "none" if pair is None else f"scale {pair[0]:.9g}, zero point {pair[1]}"
