"""VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE and CALL_ONCE: their operands; how variables are used is `..state`."""

from __future__ import annotations

from collections.abc import Iterator

from mww.tflite.operator_options import CallOnce, VarHandle
from mww.verification.kernels.node import Node, Problem, operands


@operands((0,), (1,))
def var_handle(node: Node) -> Iterator[Problem]:
    """One RESOURCE output and a name: TFLM compares names with strcmp, and follows a null one."""
    options = node.operator.options
    assert isinstance(options, VarHandle)
    yield from node.dtype(node.output, ("RESOURCE",), "output")
    yield from node.elements(node.output, 1, "output")
    if not options.shared_name:
        yield Problem("it has no shared name", "a name")


@operands((1,), (1,))
def read_variable(node: Node) -> Iterator[Problem]:
    """One RESOURCE input of one element, one output."""
    yield from node.dtype(node.input(0), ("RESOURCE",), "input")
    yield from node.elements(node.input(0), 1, "input")


@operands((2,), (0,))
def assign_variable(node: Node) -> Iterator[Problem]:
    """A RESOURCE input of one element, a value, and no output."""
    yield from node.dtype(node.input(0), ("RESOURCE",), "input 0")
    yield from node.elements(node.input(0), 1, "input 0")


@operands((0,), (0,))
def call_once(node: Node) -> Iterator[Problem]:
    """No operands, and a subgraph that exists."""
    options = node.operator.options
    assert isinstance(options, CallOnce)
    if not 0 <= options.subgraph < len(node.model.subgraphs):
        expected = f"0..{len(node.model.subgraphs) - 1}"
        yield Problem(f"it runs subgraph {options.subgraph}", expected, str(options.subgraph))
