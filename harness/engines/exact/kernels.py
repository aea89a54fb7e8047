"""The operators that compute, over a block of frames.

Each is made once for a model, and bound to arrays once for a program. A kernel's `bind` takes arrays float32
`[frames, *tensor.shape]` with the stored bytes, and appends the calls that fill the output. Operators that only move
bytes are in `moves`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from harness.engines.exact import fixed_point
from harness.engines.exact.fixed_point import Integers, Scaling, activation_range, quantize_multiplier
from harness.engines.exact.float_form import FLOAT32_EXACT
from harness.engines.exact.refusal import BYTES, Node
from harness.engines.exact.requantiser import Requantiser
from harness.engines.exact.scratch import Calls, Values, view_as
from harness.engines.exact.windows import Window
from mww.tflite.schema import INTEGER_RANGES, Conv2D, DepthwiseConv2D, Elementwise, FullyConnected, Pool2D, Reducer

_MOST_SUM: Final = 2**52
_MOST_SHIFT: Final = 62
"""The largest shift of a 64-bit number in `CalculateInputRadius`; beyond it C defines no result."""


class Kernel(Protocol):
    """The arithmetic of an operator."""

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """Append the calls that fill `output`, a contiguous array."""
        ...


def _sum_type(node: Node, terms: Integers) -> npt.DTypeLike:
    """The type in which sums are exact in any order; `terms` bounds the sum of the absolute products."""
    most = int(terms.max(initial=0))
    if most >= _MOST_SUM:
        raise node.refused(f"sums of up to {most}")
    return np.float32 if most < FLOAT32_EXACT else np.float64


class Weighted:
    """Weights `[channels, ...]` and the requantisation of their sums, for convolutions and dense layers.

    Stored bytes are multiplied as they are; the effect of their zero point on every sum goes into the bias.
    """

    def __init__(self, node: Node, weights: Integers, activation: str, *, dense: bool = False) -> None:
        source = node.quantization(node.input(0), "INT8")
        output = node.quantization(node.output, "INT8")
        flat = weights.reshape(len(weights), -1)
        multipliers = [quantize_multiplier(real) for real in _factors(node, len(weights), dense=dense)]
        bias = np.zeros(len(weights), np.int64)
        stored = node.optional(2)
        if stored is not None:
            bias = node.constant(stored, "INT32").reshape(-1)
            if len(bias) != len(weights):
                raise node.refused(f"a bias of {len(bias)} values for {len(weights)} channels")
        size = np.abs(flat).sum(axis=1)
        low, high = activation_range(node.activation(activation), "INT8", output.scale, output.zero_point)
        scaling = Scaling(
            multiplier=np.array([multiplier for multiplier, _ in multipliers], np.int64),
            shift=np.array([shift for _, shift in multipliers], np.int64),
            bias=bias - source.zero_point * flat.sum(axis=1),
            least=np.minimum(flat * 127, flat * -128).sum(axis=1),
            largest=np.maximum(flat * 127, flat * -128).sum(axis=1),
            zero_point=output.zero_point,
            low=low,
            high=high,
        )
        if (size * 255 + np.abs(bias) > fixed_point.INT32_MAX).any():
            raise node.refused("sums that leave int32")
        if (why := scaling.overflow()) is not None:
            raise node.refused(why)
        self.dtype = _sum_type(node, size * 128)
        self.requantiser = Requantiser(scaling)
        self.weights = weights.astype(self.dtype)
        self.padding = source.zero_point


def _factors(node: Node, channels: int, *, dense: bool) -> list[float]:
    """The scale factor of each channel: in double precision, except for a dense layer with one scale."""
    source, output = node.quantization(node.input(0), "INT8"), node.quantization(node.output, "INT8")
    weights = node.input(1).quantization
    if weights is None or not all(scale >= 0 for scale in weights.scales):
        raise node.refused(f"tensor {node.input(1).index} has no scales")
    if len(weights.scales) not in (1, channels):
        raise node.refused(f"{len(weights.scales)} filter scales for {channels} channels")
    if dense and not weights.per_channel:
        product = float(np.float32(source.scale) * np.float32(weights.scale))
        return [product / output.scale] * channels
    scales = weights.scales if weights.per_channel else weights.scales * channels
    return [source.scale * scale / output.scale for scale in scales]


def _symmetric(node: Node) -> None:
    quantization = node.input(1).quantization
    if quantization is not None and any(quantization.zero_points):
        raise node.refused("a filter with a zero point")


class Convolution:
    """CONV_2D: windows as rows of a matrix, times the weights."""

    def __init__(self, node: Node) -> None:
        options = node.options
        assert isinstance(options, Conv2D)
        weights = node.constant(node.input(1), "INT8")
        source = node.input(0).shape
        if weights.ndim != 4 or len(source) != 4 or weights.shape[3] != source[3]:
            raise node.refused(f"a filter {list(weights.shape)} over {list(source)}")
        _symmetric(node)
        self._window = Window.of(node, weights.shape[1:3], options.stride, options.dilation, options.padding)
        node.check_shape(node.output, self._window.output(source, weights.shape[0]))
        self.weighted = Weighted(node, weights, options.activation)
        self._matrix = np.ascontiguousarray(self.weighted.weights.reshape(len(weights), -1).T)

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Kernel`."""
        weighted, matrix = self.weighted, self._matrix
        windows = self._window.over(calls, sources[0], weighted.padding)
        rows = prod(windows.shape[:4])
        columns = as_matrix(windows, rows, len(matrix))
        if columns is None or columns.dtype != weighted.dtype:
            gathered = calls.shared("columns", windows.shape, weighted.dtype)
            calls.copy(windows, gathered)
            columns = gathered.reshape(rows, len(matrix))
        sums = calls.shared("sums", (rows, matrix.shape[1]), weighted.dtype)
        calls.add(np.matmul, columns, matrix, out=sums)
        weighted.requantiser.bind(calls, sums, output.reshape(sums.shape))


