"""Activation ranges of a float streaming graph over a long run of frames, vectorised in numpy.

A streaming network whose state continues from frame to frame is one long convolution: each ring buffer becomes a window
that slides over all earlier data. So the ranges that a converter finds by invoking the graph frame after frame are
found in a few matrix products a layer. A graph with an operator that is not known here cannot be computed this way;
`UnknownOperatorError` says the caller to take the slow way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from exporter.network.architecture import FloatArray
from mww.core.errors import ConversionError
from mww.tflite.model_file import ModelFile, Operator
from mww.tflite.schema import (
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    Pool2D,
    Reducer,
    StridedSlice,
)

Ranges = Mapping[int, tuple[float, float]]
"""The least and greatest value of each tensor of the main graph."""

_BLOCK: Final = 1024
"""Frames in a block: large enough for numpy, small enough for the dense layer's windows."""


_FULL_LOGIT: Final = 6.0
"""Its sigmoid is above 254.5 / 255."""


class UnknownOperatorError(ValueError):
    """The graph has an operator, or a use of an operator, that this module does not compute."""


def activation_ranges(model: ModelFile, frames: FloatArray) -> Ranges:
    """Find the range of every computed float tensor.

    Args:
        model: A float streaming model with one input [1, stride, features].
        frames: float32 [frames, stride, features], in the order in which the model hears them; its state starts at zero
            and is never reset.

    Raises:
        UnknownOperatorError: The graph cannot be computed here.
    """
    run = _Run(model)
    for start in range(0, len(frames), _BLOCK):
        run.block(frames[start : start + _BLOCK])
    return run.ranges


def calibrated_ranges(model: ModelFile, frames: FloatArray, *, open_logit: bool) -> Ranges:
    """The ranges to quantise with.

    Args:
        model: As `activation_ranges` takes it.
        frames: As `activation_ranges` takes them.
        open_logit: Whether to extend the logit's range to the highest output byte, because random features do not show
            the logit of a wake word.

    Raises:
        UnknownOperatorError: The graph cannot be computed here.
    """
    ranges = dict(activation_ranges(model, frames))
    if open_logit:
        logit = [operator.inputs[0] for operator in model.main.operators if operator.op == "LOGISTIC"][-1]
        low, high = ranges[logit]
        ranges[logit] = low, max(high, -low, _FULL_LOGIT)
    return ranges


def check_finite(ranges: Ranges) -> None:
    """Refuse ranges that cannot be used for quantisation.

    Raises:
        ConversionError: A range is not finite.
    """
    if not np.isfinite(list(ranges.values())).all():
        raise ConversionError("the network's activations overflow", hint="did training diverge?")


