"""Pairs the operators of two graphs by their computation and inputs, never by index, name or order in the file.

Both graphs are walked from the output back to the input, and from each ring buffer that is met to what is assigned to
it; operators that only the order of the file tells apart thereby stand in the same order in both. What remains is two
sequences, and their common part is paired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from mww.core.errors import UnsupportedModelError
from mww.tflite.model_file import ModelFile, Operator, Tensor
from mww.tflite.schema import Conv2D, DepthwiseConv2D, Pool2D
from mww.verification.rules import Graph
from mww.verification.state import state_access


@dataclass(frozen=True, slots=True)
class Pair:
    """An operator of each model, or None where only the other model has it."""

    a: Operator | None
    b: Operator | None


MAX_OPERATORS: Final = 4000
"""With more operators, pairing takes minutes; a wake word has about 60."""


def pair_operators(a: ModelFile, b: ModelFile) -> tuple[Pair, ...]:
    """Pair the operators of two main subgraphs, from the input on.

    Raises:
        UnsupportedModelError: A graph is far larger than any wake word.
    """
    if max(len(a.main.operators), len(b.main.operators)) > MAX_OPERATORS:
        raise UnsupportedModelError(
            f"a graph of more than {MAX_OPERATORS} operators is not compared",
            hint="compare smaller models; a wake word has about 50 operators",
        )
    item, other = list(walk(a)), list(walk(b))
    matcher = SequenceMatcher(None, [_kind(a, op) for op in item], [_kind(b, op) for op in other], autojunk=False)
    pairs: list[Pair] = []
    for tag, first, last, start, stop in matcher.get_opcodes():
        if tag == "equal":
            pairs += [Pair(*both) for both in zip(item[first:last], other[start:stop], strict=True)]
        else:
            pairs += [Pair(operator, None) for operator in item[first:last]]
            pairs += [Pair(None, operator) for operator in other[start:stop]]
    return tuple(pairs)


def walk(model: ModelFile) -> Iterator[Operator]:
    """The operators that the output depends on, producers first; then operators that only keep state."""
    graph = Graph(model.main)
    assigns = {use.key: use.operator for use in state_access(graph).assigns}
    keys = {use.operator.index: use.key for use in state_access(graph).reads}
    seen: set[int] = set()
    waiting: list[Operator] = []
    for index in model.main.outputs:
        for operator in _producers(graph, index, seen):
            yield operator
            waiting += [assigns.pop(keys[operator.index])] if keys.get(operator.index) in assigns else []
    for assign in waiting:  # grows with each new ring buffer
        for index in assign.inputs:
            for operator in _producers(graph, index, seen):
                yield operator
                waiting += [assigns.pop(keys[operator.index])] if keys.get(operator.index) in assigns else []
        yield assign


def _producers(graph: Graph, tensor: int, seen: set[int]) -> Iterator[Operator]:
    """The operators that a tensor depends on, depth first and producers first, without recursion."""
    stack: list[tuple[Operator, bool]] = _push(graph, [tensor], seen)
    while stack:
        operator, ready = stack.pop()
        if ready:
            yield operator
        elif operator.index not in seen:
            seen.add(operator.index)
            stack.append((operator, True))
            stack += _push(graph, [*reversed(operator.inputs)], seen)


def _push(graph: Graph, tensors: list[int], seen: set[int]) -> list[tuple[Operator, bool]]:
    producers = [graph.producers.get(tensor) for tensor in tensors]
    return [(producer, False) for producer in producers if producer is not None and producer.index not in seen]


def _kind(model: ModelFile, operator: Operator) -> tuple[object, ...]:
    """The properties that two operators must share to be paired: the operator, its window, the rank."""
    options = operator.options
    window: tuple[int, ...] = ()
    if isinstance(options, Pool2D):
        window = options.filter
    elif isinstance(options, Conv2D | DepthwiseConv2D) and len(operator.inputs) > 1:
        weights = _tensor(model, operator.inputs[1])
        window = weights.shape[1:3] if weights is not None else ()
    target = _tensor(model, operator.outputs[0]) if operator.outputs else None
    return operator.op, operator.custom_code, window, len(target.shape) if target is not None else 0


def _tensor(model: ModelFile, index: int) -> Tensor | None:
    return model.main.tensors[index] if index >= 0 else None