def as_matrix(values: Values, rows: int, columns: int) -> Values | None:
    """An array as a matrix that BLAS takes without a copy; None where that is not possible."""
    if values.flags.c_contiguous:
        return values.reshape(rows, columns)
    matrix = view_as(values, (rows, columns))
    if matrix is None:
        return None
    size = values.itemsize
    return matrix if matrix.strides[1] == size and matrix.strides[0] >= columns * size else None


class DepthwiseConvolution:
    """DEPTHWISE_CONV_2D: products summed over the window, channel by channel."""

    def __init__(self, node: Node) -> None:
        options = node.options
        assert isinstance(options, DepthwiseConv2D)
        weights = node.constant(node.input(1), "INT8")
        source = node.input(0).shape
        multiplier = options.depth_multiplier
        if weights.ndim != 4 or len(source) != 4 or weights.shape[0] != 1 or multiplier < 1:
            raise node.refused(f"a filter {list(weights.shape)} over {list(source)}")
        if weights.shape[3] != source[3] * multiplier:
            raise node.refused(f"a depth multiplier of {multiplier} for {weights.shape[3]} channels")
        quantization = node.input(1).quantization
        if quantization is not None and quantization.per_channel and quantization.dimension != 3:
            raise node.refused(f"filter scales along dimension {quantization.dimension}")
        _symmetric(node)
        self._window = Window.of(node, weights.shape[1:3], options.stride, options.dilation, options.padding)
        node.check_shape(node.output, self._window.output(source, weights.shape[3]))
        self.weighted = Weighted(node, np.moveaxis(weights[0], -1, 0), options.activation)
        self._multiplier = multiplier
        self.taps = np.ascontiguousarray(np.moveaxis(self.weighted.weights, 0, -1))
        """`[height, width, channels]`"""

    @property
    def requantiser(self) -> Requantiser:
        """The requantisation of the sums."""
        return self.weighted.requantiser

    @property
    def is_plain(self) -> bool:
        """Whether it sums float32 products of one column with one output a channel."""
        plain = self._multiplier == 1 and self.weighted.dtype == np.float32
        return plain and self._window.size[1] == 1 and not self._window.same

    def windows(self, calls: Calls, source: Values) -> Values:
        """The window of each output, `[frames, batch, rows, columns, height, width, channels]`."""
        return self._window.over(calls, source, self.weighted.padding)

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Kernel`."""
        weighted, taps = self.weighted, self.taps
        windows = self.windows(calls, sources[0])
        sums = calls.shared("sums", output.shape, weighted.dtype)
        if windows.dtype != weighted.dtype:
            wide = calls.shared("columns", windows.shape, weighted.dtype)
            calls.copy(windows, wide)
            windows = wide
        if self._multiplier > 1:
            taps = taps.reshape(*taps.shape[:2], -1, self._multiplier)
            split = sums.reshape(*sums.shape[:4], -1, self._multiplier)
            calls.add(np.einsum, "nbhwklc,klcm->nbhwcm", windows, taps, out=split)
        elif windows.shape[1:4] == (1, 1, 1) and windows.shape[5] == 1:
            sum_products(calls, windows[:, 0, 0, 0, :, 0], taps[:, 0], sums.reshape(len(sums), -1))
        else:
            calls.add(np.einsum, "nbhwklc,klc->nbhwc", windows, taps, out=sums)
        matrix = sums.reshape(-1, output.shape[-1])
        weighted.requantiser.bind(calls, matrix, output.reshape(matrix.shape))


_INNER: Final = 256
"""Elements of an inner loop: enough to hide its start-up, few enough for the processor's first cache."""
_DIAGONALS: Final = 1024
"""The most sums that a row of a line contributes to, over all its places in windows and all channels."""


def sum_products(
    calls: Calls,
    windows: npt.NDArray[np.floating[Any]],
    taps: npt.NDArray[np.floating[Any]],
    sums: npt.NDArray[np.floating[Any]],
) -> None:
    """Sum windows `[frames, rows, channels]` times `[rows, channels]` into `[frames, channels]`.

    Over a line of rows, one a frame, an inner loop takes several frames.
    """
    frames, rows, channels = windows.shape
    size = windows.itemsize
    repeats = 1
    if windows.strides[0] == channels * size and windows.strides[2] == size:
        while frames % (2 * repeats) == 0 and repeats * channels < _INNER:
            repeats *= 2
    if repeats == 1:
        calls.add(np.einsum, "ntc,tc->nc", windows, taps, out=sums)
        return
    shape = (frames // repeats, rows, repeats * channels)
    strides = (repeats * windows.strides[0], windows.strides[1], size)
    tiled = np.lib.stride_tricks.as_strided(windows, shape, strides, writeable=False)
    calls.add(np.einsum, "gtk,tk->gk", tiled, np.tile(taps, (1, repeats)), out=sums.reshape(shape[0], shape[2]))


class Dense:
    """FULLY_CONNECTED: a matrix product over the last dimension of the weights."""

    def __init__(self, node: Node) -> None:
        options = node.options
        assert isinstance(options, FullyConnected)
        weights = node.constant(node.input(1), "INT8")
        if weights.ndim != 2 or not weights.size or options.weights_format:
            raise node.refused(f"weights {list(weights.shape)} in format {options.weights_format}")
        channels, self._depth = weights.shape
        if node.input(0).elements % self._depth:
            raise node.refused(f"{node.input(0).elements} inputs for weights {list(weights.shape)}")
        if node.output.elements != node.input(0).elements // self._depth * channels:
            raise node.refused(f"an output {list(node.output.shape)} for weights {list(weights.shape)}")
        quantization = node.input(1).quantization
        if quantization is not None and quantization.per_channel:
            _symmetric(node)
        elif quantization is not None:
            weights = weights - quantization.zero_point
        self.weighted = Weighted(node, weights, options.activation, dense=True)
        self._matrix = np.ascontiguousarray(self.weighted.weights.T)

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Kernel`."""
        weighted, source = self.weighted, sources[0]
        rows = output.size // self._matrix.shape[1]
        line = self._as_line(source, rows)
        if line is not None:
            self._bind_line(calls, line, output)
            return
        sums = calls.shared("sums", (rows, self._matrix.shape[1]), weighted.dtype)
        columns = as_matrix(source, rows, self._depth)
        if columns is None or columns.dtype != weighted.dtype:
            gathered = calls.shared("columns", source.shape, weighted.dtype)
            calls.copy(source, gathered)
            columns = gathered.reshape(rows, self._depth)
        calls.add(np.matmul, columns, self._matrix, out=sums)
        weighted.requantiser.bind(calls, sums, output.reshape(sums.shape))

    def _as_line(self, source: Values, rows: int) -> Values | None:
        """The line `[frames + rows - 1, size]` over which windows `[rows, size]` move by a row; None for others."""
        matrix = view_as(source, (rows, self._depth))
        if matrix is None:
            return None
        step, size = matrix.strides[0], matrix.itemsize
        length, rest = divmod(self._depth * size, step) if step > 0 else (0, 1)
        channels = self._matrix.shape[1]
        if rows != len(source) or rest or length < 2 or length * channels > _DIAGONALS or matrix.strides[1] != size:
            return None
        row = step // size
        largest = np.abs(self._matrix.reshape(length, row, channels)).sum(axis=1).max() * 128
        if largest >= FLOAT32_EXACT:
            return None
        return np.lib.stride_tricks.as_strided(matrix, (rows + length - 1, row), (step, size), writeable=False)

    def _bind_line(self, calls: Calls, line: Values, output: Values) -> None:
        """Multiply each row of the line with the weights of every place in a window, and sum along diagonals.

        No window is copied, and a row is multiplied once instead of once for each window.
        """
        row, channels = line.shape[1], self._matrix.shape[1]
        length, frames = self._depth // row, len(output)
        weights = self._matrix.reshape(length, row, channels).transpose(1, 0, 2).reshape(row, length * channels)
        products = calls.shared("columns", (len(line), length * channels), np.float32)
        calls.add(np.matmul, line, np.ascontiguousarray(weights, np.float32), out=products)
        size = products.itemsize
        strides = (length * channels * size, (length + 1) * channels * size, size)
        diagonals = np.lib.stride_tricks.as_strided(products, (frames, length, channels), strides, writeable=False)
        sums = calls.shared("sums", (frames, channels), np.float64)
        calls.add(np.add.reduce, diagonals, axis=1, dtype=np.float64, out=sums)
        self.weighted.requantiser.bind(calls, sums, output.reshape(sums.shape))


class Table:
    """LOGISTIC and QUANTIZE: the output for each of 256 inputs."""

    def __init__(self, values: Integers) -> None:
        """`values` are the outputs for stored inputs -128..127, or 0..255 of an unsigned type, which wraps alike."""
        self._table = values.astype(np.float32)

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Kernel`."""
        index = calls.shared("index", output.shape, np.intp)
        calls.copy(sources[0], index)
        calls.add(np.take, self._table, index, out=output, mode="wrap")