class _Run:
    """The state of a run: the content of the ring buffers, and the ranges so far."""

    def __init__(self, model: ModelFile) -> None:
        self.model = model
        self.tensors = model.main.tensors
        self.ranges: dict[int, tuple[float, float]] = {}
        self._variables: dict[int, int] = {}
        self._held: dict[int, FloatArray] = {}
        self._values: dict[int, FloatArray] = {}
        self._readers: dict[int, tuple[int, int]] = {}

    def block(self, frames: FloatArray) -> None:
        """Run consecutive frames; every value is [frames, *the tensor's shape]."""
        self._values = {}
        self._readers = {}
        self._set(self.model.main.inputs[0], frames[:, None])
        for operator in self.model.main.operators:
            self._run(operator)

    def _run(self, operator: Operator) -> None:
        if operator.op in ("CALL_ONCE", "ASSIGN_VARIABLE"):
            return
        output = operator.outputs[0]
        if operator.op == "VAR_HANDLE":
            self._variables[output] = output
        elif operator.op == "READ_VARIABLE":
            self._readers[output] = (operator.inputs[0], self.tensors[output].shape[1])
        elif operator.op == "STRIDED_SLICE" and operator.inputs[0] in self._readers:
            self._readers[output] = (self._readers[operator.inputs[0]][0], self.tensors[output].shape[1])
        elif operator.op == "CONCATENATION" and operator.inputs[0] in self._readers:
            self._ring(operator)
        elif operator.op == "SPLIT_V":
            self._split(operator)
        elif operator.op in _OPERATORS:
            self._set(output, _OPERATORS[operator.op](self, operator))
        else:
            raise UnknownOperatorError(f"{operator.op} can only be computed by TensorFlow's converter")

    def _set(self, tensor: int, value: FloatArray) -> None:
        self._values[tensor] = value
        self._widen(tensor, value)

    def _widen(self, tensor: int, value: FloatArray) -> None:
        low, high = float(value.min()), float(value.max())
        if tensor in self.ranges:
            low, high = min(low, self.ranges[tensor][0]), max(high, self.ranges[tensor][1])
        self.ranges[tensor] = (low, high)

    def value(self, tensor: int) -> FloatArray:
        """A computed value [frames, ...], or a constant [1, ...]."""
        if tensor in self._values:
            return self._values[tensor]
        if tensor < 0 or not self.model.is_constant(self.tensors[tensor]):
            raise UnknownOperatorError(f"tensor {tensor} is used before it is computed")
        return self.constant(tensor)[None].astype(np.float32)

    def constant(self, tensor: int) -> npt.NDArray[np.generic]:
        """A constant in its shape."""
        return self.model.constant(self.tensors[tensor])

    def _ring(self, operator: Operator) -> None:
        """A ring buffer and the newest time steps: their window slides over all data so far."""
        (old, new), output = operator.inputs, operator.outputs[0]
        variable, history = self._readers[old]
        newest = self.value(new)
        count, _, steps, _, channels = newest.shape
        length = self.tensors[output].shape[1]
        if new in self._readers or length != history + steps:
            raise UnknownOperatorError("a concatenation in time that is not a ring buffer")
        held = self._held.get(variable, np.zeros((history, channels), np.float32))
        line = np.concatenate([held[-history:] if history else held[:0], newest.reshape(count * steps, channels)])
        windows = np.lib.stride_tricks.sliding_window_view(line, length, axis=0)[::steps]
        self._values[output] = windows.transpose(0, 2, 1)[:, None, :, None, :]
        cuts = (tensor for tensor, (read, _) in self._readers.items() if read == variable)
        for tensor in (output, *cuts):  # a window's range is the line's
            self._widen(tensor, line)
        self._held[variable] = line[-length:].copy()

    def _split(self, operator: Operator) -> None:
        value = self.value(operator.inputs[0])
        sizes = self.constant(operator.inputs[1]).astype(int)
        axis = int(self.constant(operator.inputs[2])) % (value.ndim - 1) + 1
        for output, part in zip(operator.outputs, np.split(value, np.cumsum(sizes)[:-1], axis=axis), strict=True):
            self._set(output, part)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.tensors[tensor].shape


def _activated(value: FloatArray, activation: str) -> FloatArray:
    if activation == "NONE":
        return value
    if activation != "RELU":
        raise UnknownOperatorError(f"activation {activation}")
    return np.maximum(value, np.float32(0))


def _bias(run: _Run, operator: Operator) -> FloatArray:
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return np.zeros(1, np.float32)
    bias: FloatArray = run.value(operator.inputs[2])[0]
    return bias


def _patches(run: _Run, operator: Operator, options: Conv2D | DepthwiseConv2D, length: int) -> list[FloatArray]:
    """The kernel's window for each output step: float32 [frames, length, channels]."""
    value = run.value(operator.inputs[0])
    dilation, stride = options.dilation[0], options.stride[0]
    reach = (length - 1) * dilation + 1
    if value.ndim != 5 or value.shape[3] != 1 or (options.padding == "SAME" and reach > 1):
        raise UnknownOperatorError("a convolution over more than time")
    starts = range(0, value.shape[2] - reach + 1, stride)
    return [value[:, 0, start : start + reach : dilation, 0] for start in starts]


def _conv_2d(run: _Run, operator: Operator) -> FloatArray:
    assert isinstance(operator.options, Conv2D)
    weights = run.value(operator.inputs[1])[0]
    filters, length, _, channels = weights.shape
    matrix = weights.reshape(filters, length * channels).T
    patches = _patches(run, operator, operator.options, length)
    rows = (np.ascontiguousarray(patch.reshape(len(patch), length * channels)) for patch in patches)
    steps = [patch @ matrix for patch in rows]  # windows that overlap in memory would be multiplied without BLAS
    value = np.stack(steps, axis=1)[:, None, :, None, :] + _bias(run, operator)
    return _activated(value, operator.options.activation)


