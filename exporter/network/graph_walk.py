"""Walks a streaming `.tflite`: which operator uses whose values, through ring buffers and slices.

`exporter.network.streaming_graph` recognises the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from exporter.network.architecture import Pooling
from mww.tflite.model_file import ModelFile, Operator
from mww.tflite.schema import Pool2D

_MOVES = frozenset({"RESHAPE", "STRIDED_SLICE", "SPLIT_V"})
_PLUMBING = frozenset({"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})


@dataclass(frozen=True, slots=True)
class Site:
    """An operator and its role."""

    role: str
    operator: Operator


class UnlikeError(ValueError):
    """The graph is neither MixedNet nor Inception; the text says where it differs."""


class GraphWalk:
    """The operators that compute; `take` gives each its role.

    An unexpected graph raises UnlikeError, IndexError or KeyError; the caller turns them into one error.

    Attributes:
        sites: The operators with roles so far.
        origins: Every tensor that only holds another's values (ring buffers, slices, splits) to that other.
    """

    def __init__(self, model: ModelFile) -> None:
        self.model = model
        self.tensors = model.main.tensors
        self.origins: dict[int, int] = {}
        self.sites: list[Site] = []
        self._remembered: set[int] = set()
        self._taken: set[int] = set()
        self._consumers: dict[int, list[Operator]] = {}
        for operator in model.main.operators:
            self._index(operator)

    def _index(self, operator: Operator) -> None:
        """Record the values that an operator's outputs hold, or the values that it uses."""
        if operator.op == "READ_VARIABLE":
            self._remembered.update(operator.outputs)
        elif operator.op in _MOVES:
            for output in operator.outputs:
                self.origins[output] = self.origin(operator.inputs[0])
            if operator.inputs[0] in self._remembered:
                self._remembered.update(operator.outputs)
        elif operator.op == "CONCATENATION" and self._remembered.intersection(operator.inputs):
            self._index_ring(operator)
        elif operator.op not in _PLUMBING:
            for tensor in dict.fromkeys(operator.inputs):
                if tensor >= 0 and not self.model.is_constant(self.tensors[tensor]):
                    self._consumers.setdefault(self.origin(tensor), []).append(operator)

    def _index_ring(self, operator: Operator) -> None:
        """A ring buffer holds the values that will be assigned to it: point it, and its slices, at these values."""
        old, new = operator.inputs
        if old not in self._remembered or new in self._remembered:
            self.unexpected(operator)
        source = self.origin(new)
        for tensor in (operator.outputs[0], self.origin(old), old):
            self.origins[tensor] = source

    def origin(self, tensor: int) -> int:
        """The computed tensor (or input) with the values of a tensor."""
        return self.origins.get(tensor, tensor)

    def unexpected(self, operator: Operator) -> NoReturn:
        """Raise that an operator is not the expected one."""
        raise UnlikeError(f"operator {operator.index} ({operator.op}) is not where MixedNet or Inception has one")

    def take(self, role: str, operator: Operator, op: str | None = None) -> int:
        """Give an operator its role and return its output."""
        if op is not None and operator.op != op:
            self.unexpected(operator)
        if operator.index in self._taken:  # a cycle, which converters never write
            self.unexpected(operator)
        self._taken.add(operator.index)
        self.sites.append(Site(role, operator))
        return operator.outputs[0]

    def consumers(self, tensor: int, *ops: str) -> list[Operator]:
        """The operators that use a tensor's values, of given kinds or of all kinds."""
        result = self._consumers.get(tensor, [])
        return [operator for operator in result if operator.op in ops] if ops else result

    def only(self, tensor: int) -> Operator:
        """The only operator that uses a tensor's values."""
        result = self.consumers(tensor)
        if len(result) != 1:
            raise UnlikeError(f"tensor {tensor} is used {len(result)} times where one use is expected")
        return result[0]

    def channels(self, tensor: int) -> int:
        """Size of the last dimension."""
        return self.tensors[tensor].shape[-1]

    def constant_size(self, operator: Operator) -> int:
        """Elements of the constant operand of MUL or ADD."""
        return self.tensors[constant_operand(self.model, operator)].elements

    def weights_shape(self, operator: Operator) -> tuple[int, ...]:
        """Shape of the weights of a convolution (filters, height, width, channels) or dense layer."""
        return self.tensors[operator.inputs[1]].shape

    def dense(self, tensor: int) -> tuple[Pooling, int]:
        """Read the head from a tensor on; return its pooling and its number of time steps."""
        operator = self.only(tensor)
        pooling: Pooling = "flat"
        frames = 1
        if operator.op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN"):
            pooling = "max" if operator.op == "MAX_POOL_2D" else "average"
            frames = self.tensors[operator.inputs[0]].shape[1]
            if isinstance(operator.options, Pool2D) and operator.options.filter != (frames, 1):
                self.unexpected(operator)
            tensor = self.take("pool", operator)
            operator = self.only(tensor)
        inputs = self.weights_shape(operator)[1]
        logit = self.take("dense", operator, "FULLY_CONNECTED")
        if pooling == "flat":
            frames, rest = divmod(inputs, self.channels(tensor))
            if rest:
                self.unexpected(operator)
        output = self.take("probability", self.only(logit), "LOGISTIC")
        for operator in self.consumers(output):
            if operator.op != "QUANTIZE":
                self.unexpected(operator)
        return pooling, frames


def constant_operand(model: ModelFile, operator: Operator) -> int:
    """The operand of MUL or ADD that the file carries.

    Raises:
        UnlikeError: Neither is constant.
    """
    tensors = model.main.tensors
    results = [tensor for tensor in operator.inputs if tensor >= 0 and model.is_constant(tensors[tensor])]
    if len(results) != 1:
        raise UnlikeError(f"operator {operator.index} ({operator.op}) has no constant operand")
    return results[0]


def has_bias(model: ModelFile, operator: Operator) -> bool:
    """Whether a convolution or dense layer has a bias that is not zero."""
    bias = operator.inputs[2] if len(operator.inputs) > 2 else -1
    return bias >= 0 and bool(model.constant(model.main.tensors[bias]).astype(bool).any())