def logistic(node: Node) -> Kernel:
    """LOGISTIC."""
    source, output = node.quantization(node.input(0), "INT8"), node.quantization(node.output, "INT8")
    if output.zero_point != -128:
        raise node.refused(f"an output with the zero point {output.zero_point}")
    if quantize_multiplier(source.scale * fixed_point.LOGISTIC_ONE)[1] > _MOST_SHIFT:
        raise node.refused("an input scale so coarse that shifts leave int64")
    node.check_shape(node.output, node.input(0).shape)
    return Table(np.roll(fixed_point.logistic_table(source.scale, source.zero_point), -128))


def quantize(node: Node) -> Kernel:
    """QUANTIZE between bytes."""
    source, output = node.quantization(node.input(0), *BYTES), node.quantization(node.output, *BYTES)
    if (node.input(0).dtype, node.output.dtype) == ("UINT8", "UINT8"):
        raise node.refused("from UINT8 to UINT8")
    multiplier, shift = quantize_multiplier(source.scale / output.scale)
    if shift > 22:
        raise node.refused("an output scale so fine that shifted values leave int32")
    stored = np.arange(256)
    if node.input(0).dtype == "INT8":
        stored = np.where(stored < 128, stored, stored - 256)
    node.check_shape(node.output, node.input(0).shape)
    scaled = fixed_point.multiply(stored - source.zero_point, multiplier, shift)
    return Table(np.clip(scaled + output.zero_point, *INTEGER_RANGES[node.output.dtype]))