def _depthwise_conv_2d(run: _Run, operator: Operator) -> FloatArray:
    assert isinstance(operator.options, DepthwiseConv2D)
    weights = run.value(operator.inputs[1])[0, 0, :, 0]
    if operator.options.depth_multiplier != 1:
        raise UnknownOperatorError("a depth multiplier")
    patches = _patches(run, operator, operator.options, len(weights))
    steps = [np.einsum("nkc,kc->nc", patch, weights) for patch in patches]
    value = np.stack(steps, axis=1)[:, None, :, None, :] + _bias(run, operator)
    return _activated(value, operator.options.activation)


def _fully_connected(run: _Run, operator: Operator) -> FloatArray:
    weights = run.value(operator.inputs[1])[0]
    inputs = run.value(operator.inputs[0])
    rows = np.ascontiguousarray(inputs.reshape(len(inputs), weights.shape[1]))
    value: FloatArray = rows @ weights.T + _bias(run, operator)
    return value.reshape(len(inputs), *run.shape(operator.outputs[0]))


def _elementwise(run: _Run, operator: Operator) -> FloatArray:
    assert isinstance(operator.options, Elementwise)
    left, right = (run.value(tensor) for tensor in operator.inputs)
    rank = max(left.ndim, right.ndim)
    left, right = (value.reshape(len(value), *(1,) * (rank - value.ndim), *value.shape[1:]) for value in (left, right))
    value = left + right if operator.op == "ADD" else left * right
    return _activated(value, operator.options.activation)


def _reshape(run: _Run, operator: Operator) -> FloatArray:
    value = run.value(operator.inputs[0])
    return value.reshape(len(value), *run.shape(operator.outputs[0]))


def _strided_slice(run: _Run, operator: Operator) -> FloatArray:
    options = operator.options
    assert isinstance(options, StridedSlice)
    if options.ellipsis_mask or options.new_axis_mask or options.shrink_axis_mask or options.offset:
        raise UnknownOperatorError("a slice that changes the number of dimensions")
    begin, end, step = (run.constant(tensor).tolist() for tensor in operator.inputs[1:4])
    slices = tuple(
        slice(None if options.begin_mask >> axis & 1 else low, None if options.end_mask >> axis & 1 else high, by)
        for axis, (low, high, by) in enumerate(zip(begin, end, step, strict=True))
    )
    index = (slice(None), *slices)
    return run.value(operator.inputs[0])[index]


def _concatenation(run: _Run, operator: Operator) -> FloatArray:
    assert isinstance(operator.options, Concatenation)
    values = [run.value(tensor) for tensor in operator.inputs]
    axis = operator.options.axis % (values[0].ndim - 1) + 1
    return np.concatenate(values, axis=axis)


def _pool(run: _Run, operator: Operator) -> FloatArray:
    """Pooling over all dimensions except frames and channels, for heads and attention."""
    assert isinstance(operator.options, Pool2D)
    value = run.value(operator.inputs[0])
    if value.shape[2:4] != operator.options.filter:
        raise UnknownOperatorError("pooling over a part of time")
    average = operator.op == "AVERAGE_POOL_2D"
    pooled: FloatArray = value.mean((2, 3), keepdims=True) if average else value.max((2, 3), keepdims=True)
    return _activated(pooled, operator.options.activation)


def _mean(run: _Run, operator: Operator) -> FloatArray:
    assert isinstance(operator.options, Reducer)
    value = run.value(operator.inputs[0])
    axes = tuple(int(axis) % (value.ndim - 1) + 1 for axis in run.constant(operator.inputs[1]).ravel())
    mean: FloatArray = value.mean(axis=axes)
    return mean.reshape(len(value), *run.shape(operator.outputs[0]))


def _logistic(run: _Run, operator: Operator) -> FloatArray:
    value = run.value(operator.inputs[0])
    return (1 / (1 + np.exp(-value.astype(np.float64)))).astype(np.float32)


_OPERATORS: Final[dict[str, Callable[[_Run, Operator], FloatArray]]] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
    "ADD": _elementwise,
    "MUL": _elementwise,
    "RESHAPE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "CONCATENATION": _concatenation,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "LOGISTIC": _logistic,
}
