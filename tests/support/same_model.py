"""Two int8 models held against each other by what each operator computes from what, whatever the order in the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from mww.tflite.model_file import ModelFile, Operator, Subgraph, Tensor
from mww.tflite.schema import VarHandle

Source: TypeAlias = tuple[str, int, int]
"""Where a tensor comes from: what kind of thing, its number, and which of its outputs."""


@dataclass
class Differences:
    """What two models differ in; weights and biases that are off by one are counted, all else is reported."""

    told: list[str] = field(default_factory=list)
    weights: int = 0
    weights_off: int = 0
    biases: int = 0
    biases_off: int = 0

    def tell(self, what: str, one: object, other: object) -> None:
        """Note that two things are not the same."""
        if one != other:
            self.told.append(f"{what}: {one} and {other}")


class _Walk:
    """A main graph from its output backwards: operators and states numbered as they are met."""

    def __init__(self, model: ModelFile) -> None:
        self.model = model
        self.graph = model.main
        self.operators: list[tuple[Operator, tuple[Source, ...]]] = []
        self.states: dict[str, int] = {}
        self._producers = {tensor: operator for operator in self.graph.operators for tensor in operator.outputs}
        self._numbers: dict[int, int] = {}
        for output in self.graph.outputs:
            self.source(output)
        kept = {
            self.source(operator.inputs[0]): operator.inputs[1]
            for operator in self.graph.operators
            if operator.op == "ASSIGN_VARIABLE"
        }
        self.assigned = [(state, self.source(kept[state])) for state in sorted(kept)]

    def source(self, tensor: int) -> Source:
        """Where a tensor comes from."""
        if tensor < 0 or self.model.is_constant(self.graph.tensors[tensor]):
            return "constant", min(tensor, 0), 0
        if tensor in self.graph.inputs:
            return "input", 0, 0
        operator = self._producers[tensor]
        if isinstance(operator.options, VarHandle):
            return "state", self.states.setdefault(operator.options.shared_name, len(self.states)), 0
        if operator.index not in self._numbers:
            sources = tuple(self.source(index) for index in operator.inputs)
            self._numbers[operator.index] = len(self.operators)
            self.operators.append((operator, sources))
        return "operator", self._numbers[operator.index], operator.outputs.index(tensor)

    def initial(self) -> Iterator[tuple[int, Tensor, ModelFile]]:
        """States by number, with the constants that they start with."""
        for graph in self.model.subgraphs[1:]:
            names = shared_names(graph)
            for operator in graph.operators:
                if operator.op == "ASSIGN_VARIABLE":
                    handle, value = operator.inputs
                    yield self.states[names[handle]], graph.tensors[value], self.model


def shared_names(graph: Subgraph) -> dict[int, str]:
    """Handles of states to their shared names."""
    return {
        operator.outputs[0]: operator.options.shared_name
        for operator in graph.operators
        if isinstance(operator.options, VarHandle)
    }


def differences(one: ModelFile, other: ModelFile) -> Differences:
    """Compare two models in all but names, the order of operators and tensors, metadata and signatures."""
    result = Differences()
    walks = _Walk(one), _Walk(other)
    for left, right in zip(one.subgraphs, other.subgraphs, strict=False):
        result.tell("tensors", len(left.tensors), len(right.tensors))
        result.tell("operators", len(left.operators), len(right.operators))
    result.tell("subgraphs", len(one.subgraphs), len(other.subgraphs))
    for (a, a_from), (b, b_from) in zip(walks[0].operators, walks[1].operators, strict=False):
        place = f"operator {a.index} {a.op}"
        result.tell(place, (a.op, a.version, a.options, a_from), (b.op, b.version, b.options, b_from))
        if result.told:
            return result
        for left_index, right_index in zip((*a.inputs, *a.outputs), (*b.inputs, *b.outputs), strict=True):
            if left_index >= 0 and right_index >= 0:
                _tensors(result, place, (one, one.main.tensors[left_index]), (other, other.main.tensors[right_index]))
    result.tell("assignments", walks[0].assigned, walks[1].assigned)
    starts = [sorted(walk.initial(), key=lambda entry: entry[0]) for walk in walks]
    for (state, tensor, _), (other_state, other_tensor, _) in zip(*starts, strict=True):
        result.tell("states", state, other_state)
        _tensors(result, f"state {state}", (one, tensor), (other, other_tensor))
    return result


def _tensors(result: Differences, place: str, item: tuple[ModelFile, Tensor], other: tuple[ModelFile, Tensor]) -> None:
    (model, a), (other_model, b) = item, other
    result.tell(place, (a.shape, a.dtype, a.is_variable), (b.shape, b.dtype, b.is_variable))
    if a.quantization and b.quantization:
        left, right = a.quantization, b.quantization
        result.tell(f"{place} zero points", left.zero_points, right.zero_points)
        result.tell(f"{place} dimension", left.dimension, right.dimension)
        np.testing.assert_allclose(left.scales, right.scales, rtol=3e-7, err_msg=place)
    else:
        result.tell(f"{place} quantisation", a.quantization, b.quantization)
    result.tell(f"{place} data", model.is_constant(a), other_model.is_constant(b))
    if model.is_constant(a) and a.shape == b.shape:
        off = np.abs(model.constant(a).astype(np.int64) - other_model.constant(b).astype(np.int64))
        allowed = 1 if a.quantization else 0
        result.tell(f"{place} constant", bool(off.max(initial=0) <= allowed), True)
        if a.dtype == "INT8":
            result.weights, result.weights_off = result.weights + off.size, result.weights_off + int(off.sum())
        elif a.quantization:
            result.biases, result.biases_off = result.biases + off.size, result.biases_off + int(off.sum())


def assert_same_model(one: ModelFile, other: ModelFile) -> None:
    """The same graph in the same order, the same scales; at most 1 weight in 10,000 and 1 bias in 100 off by one."""
    result = differences(one, other)
    assert result.told == []
    assert [operator.op for operator in one.main.operators] == [operator.op for operator in other.main.operators]
    assert result.weights_off <= 1 + result.weights / 10_000
    assert result.biases_off <= 1 + result.biases / 100
