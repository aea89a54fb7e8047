"""The order in which TensorFlow's converter writes the operators of a streaming network.

The order decides where an arena's buffers end up, so that the same one gives the same arena to the byte. The converter
takes a graph's nodes in reverse postorder: depth first from the states, the last name first, and then from the input,
where of several consumers the last name goes first, too (tensorflow 2.19.1, `GetReversePostOrder` by node names).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from exporter.network.architecture import Architecture, Inception
from mww.tflite.model_file import Operator, Tensor


def as_converted(
    architecture: Architecture, operators: Sequence[Operator], tensors: Sequence[Tensor]
) -> list[Operator]:
    """Put the operators of a main graph into the converter's order; tensors are named by their roles."""
    alone = [operator for operator in operators if operator.op == "CALL_ONCE"]
    handles = [operator for operator in operators if operator.op == "VAR_HANDLE"]
    reads = [operator for operator in operators if operator.op == "READ_VARIABLE"]
    starts = [operator for operator in operators if operator.op == "RESHAPE"][:1]
    named = zip(_read_names(architecture, len(reads)), reads, strict=True)
    roots = [read for _, read in sorted(named, key=lambda pair: pair[0], reverse=True)] + starts
    result = _postorder(roots, _consumers(operators, tensors))
    return [replace(operator, index=index) for index, operator in enumerate((*alone, *handles[::-1], *result[::-1]))]


def _read_names(architecture: Architecture, states: int) -> list[str]:
    """What the reads of the states are called, in the order of the states.

    A ring buffer's scope is opened twice, and takes the next free name each time. That of the first one, `stream`,
    becomes that of a later one, which then has to take a third: the next in the order in which Keras runs the layers,
    and the first ring buffer of an Inception block comes third there.
    """
    streamed_stem = isinstance(architecture, Inception) and any(stem.kernel > 1 for stem in architecture.stems)
    in_block = isinstance(architecture, Inception) and not streamed_stem and states > 1
    taken = 3 if in_block else 1
    names = [f"stream_{state}_{2 if state == taken else 1}_concat" for state in range(states)]
    return [f"stream_{taken}_concat", *names[1:]][:states]


def _consumers(operators: Sequence[Operator], tensors: Sequence[Tensor]) -> Callable[[Operator], list[Operator]]:
    """What follows an operator, the last name first; a ring buffer is used after it was kept."""
    readers: dict[int, list[Operator]] = {}
    for operator in operators:
        for tensor in operator.inputs:
            readers.setdefault(tensor, []).append(operator)
    kept = {assign.inputs[1]: assign for assign in operators if assign.op == "ASSIGN_VARIABLE"}
    memories = {
        operator.inputs[0]: kept[operator.outputs[0]]
        for operator in operators
        if operator.outputs and operator.outputs[0] in kept
    }
    followers = {assign.index: memory for memory, assign in memories.items()}

    def name(operator: Operator) -> str:
        return tensors[operator.outputs[0]].name if operator.outputs else ""

    def consumers(operator: Operator) -> list[Operator]:
        if operator.index in followers:
            users = [user for user in readers[followers[operator.index]] if user.outputs[0] not in kept]
        else:
            users = [user for tensor in operator.outputs for user in readers.get(tensor, [])]
            if operator.outputs and operator.outputs[0] in memories:
                users = [user for user in users if user.outputs[0] in kept]
        return sorted(users, key=name, reverse=True)

    return consumers


def _postorder(roots: Sequence[Operator], consumers: Callable[[Operator], list[Operator]]) -> list[Operator]:
    """The operators that are reached, each after all that it reaches."""
    results: list[Operator] = []
    seen: set[int] = set()
    for root in roots:
        path = [(root, iter(consumers(root)))] if root.index not in seen else []
        seen.add(root.index)
        while path:
            _, users = path[-1]
            following = next((user for user in users if user.index not in seen), None)
            if following is None:
                results.append(path.pop()[0])
            else:
                seen.add(following.index)
                path.append((following, iter(consumers(following))))
    return results
