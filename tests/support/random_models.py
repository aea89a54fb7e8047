"""Random streaming models of ESPHome's 20 operators, legal and as unlike each other as they can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support.synthetic import Graph, pack

_ACTIVATIONS = (0, 0, 1, 2, 3)  # NONE, RELU, RELU_N1_TO_1, RELU6 by the schema's numbers


@dataclass
class Value:
    """A tensor `[1, rows, columns, channels]` under construction."""

    index: int
    shape: tuple[int, int, int, int]
    scale: float
    zero_point: int

    @property
    def quantization(self) -> dict[str, Any]:
        return {"scales": (self.scale,), "zero_points": (self.zero_point,)}


@dataclass
class Maker:
    """Makes one model."""

    random: np.random.Generator
    main: Graph = field(default_factory=Graph)
    first: Graph = field(default_factory=Graph)
    variables: int = 0

    def choose(self, *values: Any) -> Any:
        return values[int(self.random.integers(len(values)))]

    def new(self, shape: tuple[int, ...], scale: float, zero_point: int, dtype: str = "INT8") -> Value:
        index = self.main.tensor(shape, dtype, scales=(scale,), zero_points=(zero_point,))
        return Value(index, shape, float(np.float32(scale)), zero_point)  # type: ignore[arg-type]

    def like(self, shape: tuple[int, ...], value: Value) -> Value:
        return self.new(shape, value.scale, value.zero_point)

    def constant(self, values: Any) -> int:
        return self.main.constant(values)

    def computed(self, shape: tuple[int, ...], scale: float) -> Value:
        """A result of about this scale: sometimes a power of two, which makes exact ties."""
        if self.random.random() < 0.3:
            scale = 2.0 ** round(math.log2(scale))
        return self.new(shape, scale, self.choose(-128, -128, 0, int(self.random.integers(-128, 128))))

    def weights(self, shape: tuple[int, ...], dimension: int) -> tuple[int, np.ndarray, int]:
        """Weights with their scales, of each channel or of all."""
        channels = shape[dimension]
        count = channels if self.random.random() < 0.7 else 1
        scales = np.float32(0.01) * np.float32(2.0) ** self.random.uniform(-2, 2, count).astype(np.float32)
        if self.random.random() < 0.2:
            scales = np.full(count, 2.0**-7, np.float32)
        data = self.random.integers(-127, 128, shape, np.int8)
        tensor = self.main.tensor(shape, scales=scales.tolist(), dimension=dimension, data=data.tobytes())
        return tensor, scales, math.prod(shape) // channels

    def bias(self, channels: int, scale: float, scales: np.ndarray, depth: int) -> list[int]:
        """A bias that matters, or none."""
        if self.random.random() < 0.2:
            return []
        values = self.random.integers(-60 * 60 * depth, 60 * 60 * depth + 1, channels).astype("<i4")
        steps = [float(np.float32(scale) * item) for item in scales]
        return [self.main.tensor([channels], "INT32", scales=steps, data=values.tobytes())]

    def window(self, value: Value) -> tuple[dict[str, Any], int, int, tuple[int, int], tuple[int, int]] | None:
        """A window that fits: options, its size, and what it gives."""
        _, rows, columns, _ = value.shape
        high, wide = (int(self.random.integers(1, min(size, 4) + 1)) for size in (rows, columns))
        down, right = (int(self.random.integers(1, 4)) for _ in range(2))
        padding = int(self.random.integers(2))  # SAME, VALID
        if padding == 0:
            sizes = (-(-rows // down), -(-columns // right))
        else:
            sizes = ((rows - high) // down + 1, (columns - wide) // right + 1)
        return {"padding": padding, "strideH": down, "strideW": right}, high, wide, sizes, (rows, columns)

    def convolution(self, value: Value) -> Value:
        options, high, wide, sizes, _ = self.window(value)
        channels = int(self.choose(1, 3, 8, 16))
        weights, scales, depth = self.weights((channels, high, wide, value.shape[3]), 0)
        bias = self.bias(channels, value.scale, scales, depth)
        output = self.computed((1, *sizes, channels), value.scale * float(scales.mean()) * 60 * math.sqrt(depth))
        options["fusedActivationFunction"] = self.choose(*_ACTIVATIONS)
        self.main.operator("CONV_2D", [value.index, weights, *bias], [output.index], **options)
        return output

    def depthwise(self, value: Value) -> Value:
        options, high, wide, sizes, _ = self.window(value)
        multiplier = int(self.choose(1, 1, 1, 2))
        channels = value.shape[3] * multiplier
        weights, scales, depth = self.weights((1, high, wide, channels), 3)
        bias = self.bias(channels, value.scale, scales, depth)
        output = self.computed((1, *sizes, channels), value.scale * float(scales.mean()) * 60 * math.sqrt(depth))
        options |= {"depthMultiplier": multiplier, "fusedActivationFunction": self.choose(*_ACTIVATIONS)}
        self.main.operator("DEPTHWISE_CONV_2D", [value.index, weights, *bias], [output.index], **options)
        return output

    def dilated(self, value: Value) -> Value:
        rows, channels = value.shape[1], value.shape[3]
        gap = int(self.random.integers(1, 4))
        high = min(3, (rows - 1) // gap + 1)
        weights, scales, depth = self.weights((4, high, 1, channels), 0)
        bias = self.bias(4, value.scale, scales, depth)
        sizes = (rows - (high - 1) * gap, value.shape[2])
        output = self.computed((1, *sizes, 4), value.scale * float(scales.mean()) * 60 * math.sqrt(depth))
        options = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": gap, "dilationWFactor": 1}
        self.main.operator("CONV_2D", [value.index, weights, *bias], [output.index], **options)
        return output

    def pool(self, value: Value) -> Value:
        options, high, wide, sizes, _ = self.window(value)
        output = self.like((1, *sizes, value.shape[3]), value)
        options |= {"filterHeight": high, "filterWidth": wide, "fusedActivationFunction": self.choose(*_ACTIVATIONS)}
        self.main.operator(self.choose("AVERAGE_POOL_2D", "MAX_POOL_2D"), [value.index], [output.index], **options)
        return output

    def ring(self, value: Value) -> Value:
        """The last rows of what came, in front of it, in one of the forms that converters write."""
        _, rows, columns, channels = value.shape
        kept = int(self.random.integers(1, 6))
        name = f"ring_{self.variables}".encode()
        self.variables += 1
        handle = self.main.tensor([], "RESOURCE", scales=())
        state, whole = (self.like((1, size, columns, channels), value) for size in (kept, kept + rows))
        after = self.like(state.shape, value)
        self.main.operator("VAR_HANDLE", [], [handle], container=b"", sharedName=name)
        self.main.operator("READ_VARIABLE", [handle], [state.index])
        self.main.operator("CONCATENATION", [state.index, value.index], [whole.index], axis=1)
        bounds = ([0, rows, 0, 0], [1, kept + rows, columns, channels], [1, 1, 1, 1])
        self.main.operator("STRIDED_SLICE", [whole.index, *map(self.constant, bounds)], [after.index])
        self.main.operator("ASSIGN_VARIABLE", [handle, after.index], [])
        if self.random.random() < 0.7:
            same = self.first.tensor([], "RESOURCE", scales=())
            data = self.random.integers(-128, 128, state.shape, np.int8).tobytes()
            initial = self.first.tensor(state.shape, data=data, **value.quantization)
            self.first.operator("VAR_HANDLE", [], [same], container=b"", sharedName=name)
            self.first.operator("ASSIGN_VARIABLE", [same, initial], [])
        return self.choose(whole, whole, whole, state)

    def pad(self, value: Value) -> Value:
        around = [(0, 0), *((int(n), int(m)) for n, m in self.random.integers(0, 2, (2, 2))), (0, 0)]
        shape = tuple(size + sum(pair) for size, pair in zip(value.shape, around, strict=True))
        output = self.like(shape, value)
        self.main.operator("PAD", [value.index, self.constant(around)], [output.index])
        return output

    def elementwise(self, value: Value) -> Value:
        op, other = self.choose("ADD", "MUL"), value
        if self.random.random() < 0.5:
            shape = self.choose((1, 1, 1, value.shape[3]), value.shape, (1, 1, 1, 1))
            data = self.random.integers(-128, 128, shape, np.int8).tobytes()
            scale, point = float(self.choose(0.05, value.scale)), int(self.random.integers(-128, 128))
            other = Value(
                self.main.tensor(shape, scales=(scale,), zero_points=(point,), data=data), shape, scale, point
            )
        scale = value.scale + other.scale if op == "ADD" else value.scale * other.scale * 90
        output = self.computed(value.shape, scale)
        self.main.operator(
            op, [value.index, other.index], [output.index], fusedActivationFunction=self.choose(*_ACTIVATIONS)
        )
        return output

    def side_by_side(self, value: Value) -> Value:
        """MixNet: channels split, each part with a kernel of its own over the last rows, and put together again."""
        _, rows, columns, channels = value.shape
        if channels < 2 or columns != 1:
            return self.requantized(value)
        half = channels // 2
        parts = [self.like((1, rows, 1, size), value) for size in (half, channels - half)]
        sizes = self.constant([half, channels - half])
        self.main.operator(
            "SPLIT_V", [value.index, sizes, self.constant(3)], [part.index for part in parts], numSplits=2
        )
        output, made = self.computed((1, 1, 1, channels), value.scale), []
        for part in parts:
            length = int(self.random.integers(1, rows + 1))
            last = self.like((1, length, 1, part.shape[3]), part)
            bounds = ([0, rows - length, 0, 0], [1, rows, 1, part.shape[3]], [1, 1, 1, 1])
            self.main.operator("STRIDED_SLICE", [part.index, *map(self.constant, bounds)], [last.index])
            weights, scales, depth = self.weights((1, length, 1, part.shape[3]), 3)
            bias = self.bias(part.shape[3], part.scale, scales, depth)
            result = self.like((1, 1, 1, part.shape[3]), output)
            options = {"padding": 1, "strideH": 1, "strideW": 1, "depthMultiplier": 1}
            self.main.operator("DEPTHWISE_CONV_2D", [last.index, weights, *bias], [result.index], **options)
            made.append(result.index)
        self.main.operator("CONCATENATION", made, [output.index], axis=self.choose(3, -1))
        return output

    def stacked(self, value: Value) -> Value:
        _, rows, columns, channels = value.shape
        pair, column = self.like((2, *value.shape), value), self.like((1, 2 * rows, columns, channels), value)
        self.main.operator("PACK", [value.index, value.index], [pair.index], axis=0, valuesCount=2)
        self.main.operator("RESHAPE", [pair.index, self.constant(column.shape)], [column.index], newShape=column.shape)
        return column

    def requantized(self, value: Value) -> Value:
        output = self.computed(value.shape, value.scale * float(self.random.uniform(0.3, 3)))
        self.main.operator("QUANTIZE", [value.index], [output.index])
        return output

    def sliced(self, value: Value) -> Value:
        begin = [0, *(int(self.random.integers(0, size)) for size in value.shape[1:3]), 0]
        step = [1, *(int(self.random.integers(1, 3)) for _ in range(2)), 1]
        sizes = zip(begin, value.shape, step, strict=True)
        shape = tuple(len(range(first, last, jump)) for first, last, jump in sizes)
        output = self.like(shape, value)
        bounds = map(self.constant, (begin, value.shape, step))
        self.main.operator("STRIDED_SLICE", [value.index, *bounds], [output.index])
        return output

    def mean(self, value: Value) -> Value:
        output = self.computed((1, 1, 1, value.shape[3]), value.scale * 0.7)
        self.main.operator("MEAN", [value.index, self.constant([1, 2])], [output.index], keepDims=True)
        return output

    def head(self, value: Value) -> None:
        size = math.prod(value.shape)
        flat = self.like((1, size), value)
        self.main.operator("RESHAPE", [value.index, self.constant([1, size])], [flat.index], newShape=[1, size])
        weights, scales, depth = self.weights((1, size), 0)
        bias = self.bias(1, value.scale, scales[:1], depth)
        logit = self.computed((1, 1), value.scale * float(scales.mean()) * 60 * math.sqrt(depth))
        probability = self.new((1, 1), 1 / 256, -128)
        output = self.main.tensor([1, 1], "UINT8", scales=(1 / 256,), zero_points=(0,))
        self.main.operator("FULLY_CONNECTED", [flat.index, weights, *bias], [logit.index])
        self.main.operator("LOGISTIC", [logit.index], [probability.index])
        self.main.operator("QUANTIZE", [probability.index], [output])
        self.main.outputs = [output]


def random_model(seed: int) -> bytes:
    """A model int8 `[1, stride, 40]` to uint8 `[1, 1]`; the same for the same seed."""
    make = Maker(np.random.default_rng(seed))
    stride = int(make.random.integers(1, 5))
    frame = make.new((1, stride, 40), 0.1, -128)
    make.main.inputs = [frame.index]
    make.main.operator("CALL_ONCE", [], [], initSubgraphIndex=1)
    columns = int(make.choose(1, 1, 1, 5, 40))
    shape = (1, stride, columns, 40 // columns)
    value = make.new(shape, frame.scale, frame.zero_point)
    make.main.operator("RESHAPE", [frame.index, make.constant(shape)], [value.index], newShape=shape)
    steps: list[Callable[[Value], Value]] = [
        make.ring, make.ring, make.ring, make.convolution, make.convolution, make.depthwise, make.depthwise,
        make.dilated, make.pool, make.pad, make.elementwise, make.side_by_side, make.side_by_side, make.stacked,
        make.requantized, make.sliced, make.mean,
    ]  # fmt: skip
    for _ in range(int(make.random.integers(3, 14))):
        step = make.choose(*steps)
        if math.prod(value.shape) > 1500 and step in (make.stacked, make.ring, make.pad):
            step = make.convolution
        value = step(value)
    make.head(value)
    if not make.first.operators:
        make.ring(value)  # CALL_ONCE needs a subgraph; an unused ring is legal as well
    return pack(make.main, make.first)
