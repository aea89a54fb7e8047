"""The orders of the main graph's operators with the same results: constraints of data and of variables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mww.tflite.model_file import ModelFile, Operator, Subgraph
from mww.tflite.schema import VarHandle

_STATEFUL = ("READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")


@dataclass(frozen=True, slots=True)
class Precedence:
    """Which operators must run before which, as bit masks over their indices.

    Attributes:
        direct: For each operator, the operators that make its data or state.
        all: For each operator, all that must run before it.
    """

    direct: tuple[int, ...]
    all: tuple[int, ...]

    @property
    def operators(self) -> int:
        """Number of operators."""
        return len(self.direct)


def find_precedence(model: ModelFile) -> Precedence:
    """The constraints of every legal order.

    Where the file's own order is not legal (a tensor is read before it is written), nothing may move.
    """
    graph = model.main
    producers: dict[int, int] = {}
    variables = _variables(graph)
    direct: list[int] = []
    ancestors: list[int] = []
    for operator in graph.operators:
        mask = _mask(producers[tensor] for tensor in operator.inputs if tensor in producers)
        earlier = graph.operators[: operator.index]
        mask |= _mask(other.index for other in earlier if _conflict(operator, other, variables))
        direct.append(mask)
        ancestors.append(mask | union(ancestors[index] for index in bits(mask)))
        for tensor in operator.outputs:
            if tensor in producers:
                return _as_it_is(len(graph.operators))
            producers[tensor] = operator.index
    if any(producers.get(tensor, -1) >= operator.index for operator in graph.operators for tensor in operator.inputs):
        return _as_it_is(len(graph.operators))
    return Precedence(tuple(direct), tuple(ancestors))


def _as_it_is(operators: int) -> Precedence:
    earlier = tuple((1 << index) - 1 for index in range(operators))
    return Precedence(earlier, earlier)


def _variables(graph: Subgraph) -> dict[int, str]:
    """The variable's name for each handle tensor; containers are ignored, which only adds conflicts."""
    return {
        tensor: operator.options.shared_name
        for operator in graph.operators
        if isinstance(operator.options, VarHandle)
        for tensor in operator.outputs
    }


def _conflict(item: Operator, other: Operator, variables: dict[int, str]) -> bool:
    """Whether two operators use the same state and at least one writes it; CALL_ONCE may write any state."""
    if item.op not in _STATEFUL or other.op not in _STATEFUL:
        return False
    if "CALL_ONCE" in (item.op, other.op):
        return True
    if item.op == other.op == "READ_VARIABLE":
        return False
    names = [variables.get(operator.inputs[0]) if operator.inputs else None for operator in (item, other)]
    return None in names or names[0] == names[1]


def bits(mask: int) -> list[int]:
    """The indices in a mask, ascending."""
    return [index for index in range(mask.bit_length()) if mask >> index & 1]


def _mask(indices: Iterable[int]) -> int:
    return union(1 << index for index in indices)


def union(masks: Iterable[int]) -> int:
    """The union of masks."""
    result = 0
    for mask in masks:
        result |= mask
    return result


def legal_orders(precedence: Precedence, limit: int) -> list[tuple[int, ...]] | None:
    """Every order that keeps the precedence, or None when they are more than `limit`."""
    results: list[tuple[int, ...]] = []
    waiting: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while waiting:
        done, order = waiting.pop()
        following = ready(precedence, done)
        waiting += [(done | 1 << operator, (*order, operator)) for operator in following]
        if not following:
            results.append(order)
        if len(results) + len(waiting) > limit:
            return None
    return results


def ready(precedence: Precedence, done: int) -> list[int]:
    """The operators that may run next, after those in a mask."""
    return [index for index, needs in enumerate(precedence.direct) if not done >> index & 1 and not needs & ~done]
