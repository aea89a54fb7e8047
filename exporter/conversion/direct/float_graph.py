"""The streaming network as a float `.tflite`, in the form that TensorFlow's converter gives it.

`exporter.conversion.topology` defines the network; this module gives each layer the converter's form: ReLU becomes part
of the operator before it, channels come first in weights, and every convolution has a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from exporter.conversion.direct.graph_builder import Buffers, GraphBuilder
from exporter.conversion.topology import Padding, lay
from exporter.network.architecture import Architecture, Inception, Weights
from mww.esphome.contract import FEATURES
from mww.tflite.model_file import Operator, Tensor
from mww.tflite.model_writer import write_model
from mww.tflite.schema import (
    CallOnce,
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    FullyConnected,
    Pool2D,
    Reshape,
    SplitV,
    StridedSlice,
    VarHandle,
)


def as_converted(
    architecture: Architecture, operators: Sequence[Operator], tensors: Sequence[Tensor]
) -> list[Operator]:
    """Put the operators of the main graph into the converter's order; tensors have the names of their roles."""
    alone = [operator for operator in operators if operator.op == "CALL_ONCE"]
    handles = [operator for operator in operators if operator.op == "VAR_HANDLE"]
    reads = [operator for operator in operators if operator.op == "READ_VARIABLE"]
    starts = [operator for operator in operators if operator.op == "RESHAPE"][:1]
    named = zip(_read_names(architecture, len(reads)), reads, strict=True)
    roots = [read for _, read in sorted(named, key=lambda pair: pair[0], reverse=True)] + starts
    result = _postorder(roots, _consumers(operators, tensors))
    return [replace(operator, index=index) for index, operator in enumerate((*alone, *handles[::-1], *result[::-1]))]


def _read_names(architecture: Architecture, states: int) -> list[str]:
    """The names of the reads of the states, in the order of the states.

    A ring buffer's scope is opened twice, and takes the next free name each time. The second name of the first buffer
    may be that of a later buffer, which then takes a third: the next in the order in which Keras runs the layers, and
    the first ring buffer of an Inception block comes third there.
    """
    streamed_stem = isinstance(architecture, Inception) and any(stem.kernel > 1 for stem in architecture.stems)
    in_block = isinstance(architecture, Inception) and not streamed_stem and states > 1
    taken = 3 if in_block else 1
    names = [f"stream_{state}_{2 if state == taken else 1}_concat" for state in range(states)]
    return [f"stream_{taken}_concat", *names[1:]][:states]


def _consumers(operators: Sequence[Operator], tensors: Sequence[Tensor]) -> Callable[[Operator], list[Operator]]:
    """The operators that follow an operator, the last name first; a ring buffer is read after it is assigned."""
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
    """The reachable operators, each after all that it reaches."""
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


_INITIALISER: Final = 1
"""The subgraph that initialises the states."""

_FROM_TIME_STEP: Final = StridedSlice(0b1101, 0b1111, 0, 0, 0, offset=False)
"""The slice of all dimensions in full, except time, which starts at `begin`."""

_TIME, _CHANNELS = 1, -1


def float_model(architecture: Architecture, weights: Weights) -> bytes:
    """Build the streaming network: float32 [1, stride, 40] to [1, 1], with ring buffers that start at zero.

    Args:
        architecture: The network.
        weights: Its weights, with norms folded by `exporter.conversion.folding`.
    """
    buffers = Buffers()
    layers = _Layers(weights, GraphBuilder(buffers), GraphBuilder(buffers))
    main = layers.main
    features = main.tensor((1, architecture.stride, FEATURES), name="features")
    output = lay(architecture, layers, layers.reshape(features, (architecture.stride, 1, FEATURES), "slices"))
    main.operators[:] = as_converted(architecture, main.operators, main.tensors)
    graphs = [main.subgraph(0, "main", [features], [output])]
    if layers.initialiser.operators:
        graphs.append(layers.initialiser.subgraph(_INITIALISER, "NoOp", [], []))
    return write_model(graphs, buffers.contents)


