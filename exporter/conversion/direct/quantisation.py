"""Makes the int8 model for devices from a float streaming model and the ranges of its tensors.

Operators that only move data keep its scale; every other result has its own scale. The arithmetic is in
`exporter.conversion.direct.scales`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from exporter.conversion.direct.graph_builder import Buffers, GraphBuilder
from exporter.conversion.direct.scales import (
    Doubles,
    activation_scale,
    bias_scales,
    quantised_bias,
    quantised_operand,
    quantised_weights,
    weight_scales,
)
from exporter.conversion.ranges import Ranges
from exporter.network.architecture import FloatArray
from mww.esphome.contract import OUTPUT_SCALE, OUTPUT_ZERO_POINT
from mww.tflite.model_file import ModelFile, Operator, Quantization, Subgraph
from mww.tflite.model_writer import write_model
from mww.tflite.schema import VarHandle

Integers: TypeAlias = npt.NDArray[np.int8] | npt.NDArray[np.int32]

_SAME_SCALE: Final = frozenset(
    {"RESHAPE", "STRIDED_SLICE", "SPLIT_V", "CONCATENATION", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
)
_PROBABILITY: Final = Quantization((1 / 256,), (-128,), 0)
"""Scale and zero point of LOGISTIC's output, which the runtime fixes."""

_CHANNEL: Final[Mapping[str, int | None]] = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": None}
"""The dimension of the weights along which each entry has its own scale."""


def quantise(model: ModelFile, ranges: Ranges) -> bytes:
    """Make the int8 model: int8 in, uint8 out, int8 states that start at their zero point.

    Args:
        model: A float model from `exporter.conversion.direct.float_graph`.
        ranges: The range of every computed tensor.
    """
    buffers = Buffers()
    main = _Quantiser(model, ranges, buffers)
    graphs = [main.subgraph()]
    graphs += [_initialiser(graph, main.states(), buffers) for graph in model.subgraphs[1:]]
    return write_model(graphs, buffers.contents)


class _Quantiser:
    def __init__(self, model: ModelFile, ranges: Ranges, buffers: Buffers) -> None:
        self._model = model
        self._graph = model.main
        self._ranges = ranges
        self._builder = GraphBuilder(buffers)
        self._scales = dict(self._activation_scales())
        self._new: dict[int, int] = {}

    def subgraph(self) -> Subgraph:
        """The int8 main graph, with the operator that makes the output uint8."""
        builder = self._builder
        for operator in self._graph.operators:
            inputs = self._inputs(operator)
            builder.operator(operator.op, inputs, [self._activation(t) for t in operator.outputs], operator.options)
        (output,) = self._graph.outputs
        shape = self._graph.tensors[output].shape
        unsigned = Quantization((OUTPUT_SCALE,), (OUTPUT_ZERO_POINT,), 0)
        result = builder.tensor(shape, "UINT8", name="output", quantization=unsigned)
        builder.operator("QUANTIZE", [self._activation(output)], [result])
        return builder.subgraph(0, self._graph.name, [self._activation(t) for t in self._graph.inputs], [result])

    def states(self) -> Mapping[str, Quantization]:
        """The quantisation of each state, by its shared name."""
        names = _state_names(self._graph)
        reads = (operator for operator in self._graph.operators if operator.op == "READ_VARIABLE")
        return {names[read.inputs[0]]: self._scales[read.outputs[0]] for read in reads}

    def _activation_scales(self) -> Iterator[tuple[int, Quantization]]:
        for moved in _moved_together(self._graph, self._model):
            low, high = self._ranges[_governor(self._graph, moved)]
            for tensor in moved:
                yield tensor, activation_scale(low, high)
        for operator in self._graph.operators:
            if operator.op == "LOGISTIC":
                yield operator.outputs[0], _PROBABILITY

    def _activation(self, index: int) -> int:
        """A computed tensor's number in the int8 graph."""
        if index not in self._new:
            tensor = self._graph.tensors[index]
            dtype = "RESOURCE" if tensor.dtype == "RESOURCE" else "INT8"
            scales = self._scales.get(index)
            self._new[index] = self._builder.tensor(tensor.shape, dtype, name=tensor.name, quantization=scales)
        return self._new[index]

    def _inputs(self, operator: Operator) -> list[int]:
        if operator.op in _CHANNEL:
            return [self._activation(operator.inputs[0]), *self._layer(operator)]
        return [self._operand(index) for index in operator.inputs]

    def _operand(self, index: int) -> int:
        tensor = self._graph.tensors[index]
        if not self._model.is_constant(tensor):
            return self._activation(index)
        values = self._model.constant(tensor)
        if tensor.dtype == "INT32":
            return self._builder.numbers(values)
        quantised, scales = quantised_operand(values.astype(np.float32))
        return self._builder.constant(quantised, "INT8", name=tensor.name, quantization=scales)

    def _layer(self, operator: Operator) -> tuple[int, int]:
        """Weights and bias of a convolution or dense layer."""
        data, weights_index, bias_index = operator.inputs
        dimension = _CHANNEL[operator.op]
        weights = self._float(weights_index)
        scales = weight_scales(weights, dimension)
        bias = -1
        if bias_index >= 0:
            shift = self._float(bias_index)
            bias_scale, scales = bias_scales(shift, self._scales[data].scale, scales)
            bias = self._scaled(bias_index, quantised_bias(shift, bias_scale), "INT32", bias_scale, 0)
        values = quantised_weights(weights, scales, dimension)
        return self._scaled(weights_index, values, "INT8", scales, dimension or 0), bias

    def _float(self, index: int) -> FloatArray:
        return self._model.constant(self._graph.tensors[index]).astype(np.float32)

    def _scaled(self, index: int, values: Integers, dtype: str, scales: Doubles, dimension: int) -> int:
        """A constant with symmetric scales."""
        quantization = Quantization(tuple(scales.astype(np.float32).tolist()), (0,) * len(scales), dimension)
        name = self._graph.tensors[index].name
        return self._builder.constant(values, dtype, name=name, quantization=quantization)