class Pair:
    """ADD and MUL: a table with the output for each of the 65536 pairs of inputs."""

    def __init__(self, node: Node, combine: Callable[[Node, Integers, Integers], Integers]) -> None:
        options = node.options
        assert isinstance(options, Elementwise)
        shapes = [node.input(0).shape, node.input(1).shape]
        try:
            expected = np.broadcast_shapes(*shapes)
        except ValueError:
            raise node.refused(f"inputs {list(shapes[0])} and {list(shapes[1])}") from None
        node.check_shape(node.output, expected)
        stored = np.arange(-128, 128, dtype=np.int64)
        result = combine(node, stored[:, None], stored[None, :])
        quantization = node.quantization(node.output, "INT8")
        limits = activation_range(
            node.activation(options.activation), "INT8", quantization.scale, quantization.zero_point
        )
        table = np.clip(result + quantization.zero_point, *limits).astype(np.float32)
        index = stored[:, None] * 256 + stored[None, :]
        self._table = np.empty(1 << 16, np.float32)
        self._table[index % (1 << 16)] = table

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Kernel`."""
        first, second = (_aligned(source, output.ndim) for source in sources)
        sums = calls.shared("sums", output.shape, np.float32)
        index = calls.shared("index", output.shape, np.intp)
        calls.add(np.multiply, first, np.float32(256), out=sums)
        calls.add(np.add, sums, second, out=sums)
        calls.copy(sums, index)
        calls.add(np.take, self._table, index, out=output, mode="wrap")


def _aligned(values: Values, dimensions: int) -> Values:
    """Insert dimensions of 1 after the frames, where a tensor has fewer dimensions than the other."""
    return values.reshape(len(values), *[1] * (dimensions - values.ndim), *values.shape[1:])


def add(node: Node) -> Kernel:
    """ADD: scale both inputs to 20 bits beyond twice the coarser scale, add them, and scale the sum to the output."""
    return Pair(node, _added)


_ADD_SHIFT: Final = 20


def _added(node: Node, left: Integers, right: Integers) -> Integers:
    first, second = (node.quantization(node.input(number), "INT8") for number in (0, 1))
    output = node.quantization(node.output, "INT8")
    twice = 2 * max(first.scale, second.scale)
    scaled = []
    for values, quantization in ((left, first), (right, second)):
        multiplier, shift = quantize_multiplier(quantization.scale / twice)
        scaled.append(fixed_point.multiply((values - quantization.zero_point) << _ADD_SHIFT, multiplier, shift))
    factor = twice / ((1 << _ADD_SHIFT) * output.scale)
    if not factor < 1:
        raise node.refused("an output scale that is too fine for its inputs")
    return fixed_point.multiply(scaled[0] + scaled[1], *quantize_multiplier(factor))


def mul(node: Node) -> Kernel:
    """MUL."""
    return Pair(node, _multiplied)


def _multiplied(node: Node, left: Integers, right: Integers) -> Integers:
    first, second = (node.quantization(node.input(number), "INT8") for number in (0, 1))
    output = node.quantization(node.output, "INT8")
    multiplier, shift = quantize_multiplier(first.scale * second.scale / output.scale)
    if shift > 15:
        raise node.refused("an output scale so fine that shifted products leave int32")
    return fixed_point.multiply((left - first.zero_point) * (right - second.zero_point), multiplier, shift)


class AveragePool:
    """AVERAGE_POOL_2D, over the stored bytes: halves are rounded away from zero."""

    def __init__(self, node: Node) -> None:
        self._window, self._low, self._high = _pool(node)

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Kernel`."""
        windows = self._window.over(calls, sources[0], 0)
        counts = self._window.counts(sources[0].shape[1:]).reshape(1, 1, *output.shape[2:4], 1)
        wide, signed = (calls.shared(role, output.shape, np.float64) for role in ("wide", "signed"))
        halves = np.broadcast_to(counts // 2, output.shape)
        calls.add(np.add.reduce, windows, axis=(4, 5), dtype=np.float64, out=wide)
        calls.add(np.copysign, halves, wide, out=signed)
        calls.add(np.add, wide, signed, out=wide)
        calls.add(np.divide, wide, counts, out=wide)
        calls.add(np.trunc, wide, out=wide)
        calls.add(np.clip, wide, self._low, self._high, out=wide)
        calls.copy(wide, output)


class MaxPool:
    """MAX_POOL_2D."""

    def __init__(self, node: Node) -> None:
        self._window, self._low, self._high = _pool(node)

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Kernel`."""
        windows = self._window.over(calls, sources[0], -128)
        calls.add(np.maximum.reduce, windows, axis=(4, 5), out=output)
        calls.add(np.clip, output, np.float32(self._low), np.float32(self._high), out=output)