class _Layers:
    """The layers of `exporter.conversion.topology`; data is the number of a tensor in the main graph."""

    def __init__(self, weights: Weights, main: GraphBuilder, initialiser: GraphBuilder) -> None:
        self.main = main
        self.initialiser = initialiser
        self._weights = weights
        self._states = 0
        self._reshapes: dict[tuple[int, tuple[int, ...]], int] = {}

    def shape(self, data: int) -> tuple[int, int, int]:
        _, time, width, channels = self.main.tensors[data].shape
        return time, width, channels

    def buffer(self, data: int, history: int) -> int:
        if not history:
            return data
        time, width, channels = self.shape(data)
        role = f"stream_{self._states}" if self._states else "stream"
        self._states += 1
        handle = self._state(role, (1, history, width, channels))
        old = self.main.tensor((1, history, width, channels), name=f"{role}_old")
        self.main.operator("READ_VARIABLE", [handle], [old])
        memory = self._join([old, data], (1, history + time, width, channels), _TIME, role)
        kept = self._from_time_step(memory, -history, history, f"{role}_kept")
        self.main.operator("ASSIGN_VARIABLE", [handle, kept])
        return memory

    look_back = buffer

    def align(self, data: int, steps: int, role: str) -> int:
        return data

    def convolution(
        self, data: int, role: str, *, stride: int = 1, dilation: int = 1, padding: Padding = "valid"
    ) -> int:
        kernel, *bias = self._weights[role]
        filters = kernel.shape[3]
        weights = self._constant(kernel.transpose(3, 0, 1, 2), role)
        shift = self._constant(bias[0] if bias else np.zeros(filters), f"{role}_bias")
        time, width, _ = self.shape(data)
        steps = (time - (kernel.shape[0] - 1) * dilation - 1) // stride + 1
        output = self.main.tensor((1, steps, width, filters), name=role)
        options = Conv2D(padding.upper(), (stride, 1), (dilation, 1), "NONE")
        self.main.operator("CONV_2D", [data, weights, shift], [output], options)
        return output

    def depthwise(self, data: int, role: str) -> int:
        kernel, *bias = self._weights[role]
        weights = self._constant(kernel.transpose(3, 0, 1, 2), role)
        time, width, channels = self.shape(data)
        shift = self._constant(bias[0] if bias else np.zeros(channels), f"{role}_bias")
        output = self.main.tensor((1, time - kernel.shape[0] + 1, width, channels), name=role)
        options = DepthwiseConv2D("VALID", (1, 1), (1, 1), 1, "NONE")
        self.main.operator("DEPTHWISE_CONV_2D", [data, weights, shift], [output], options)
        return output

    def norm(self, data: int, role: str) -> int:
        if role not in self._weights:
            return data
        scale, shift = self._weights[role]
        scaled = self._elementwise("MUL", data, self._constant(scale, f"{role}_scale"), role)
        return self._elementwise("ADD", scaled, self._constant(shift, f"{role}_shift"), role)

    def relu(self, data: int, role: str) -> int:
        """Fuse the ReLU into the operator that made the data."""
        operators = self.main.operators
        last = operators[-1]
        if last.op == "RESHAPE":  # which only moves the data
            last = operators[-2]
        assert isinstance(last.options, (Conv2D, Elementwise))
        operators[last.index] = replace(last, options=replace(last.options, activation="RELU"))
        return data

    def add(self, data: int, other: int, role: str) -> int:
        """The converter gives a second summand with many channels one dimension, assuming that it is a bias."""
        shape = self.main.tensors[other].shape
        flat = self._reshaped(other, shape[-1:] if shape[-1] > 1 else shape, f"{role}_second")
        return self._elementwise("ADD", data, flat, role)

    def multiply(self, data: int, other: int, role: str) -> int:
        return self._elementwise("MUL", data, other, role)

    def concatenate(self, parts: Sequence[int], role: str) -> int:
        time, width, _ = self.shape(parts[0])
        channels = sum(self.shape(part)[2] for part in parts)
        return self._join(parts, (1, time, width, channels), _CHANNELS, role)

    def split(self, data: int, sizes: Sequence[int], role: str) -> Sequence[int]:
        time, width, _ = self.shape(data)
        parts = [self.main.tensor((1, time, width, size), name=role) for size in sizes]
        inputs = [data, self.main.numbers(sizes), self.main.numbers(_CHANNELS)]
        self.main.operator("SPLIT_V", inputs, parts, SplitV(len(sizes)))
        return parts

    def cut(self, data: int, steps: int, role: str) -> int:
        time, _, _ = self.shape(data)
        return self._from_time_step(data, steps, time - steps, role)

    def reshape(self, data: int, shape: tuple[int, int, int], role: str) -> int:
        return self._reshaped(data, (1, *shape), role)

    def pool(self, data: int, kind: Literal["average", "max"], window: tuple[int, int], role: str) -> int:
        time, width, channels = self.shape(data)
        output = self.main.tensor((1, time // window[0], width // window[1], channels), name=role)
        options = Pool2D("VALID", window, window, "NONE")
        self.main.operator(f"{kind.upper()}_POOL_2D", [data], [output], options)
        return output

    def dense(self, data: int, role: str) -> int:
        """The converter flattens only data with more than one time step, and leaves out a bias of zero."""
        kernel, bias = self._weights[role]
        if self.shape(data)[0] > 1:
            data = self._reshaped(data, (1, kernel.shape[0]), "flatten")
        weights = self._constant(kernel.T, role)
        shift = self._constant(bias, f"{role}_bias") if bias.any() else -1
        logit = self.main.tensor((1, 1), name=role)
        self.main.operator("FULLY_CONNECTED", [data, weights, shift], [logit], FullyConnected("NONE", 0, False))
        return self.sigmoid(logit, "probability")

    def _state(self, role: str, shape: tuple[int, ...]) -> int:
        """Add a state that starts at zero; return its handle."""
        if not self.initialiser.operators:
            self.main.operator("CALL_ONCE", (), (), CallOnce(_INITIALISER))
        name = VarHandle("", f"{role}/states_1")
        initial = self.initialiser
        filled = initial.tensor((), "RESOURCE", name=role)
        initial.operator("VAR_HANDLE", (), [filled], name)
        initial.operator("ASSIGN_VARIABLE", [filled, initial.initial(np.zeros(shape), "FLOAT32", name=role)])
        handle = self.main.tensor((), "RESOURCE", name=role)
        self.main.operator("VAR_HANDLE", (), [handle], name)
        return handle

    def _constant(self, values: npt.ArrayLike, name: str) -> int:
        return self.main.constant(values, "FLOAT32", name=name)

    def _join(self, parts: Sequence[int], shape: tuple[int, ...], axis: int, role: str) -> int:
        output = self.main.tensor(shape, name=role)
        self.main.operator("CONCATENATION", parts, [output], Concatenation(axis, "NONE"))
        return output

    def _from_time_step(self, data: int, begin: int, steps: int, role: str) -> int:
        _, width, channels = self.shape(data)
        output = self.main.tensor((1, steps, width, channels), name=role)
        numbers = [self.main.numbers(values) for values in ([0, begin, 0, 0], [0, 0, width, channels], [1, 1, 1, 1])]
        self.main.operator("STRIDED_SLICE", [data, *numbers], [output], _FROM_TIME_STEP)
        return output

    def _reshaped(self, data: int, shape: tuple[int, ...], role: str) -> int:
        """Reshape values; the same values in the same shape share a tensor."""
        if shape == self.main.tensors[data].shape:
            return data
        if (data, shape) not in self._reshapes:
            output = self._reshapes[data, shape] = self.main.tensor(shape, name=role)
            self.main.operator("RESHAPE", [data, self.main.numbers(shape)], [output], Reshape(()))
        return self._reshapes[data, shape]

    def _elementwise(self, op: str, data: int, other: int, role: str) -> int:
        output = self.main.tensor(self.main.tensors[data].shape, name=role)
        self.main.operator(op, [data, other], [output], Elementwise("NONE"))
        return output

    def sigmoid(self, data: int, role: str) -> int:
        output = self.main.tensor(self.main.tensors[data].shape, name=role)
        self.main.operator("LOGISTIC", [data], [output])
        return output