def _initialiser(graph: Subgraph, states: Mapping[str, Quantization], buffers: Buffers) -> Subgraph:
    """The subgraph that initialises the states, with the int8 values for zero."""
    names = _state_names(graph)
    builder = GraphBuilder(buffers)
    for operator in graph.operators:
        if operator.op == "ASSIGN_VARIABLE":
            handle, initial = operator.inputs
            name, tensor = names[handle], graph.tensors[initial]
            new = builder.tensor((), "RESOURCE", name=name)
            builder.operator("VAR_HANDLE", (), [new], VarHandle("", name))
            zeros = np.full(tensor.shape, states[name].zero_point, np.int8)
            filled = builder.initial(zeros, "INT8", name=tensor.name, quantization=states[name])
            builder.operator("ASSIGN_VARIABLE", [new, filled])
    return builder.subgraph(graph.index, graph.name, [], [])


def _state_names(graph: Subgraph) -> Mapping[int, str]:
    """The shared names of states, by handle."""
    return {
        operator.outputs[0]: operator.options.shared_name
        for operator in graph.operators
        if isinstance(operator.options, VarHandle)
    }


def _moved_together(graph: Subgraph, model: ModelFile) -> list[set[int]]:
    """The computed tensors in sets that must share a scale, since only moves lie between them."""
    sets: list[set[int]] = []
    for operator in graph.operators:
        floats = {t for t in (*operator.inputs, *operator.outputs) if t >= 0 and _is_computed(graph, model, t)}
        for links in [floats] if operator.op in _SAME_SCALE else [{tensor} for tensor in floats]:
            joined = [entry for entry in sets if entry & links]
            sets = [entry for entry in sets if not entry & links] + [links.union(*joined)]
    return sets


def _is_computed(graph: Subgraph, model: ModelFile, index: int) -> bool:
    tensor = graph.tensors[index]
    return tensor.dtype == "FLOAT32" and not model.is_constant(tensor)


def _governor(graph: Subgraph, moved: set[int]) -> int:
    """The tensor whose range applies to a whole set: the last concatenated tensor, else the first.

    The converter propagates ranges forward through moves, and back through concatenations (`RemoveRedundantStatsOps`).
    """
    outputs = [operator.outputs[0] for operator in graph.operators if operator.op == "CONCATENATION"]
    joined = [output for output in outputs if output in moved]
    return joined[-1] if joined else min(moved)
