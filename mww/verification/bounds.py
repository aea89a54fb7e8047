"""The range of output bytes for any input, from the range of each tensor, followed from the model's input.

Ranges are of stored integers and never too narrow: what an operator is not known to give is all that its type holds. A
sum over weights is bounded by its largest and smallest addends, so that a bias which drowns the weights shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, floor, inf, isfinite
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from mww.core.errors import ModelFileError
from mww.tflite.model_file import Operator, Quantization, Tensor
from mww.tflite.schema import INTEGER_RANGES, Conv2D, DepthwiseConv2D, Elementwise, FullyConnected
from mww.verification.rules import Subject
from mww.verification.state import initialisers, state_access

Range: TypeAlias = tuple[int, int]
"""Lowest and highest stored value, both included."""

_ANY: Final[Range] = (-(2**31), 2**31 - 1)
_BYTES: Final[Range] = (0, 255)
_SAME: Final = frozenset(
    {"RESHAPE", "STRIDED_SLICE", "SPLIT_V", "SPLIT", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CONCATENATION", "PACK"}
    | {"MAX_POOL_2D", "AVERAGE_POOL_2D"}
)
"""Operators whose outputs are values of their inputs, or lie between them."""
_CEILINGS: Final = {"RELU6": 6.0, "RELU_N1_TO_1": 1.0}
_FLOORS: Final = {"RELU": 0.0, "RELU6": 0.0, "RELU_N1_TO_1": -1.0}
_STEPS: Final = 8
"""Rounds after which a growing state counts as unlimited."""


def output_bounds(subject: Subject) -> Range:
    """The lowest and highest output byte that the model can give; 0 and 255 where no narrower range is known."""
    output = subject.output
    if output is None or output.dtype != "UINT8":
        return _BYTES
    try:
        return _Walk(subject).output(output)
    except (ModelFileError, ValueError, OverflowError, IndexError):  # a broken model: other rules report where
        return _BYTES


class _Walk:
    """Follows ranges through the main subgraph until the states no longer grow."""

    def __init__(self, subject: Subject) -> None:
        self._model, self._graph = subject.model, subject.main
        access = state_access(self._graph)
        self._reads = {use.operator.index: use.key for use in access.reads}
        self._assigns = {use.operator.index: use for use in access.assigns}
        self._states = {use.key: _first(use.value) for use in access.reads}
        for graph in initialisers(subject):
            for use in state_access(graph).assigns:
                if self._model.is_constant(use.value):
                    self._states[use.key] = _hull_of(self._model.constant(use.value).ravel())

    def output(self, tensor: Tensor) -> Range:
        for _ in range(_STEPS):
            ranges, grown = self._step()
            if not grown:
                return ranges.get(tensor.index, _BYTES)
        for key in self._states:
            self._states[key] = INTEGER_RANGES["INT8"]
        return self._step()[0].get(tensor.index, _BYTES)

    def _step(self) -> tuple[dict[int, Range], bool]:
        """The ranges of an inference, and whether a state has grown."""
        ranges: dict[int, Range] = {}
        grown = False
        for operator in self._graph.subgraph.operators:
            assigned = self._assigns.get(operator.index)
            if assigned is not None:
                former = self._states.get(assigned.key, _ANY)
                merged = _hull((former, self._range(assigned.value, ranges)))
                grown |= merged != former
                self._states[assigned.key] = merged
                continue
            for index in operator.outputs:
                ranges[index] = self._made(operator, self._graph.subgraph.tensors[index], ranges)
        return ranges, grown

    def _made(self, operator: Operator, output: Tensor, ranges: dict[int, Range]) -> Range:
        """The range of an operator's result."""
        limits = INTEGER_RANGES.get(output.dtype, _ANY)
        if operator.index in self._reads:
            return self._states.get(self._reads[operator.index], limits)
        inputs = [tensor for tensor in self._graph.tensors(operator.inputs) if tensor is not None]
        if operator.op in _SAME:
            same_type = [self._range(tensor, ranges) for tensor in inputs if tensor.dtype == output.dtype]
            return _hull(same_type) if same_type else limits
        if not inputs or not _is_scaled(inputs[0]) or not _is_scaled(output):
            return limits
        return self._computed(operator, inputs, output, ranges)

    def _computed(self, operator: Operator, inputs: list[Tensor], output: Tensor, ranges: dict[int, Range]) -> Range:
        """The range of the result of an operator that computes with real values."""
        reals = _reals(inputs[0], self._range(inputs[0], ranges))
        if operator.op == "QUANTIZE":
            return _stored(reals, output)
        if operator.op == "LOGISTIC":
            return _stored(_Reals(_sigmoid(reals.low), _sigmoid(reals.high)), output)
        if isinstance(operator.options, Conv2D | DepthwiseConv2D | FullyConnected):
            return self._summed(operator, inputs, reals, output)
        if isinstance(operator.options, Elementwise) and len(inputs) == 2 and _is_scaled(inputs[1]):
            other = _reals(inputs[1], self._range(inputs[1], ranges))
            combined, activation = _combined(operator.op, reals, other), operator.options.activation
            return _stored(combined, output, slack=1, activation=activation)
        return INTEGER_RANGES[output.dtype]

    def _summed(self, operator: Operator, inputs: list[Tensor], reals: _Reals, output: Tensor) -> Range:
        """The range of a sum over constant weights, over all channels."""
        options = operator.options
        assert isinstance(options, Conv2D | DepthwiseConv2D | FullyConnected)
        weights, bias = inputs[1], inputs[2] if len(inputs) > 2 else None
        if not self._model.is_constant(weights) or not _is_scaled(weights):
            return INTEGER_RANGES.get(output.dtype, _ANY)
        axis = -1 if isinstance(options, DepthwiseConv2D) else 0
        stored = np.moveaxis(self._model.constant(weights), axis, 0).astype(np.float64)
        channels = stored.reshape(len(stored), -1)
        assert weights.quantization is not None and inputs[0].quantization is not None
        scales = np.resize(np.asarray(weights.quantization.scales), len(channels))
        added = np.zeros(len(channels))
        if bias is not None and self._model.is_constant(bias):
            added = self._model.constant(bias).ravel().astype(np.float64) * scales * inputs[0].quantization.scale
        low, high = min(0.0, reals.low), max(0.0, reals.high)  # padding adds zeros
        positive = np.where(channels > 0, channels, 0).sum(axis=1) * scales
        negative = np.where(channels < 0, channels, 0).sum(axis=1) * scales
        lowest = float((added + positive * low + negative * high).min())
        highest = float((added + positive * high + negative * low).max())
        return _stored(_Reals(lowest, highest), output, slack=1, activation=options.activation)

    def _range(self, tensor: Tensor, ranges: dict[int, Range]) -> Range:
        if self._model.is_constant(tensor) and tensor.dtype in INTEGER_RANGES and tensor.elements:
            return _hull_of(self._model.constant(tensor).ravel())
        return ranges.get(tensor.index, INTEGER_RANGES.get(tensor.dtype, _ANY))


