"""The streaming state: resource variables, the initialiser that CALL_ONCE runs, and what both must agree on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mww.esphome.contract import MAX_RESOURCE_VARIABLES
from mww.tflite.model_file import Operator, Tensor
from mww.tflite.schema import CallOnce, VarHandle
from mww.verification.rules import Finding, Graph, Subject, rule

Key: TypeAlias = str
"""A variable is known by its shared name, behind its container where that is not empty, as converters leave it."""

_STATE_HINT = "stream with the internal-state mode: each ring buffer is read once and assigned once in a step"
_QUANTISE_HINT = "set converter._experimental_variable_quantization = True before converting"


@dataclass(frozen=True, slots=True)
class Access:
    """One READ_VARIABLE or ASSIGN_VARIABLE: the variable, and the tensor that is read into or assigned from."""

    key: Key
    operator: Operator
    value: Tensor


@dataclass(frozen=True, slots=True)
class StateAccess:
    """How one subgraph uses the variables, in execution order."""

    handles: tuple[Key, ...]
    reads: tuple[Access, ...]
    assigns: tuple[Access, ...]
    dangling: tuple[Operator, ...]


def state_access(graph: Graph) -> StateAccess:
    """Collect a subgraph's variable operators; `dangling` ones take their handle from no VAR_HANDLE."""
    names: dict[int, Key] = {}
    reads: list[Access] = []
    assigns: list[Access] = []
    dangling: list[Operator] = []
    tensors = graph.subgraph.tensors
    for operator in graph.subgraph.operators:
        if isinstance(operator.options, VarHandle):
            place = operator.options
            key = f"{place.container}/{place.shared_name}" if place.container else place.shared_name
            names.update(dict.fromkeys(operator.outputs, key))
        elif operator.op in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
            handle = operator.inputs[0] if operator.inputs else -1
            values = operator.outputs[:1] if operator.op == "READ_VARIABLE" else operator.inputs[1:2]
            if handle not in names or not values or values[0] < 0:
                dangling.append(operator)
                continue
            accesses = reads if operator.op == "READ_VARIABLE" else assigns
            accesses.append(Access(names[handle], operator, tensors[values[0]]))
    return StateAccess(tuple(names.values()), tuple(reads), tuple(assigns), tuple(dangling))


def initialisers(subject: Subject) -> list[Graph]:
    """The subgraphs that the main one runs by CALL_ONCE, as far as they exist."""
    indices = [op.options.subgraph for op in subject.main.subgraph.operators if isinstance(op.options, CallOnce)]
    return [subject.graphs[index] for index in indices if 0 < index < len(subject.graphs)]


def has_variables(subject: Subject) -> bool:
    """Whether the model keeps any state in resource variables."""
    return "VAR_HANDLE" in subject.ops


@rule(
    "variable-count",
    f"There are at most {MAX_RESOURCE_VARIABLES} resource variables",
    hint="use fewer ring buffers: ESPHome makes room for 20 (MicroResourceVariables::Create(ma, 20))",
)
def variable_count(subject: Subject) -> Iterator[Finding]:
    """VAR_HANDLE's Prepare fails beyond."""
    count = len({key for graph in subject.graphs for key in state_access(graph).handles})
    if count > MAX_RESOURCE_VARIABLES:
        yield Finding(f"there are {count} resource variables", f"<= {MAX_RESOURCE_VARIABLES}", str(count))


@rule("variable-access", "Each variable is read once and assigned once a step", hint=_STATE_HINT, applies=has_variables)
def variable_access(subject: Subject) -> Iterator[Finding]:
    """A variable that is not assigned never advances; a variable that is assigned first loses the state."""
    access = state_access(subject.main)
    for operator in access.dangling:
        yield Finding(f"{operator.op} {operator.index} uses no variable")
    reads = _by_key(access.reads)
    assigns = _by_key(access.assigns)
    for key in dict.fromkeys(access.handles):
        read, assigned = reads.get(key, []), assigns.get(key, [])
        if len(read) != 1 or len(assigned) != 1:
            message = f"read {len(read)}x, assigned {len(assigned)}x"
            yield Finding(f"variable {key[:40]!r} is {message}", "read once, assigned once", message)
        elif assigned[0].operator.index < read[0].operator.index:
            yield Finding(f"variable {key[:40]!r} is assigned before it is read", "read, then assigned")