def _pool(node: Node) -> tuple[Window, int, int]:
    options = node.options
    assert isinstance(options, Pool2D)
    node.quantization(node.input(0), "INT8")
    output = node.quantization(node.output, "INT8")
    source = node.input(0).shape
    if len(source) != 4:
        raise node.refused(f"an input {list(source)}")
    window = Window.of(node, options.filter, options.stride, (1, 1), options.padding)
    node.check_shape(node.output, window.output(source, source[3]))
    low, high = activation_range(node.activation(options.activation), "INT8", output.scale, output.zero_point)
    return window, low, high


class Mean:
    """MEAN: sums over axes; the scale factor includes the division."""

    def __init__(self, node: Node) -> None:
        options = node.options
        assert isinstance(options, Reducer)
        source, output = node.quantization(node.input(0), "INT8"), node.quantization(node.output, "INT8")
        shape = node.input(0).shape
        axes = node.integers(1)
        if not all(-len(shape) <= axis < len(shape) for axis in axes):
            raise node.refused(f"axes {axes} of {list(shape)}")
        reduced = sorted({axis % len(shape) for axis in axes})
        kept = [
            1 if axis in reduced else size
            for axis, size in enumerate(shape)
            if options.keep_dims or axis not in reduced
        ]
        node.check_shape(node.output, kept)
        count = prod(shape[axis] for axis in reduced)
        if not 0 < count < 1 << 22:
            raise node.refused(f"a mean of {count} values")
        self._axes = tuple(axis + 1 for axis in reduced)
        try:
            factor = fixed_point.mean_multiplier(*quantize_multiplier(source.scale / output.scale), count)
        except ValueError as error:
            raise node.refused(str(error)) from error

        def each(value: int) -> Integers:
            return np.array([value], np.int64)

        scaling = Scaling(
            multiplier=each(factor[0]),
            shift=each(factor[1]),
            bias=each(-source.zero_point * count),
            least=each(-128 * count),
            largest=each(127 * count),
            zero_point=output.zero_point,
            low=-128,
            high=127,
        )
        if (why := scaling.overflow()) is not None:
            raise node.refused(why)
        self._requantiser = Requantiser(scaling)
        self._dtype = np.float32 if count * 128 < FLOAT32_EXACT else np.float64

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Kernel`."""
        sums = calls.shared("sums", (output.size, 1), self._dtype)
        kept = tuple(size for axis, size in enumerate(sources[0].shape) if axis not in self._axes)
        calls.add(np.add.reduce, sources[0], axis=self._axes, dtype=self._dtype, out=sums.reshape(kept))
        self._requantiser.bind(calls, sums, output.reshape(output.size, 1))


KERNELS: Final[dict[str, Callable[[Node], Kernel]]] = {
    "CONV_2D": Convolution,
    "DEPTHWISE_CONV_2D": DepthwiseConvolution,
    "FULLY_CONNECTED": Dense,
    "LOGISTIC": logistic,
    "QUANTIZE": quantize,
    "ADD": add,
    "MUL": mul,
    "AVERAGE_POOL_2D": AveragePool,
    "MAX_POOL_2D": MaxPool,
    "MEAN": Mean,
}