@dataclass(frozen=True, slots=True)
class _Reals:
    """A range of real values."""

    low: float
    high: float


def _quantization(tensor: Tensor) -> Quantization:
    assert tensor.quantization is not None
    return tensor.quantization


def _is_scaled(tensor: Tensor) -> bool:
    quantization = tensor.quantization
    return (
        tensor.dtype in INTEGER_RANGES
        and quantization is not None
        and all(isfinite(scale) and scale > 0 for scale in quantization.scales)
    )


def _reals(tensor: Tensor, stored: Range) -> _Reals:
    quantization = _quantization(tensor)
    low, high = ((value - quantization.zero_point) * quantization.scale for value in stored)
    return _Reals(low, high)


def _stored(reals: _Reals, tensor: Tensor, slack: int = 0, activation: str = "NONE") -> Range:
    """The stored values of a range, after an activation, `slack` wider where the device may round differently."""
    lowest, highest = INTEGER_RANGES[tensor.dtype]
    lowest = max(lowest, _unlimited(_FLOORS.get(activation, -inf), tensor))
    highest = min(highest, _unlimited(_CEILINGS.get(activation, inf), tensor))
    low, high = _unlimited(reals.low, tensor) - slack, _unlimited(reals.high, tensor) + slack
    return max(lowest, min(highest, low)), max(lowest, min(highest, high))


def _unlimited(real: float, tensor: Tensor) -> int:
    """The nearest stored value, whether or not the type holds it."""
    quantization = _quantization(tensor)
    return floor(max(-1e9, min(1e9, real / quantization.scale)) + 0.5) + quantization.zero_point


def _combined(op: str, left: _Reals, right: _Reals) -> _Reals:
    if op == "ADD":
        return _Reals(left.low + right.low, left.high + right.high)
    products = [a * b for a in (left.low, left.high) for b in (right.low, right.high)]
    return _Reals(min(products), max(products))


def _sigmoid(value: float) -> float:
    return 1 / (1 + exp(-max(-80.0, min(80.0, value))))


def _first(tensor: Tensor) -> Range:
    """The values of a state before the first assignment: zero, as a number or as a stored integer."""
    zero = tensor.quantization.zero_point if tensor.quantization is not None else 0
    return min(0, zero), max(0, zero)


def _hull(ranges: Iterable[Range]) -> Range:
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)


def _hull_of(values: npt.NDArray[Any]) -> Range:
    return int(values.min()), int(values.max())
