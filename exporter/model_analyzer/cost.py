"""What one inference costs: multiply-accumulates and bytes moved, an operator at a time, from shapes alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

from mww.tflite.model_file import ModelFile, Operator, Subgraph, Tensor
from mww.tflite.operator_options import Pool2D

_WEIGHTED: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of one operator in one inference.

    Attributes:
        macs: Multiply-accumulates; for pools and MEAN the additions.
        weight_bytes: Constants read, each once.
        read_bytes: Activations and state read.
        written_bytes: Activations and state written.
    """

    macs: int = 0
    weight_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.macs + other.macs,
            self.weight_bytes + other.weight_bytes,
            self.read_bytes + other.read_bytes,
            self.written_bytes + other.written_bytes,
        )

    @property
    def moved_bytes(self) -> int:
        """All bytes read and written."""
        return self.weight_bytes + self.read_bytes + self.written_bytes


def operator_cost(model: ModelFile, subgraph: Subgraph, operator: Operator) -> Cost:
    """The cost of an operator; handles of variables and what runs once cost nothing."""
    if operator.op in ("CALL_ONCE", "VAR_HANDLE"):
        return Cost()
    sources = [subgraph.tensors[index] for index in operator.inputs if index >= 0]
    targets = [subgraph.tensors[index] for index in operator.outputs]
    values = [tensor for tensor in sources if tensor.dtype != "RESOURCE"]
    constants = [tensor for tensor in values if model.is_constant(tensor)]
    weights = sum(tensor.nbytes for tensor in constants)
    read = sum(tensor.nbytes for tensor in values) - weights
    written = sum(tensor.nbytes for tensor in targets)
    if operator.op == "READ_VARIABLE":
        read = written
    elif operator.op == "ASSIGN_VARIABLE":
        written = read
    return Cost(_macs(operator, sources, targets), weights, read, written)


def _macs(operator: Operator, sources: list[Tensor], targets: list[Tensor]) -> int:
    if not sources or not targets:
        return 0
    outputs = targets[0].elements
    if operator.op in _WEIGHTED and len(sources) > 1 and sources[1].shape:
        weights = sources[1].shape
        taps = weights[1:3] if operator.op == "DEPTHWISE_CONV_2D" else weights[1:]
        return outputs * prod(taps)
    if isinstance(operator.options, Pool2D):
        return outputs * max(0, prod(operator.options.filter))
    if operator.op == "MEAN":
        return sources[0].elements
    return outputs if operator.op in ("ADD", "MUL") else 0