@rule("variable-types", "Each variable is int8 and quantised", hint=_QUANTISE_HINT, applies=has_variables)
def variable_types(subject: Subject) -> Iterator[Finding]:
    """Float state comes with DEQUANTIZE, which the device does not have."""
    for graph in subject.graphs:
        access = state_access(graph)
        for use in access.reads + access.assigns:
            where = f"variable {use.key[:40]!r} ({use.operator.op} {use.operator.index})"
            if use.value.dtype != "INT8":
                yield Finding(f"{where} is {use.value.dtype}", "INT8", use.value.dtype)
            elif use.value.quantization is None:
                yield Finding(f"{where} has no quantisation", "one scale and zero point")


@rule(
    "variable-agreement",
    "Each variable has one shape and one quantisation wherever it is read or assigned",
    hint=_QUANTISE_HINT,
    applies=has_variables,
)
def variable_agreement(subject: Subject) -> Iterator[Finding]:
    """A variable is bytes to TFLM: they are copied both ways, and never rescaled."""
    graphs = [subject.main, *initialisers(subject)]
    first: dict[Key, Access] = {}
    for access in map(state_access, graphs):
        for use in access.reads + access.assigns:
            single = first.setdefault(use.key, use)
            expected, result = _describe(single.value), _describe(use.value)
            if expected != result:
                place = f"{use.operator.op} {use.operator.index}"
                yield Finding(f"variable {use.key[:40]!r} differs at {place}: {result}", expected, result)


@rule(
    "call-once",
    "CALL_ONCE is the first operator and runs a separate initialiser",
    hint="export through tf.keras.export.ExportArchive, which keeps the variables' initialiser",
    applies=has_variables,
)
def call_once(subject: Subject) -> Iterator[Finding]:
    """The state has no defined start without it; calling the main subgraph would never return."""
    calls = [op for op in subject.main.subgraph.operators if isinstance(op.options, CallOnce)]
    if len(calls) != 1:
        yield Finding(f"there are {len(calls)} CALL_ONCE operators", "1", str(len(calls)))
    for call in calls:
        assert isinstance(call.options, CallOnce)
        target = call.options.subgraph
        if not 0 < target < len(subject.graphs):
            yield Finding(f"CALL_ONCE {call.index} runs subgraph {target}", "another subgraph", str(target))
    uses = [op.index for op in subject.main.subgraph.operators if op.op in ("READ_VARIABLE", "ASSIGN_VARIABLE")]
    if calls and uses and calls[0].index > min(uses):
        yield Finding(f"CALL_ONCE {calls[0].index} stands behind the first use of a variable, {min(uses)}")


@rule(
    "initialiser",
    "The initialiser assigns each variable its zero point",
    hint="create the ring buffers with zeros; TFLM's own reset fills them with the zero point",
    applies=lambda subject: bool(initialisers(subject)),
)
def initialiser(subject: Subject) -> Iterator[Finding]:
    """The assigned value is the state before the first frame, and must be the state after a reset."""
    assigned: set[Key] = set()
    for graph in initialisers(subject):
        access = state_access(graph)
        for operator in graph.subgraph.operators:
            if operator.op not in ("VAR_HANDLE", "ASSIGN_VARIABLE"):
                yield Finding(f"the initialiser runs {operator.op}", "VAR_HANDLE, ASSIGN_VARIABLE", operator.op)
        for use in access.assigns:
            assigned.add(use.key)
            yield from _initial_value(subject, use)
    for key in dict.fromkeys(state_access(subject.main).handles):
        if key not in assigned:
            yield Finding(f"variable {key[:40]!r} is never initialised")


def _initial_value(subject: Subject, use: Access) -> Iterator[Finding]:
    model, tensor = subject.model, use.value
    where = f"variable {use.key[:40]!r}"
    if not model.is_constant(tensor):
        yield Finding(f"{where} starts from a tensor without data", "a constant")
    elif tensor.dtype == "INT8" and tensor.quantization is not None and model.buffers[tensor.buffer].size:
        data = model.buffers[tensor.buffer]
        values = np.frombuffer(model.content, np.int8, data.size, data.offset)
        point = tensor.quantization.zero_point
        others = values[values != point]
        if others.size:
            message = f"{others.size} values such as {others[0]}"
            yield Finding(f"{where} starts with {message}", f"the zero point, {point}", message)


def _by_key(accesses: tuple[Access, ...]) -> dict[Key, list[Access]]:
    grouped: dict[Key, list[Access]] = {}
    for access in accesses:
        grouped.setdefault(access.key, []).append(access)
    return grouped


def _describe(tensor: Tensor) -> str:
    text = f"{tensor.dtype}{list(tensor.shape)}"
    if tensor.quantization is not None:
        text += f" scale {tensor.quantization.scale:.9g}, zero point {tensor.quantization.zero_point}"
    return text
