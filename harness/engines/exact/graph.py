"""A model for the exact engine: its operators with their kernels, its variables and constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.engines.exact.kernels import KERNELS, Kernel
from harness.engines.exact.moves import MOVES, Move
from harness.engines.exact.refusal import BYTES, Node, RefusedError
from harness.engines.exact.scratch import Values
from mww.core.errors import ModelFileError
from mww.tflite.model_file import ModelFile, Operator, Subgraph
from mww.tflite.schema import CallOnce, VarHandle

_STATE: Final = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
_TWO_SOURCES: Final = ("ADD", "MUL")
_ALL_SOURCES: Final = ("CONCATENATION", "PACK")


@dataclass(slots=True)
class Variable:
    """A resource variable; `initial` is its value before the first frame, in its shape."""

    shape: tuple[int, ...]
    initial: Values


class Graph:
    """The main subgraph with its variables and constants.

    Attributes:
        kernels: The operators that compute, by operator index.
        moves: The operators that only move bytes, by operator index.
        variables: The variables by number; handles with the same name share a variable.
        constants: By tensor: bytes that the file carries and operators read like an input.
    """

    def __init__(self, model: ModelFile) -> None:
        """Make the kernels and their proofs.

        Raises:
            RefusedError: The model has an operator or option that is not supported.
        """
        self.model = model
        self.operators = model.main.operators
        self.inputs, self.outputs = model.main.inputs, model.main.outputs
        self.kernels: dict[int, Kernel] = {}
        self.moves: dict[int, Move] = {}
        self.variables: list[Variable] = []
        self.constants: dict[int, Values] = {}
        self._names: list[tuple[str | None, str]] = []
        self._handles: dict[int, int] = {}
        self._check_ends()
        self._read_variables()
        written = {*self.inputs}
        for operator in self.operators:
            self._make(operator, written)
        for tensor in self.outputs:
            self._check_written(model.main, tensor, written, "the output")

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of a tensor of the main subgraph."""
        return self.model.main.tensors[tensor].shape

    def variable(self, operator: Operator) -> int:
        """The number of the variable that READ_VARIABLE or ASSIGN_VARIABLE names."""
        return self._handles[operator.inputs[0]]

    @staticmethod
    def sources(operator: Operator) -> tuple[int, ...]:
        """The tensors whose bytes an operator uses or moves; without weights, axes and variables."""
        if operator.op in _STATE:
            return ()
        if operator.op in _ALL_SOURCES:
            return operator.inputs
        return operator.inputs[: 2 if operator.op in _TWO_SOURCES else 1]

    def _check_ends(self) -> None:
        tensors = self.model.main.tensors
        for tensor in (*self.inputs, *self.outputs):
            if tensors[tensor].dtype not in BYTES or not tensors[tensor].elements:
                raise RefusedError(f"an input or output of type {tensors[tensor].dtype} {list(self.shape(tensor))}")
        if len(self.inputs) != 1 or not self.outputs:
            raise RefusedError(f"{len(self.inputs)} inputs and {len(self.outputs)} outputs")

    def _make(self, operator: Operator, written: set[int]) -> None:
        node = Node(self.model, self.model.main, operator)
        if operator.op in _STATE:
            self._check_state(node, written)
        elif operator.op in KERNELS or operator.op in MOVES:
            if not operator.outputs or (len(operator.outputs) > 1 and operator.op != "SPLIT_V"):
                raise node.refused(f"{len(operator.outputs)} outputs")
            for tensor in self.sources(operator):
                if tensor < 0:
                    raise node.refused("an input that is left out")
                self._check_written(self.model.main, tensor, written, f"{operator.op} {operator.index}")
            try:
                if operator.op in KERNELS:
                    self.kernels[operator.index] = KERNELS[operator.op](node)
                else:
                    self.moves[operator.index] = MOVES[operator.op](node)
            except (ValueError, ModelFileError) as error:
                raise error if isinstance(error, RefusedError) else node.refused(str(error)) from error
        else:
            raise node.refused("the operator is not supported")
        if written.intersection(operator.outputs):
            raise node.refused("a tensor that is written twice")
        written.update(operator.outputs)

    def _check_written(self, graph: Subgraph, tensor: int, written: set[int], reader: str) -> None:
        """Refuse a tensor that was never written; note a tensor with data in the file."""
        source = graph.tensors[tensor]
        if tensor in written:
            return
        if not self.model.is_constant(source) or source.dtype not in BYTES:
            raise RefusedError(f"{reader}: tensor {tensor} is read before it is written")
        self.constants[tensor] = self.model.constant(source).astype(np.float32)

    def _check_state(self, node: Node, written: set[int]) -> None:
        operator = node.operator
        if operator.op in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
            variable = self.variables[self._handles[operator.inputs[0]]]
            number = operator.outputs[0] if operator.op == "READ_VARIABLE" else operator.inputs[1]
            tensor = self.model.main.tensors[number]
            if tensor.dtype not in BYTES or tensor.elements != variable.initial.size:
                raise node.refused(f"tensor {number} is {tensor.dtype} {list(tensor.shape)}, the variable another")
            if operator.op == "ASSIGN_VARIABLE":
                self._check_written(self.model.main, number, written, f"ASSIGN_VARIABLE {operator.index}")

    def _read_variables(self) -> None:
        """Find the variables and their initial values: what CALL_ONCE assigns, or the zero point."""
        main, used, started = self.model.main, False, False
        first: dict[int, npt.NDArray[np.generic]] = {}
        for operator in main.operators:
            node = Node(self.model, main, operator)
            if operator.op == "CALL_ONCE":
                if used or started:
                    raise node.refused("variables that are used before they are initialised, or initialised twice")
                started, first = True, self._initialised(node)
            elif operator.op == "VAR_HANDLE":
                self._handles[operator.outputs[0]] = self._number(node)
            elif operator.op in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
                used = True
                if not operator.inputs or operator.inputs[0] not in self._handles:
                    raise node.refused("a variable without a VAR_HANDLE")
        shapes = self._shapes(main)
        for number in range(len(self._names)):
            shape, zero_point = shapes.get(number, ((), 0))
            values = np.full(shape, zero_point, np.float32)
            if number in first:
                if first[number].size != values.size:
                    raise RefusedError(f"CALL_ONCE: variable {self._names[number][1]} is initialised in another size")
                values = first[number].astype(np.float32).reshape(shape)
            self.variables.append(Variable(shape, values))

    def _shapes(self, main: Subgraph) -> dict[int, tuple[tuple[int, ...], int]]:
        """By variable: shape and zero point of the first tensor that is assigned to it, or read from it."""
        shapes: dict[int, tuple[tuple[int, ...], int]] = {}
        for op in ("ASSIGN_VARIABLE", "READ_VARIABLE"):
            for operator in main.operators:
                if operator.op == op:
                    values = operator.inputs[1:] if op == "ASSIGN_VARIABLE" else operator.outputs
                    if len(values) != 1 or values[0] < 0:
                        raise Node(self.model, main, operator).refused("it needs exactly one value")
                    tensor = main.tensors[values[0]]
                    zero_point = tensor.quantization.zero_point if tensor.quantization else 0
                    shapes.setdefault(self.variable(operator), (tensor.shape, zero_point))
        return shapes

    def _number(self, node: Node) -> int:
        """A variable by its names (`MicroResourceVariables::FindId`): an absent container stands for any."""
        options = node.options
        assert isinstance(options, VarHandle)
        for number, (container, name) in enumerate(self._names):
            if name == options.shared_name and options.container in (None, container):
                return number
        self._names.append((options.container, options.shared_name))
        return len(self._names) - 1

    def _initialised(self, node: Node) -> dict[int, npt.NDArray[np.generic]]:
        """The values that the subgraph of CALL_ONCE assigns, by variable; a subgraph that computes is refused."""
        options = node.options
        assert isinstance(options, CallOnce)
        if not 0 < options.subgraph < len(self.model.subgraphs):
            raise node.refused(f"subgraph {options.subgraph}")
        graph, handles = self.model.subgraphs[options.subgraph], dict[int, int]()
        values: dict[int, npt.NDArray[np.generic]] = {}
        for operator in graph.operators:
            inner = Node(self.model, graph, operator)
            if operator.op == "VAR_HANDLE":
                handles[operator.outputs[0]] = self._number(inner)
            elif operator.op == "ASSIGN_VARIABLE" and operator.inputs[0] in handles:
                tensor = inner.input(1)
                if tensor.dtype not in BYTES or not self.model.is_constant(tensor):
                    raise node.refused(f"its subgraph assigns tensor {tensor.index}, which is not constant bytes")
                values[handles[operator.inputs[0]]] = self.model.constant(tensor)
            else:
                raise node.refused(f"its subgraph computes: {operator.op}")
        return values
