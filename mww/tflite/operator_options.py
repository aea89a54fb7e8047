"""The options of the operators that ESPHome registers, as frozen dataclasses read from their flatbuffer tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from mww.tflite.flatbuffer import MalformedError, Table
from mww.tflite.tflite_schema import ACTIVATIONS, PADDINGS, TENSOR_TYPES


@dataclass(frozen=True, slots=True)
class Conv2D:
    """CONV_2D."""

    padding: str
    stride: tuple[int, int]
    dilation: tuple[int, int]
    activation: str


@dataclass(frozen=True, slots=True)
class DepthwiseConv2D:
    """DEPTHWISE_CONV_2D; pairs are (height, width)."""

    padding: str
    stride: tuple[int, int]
    dilation: tuple[int, int]
    depth_multiplier: int
    activation: str


@dataclass(frozen=True, slots=True)
class Pool2D:
    """AVERAGE_POOL_2D and MAX_POOL_2D; pairs are (height, width)."""

    padding: str
    stride: tuple[int, int]
    filter: tuple[int, int]
    activation: str


@dataclass(frozen=True, slots=True)
class FullyConnected:
    """FULLY_CONNECTED."""

    activation: str
    weights_format: int
    keep_num_dims: bool


@dataclass(frozen=True, slots=True)
class Concatenation:
    """CONCATENATION."""

    axis: int
    activation: str


@dataclass(frozen=True, slots=True)
class Elementwise:
    """ADD and MUL."""

    activation: str


@dataclass(frozen=True, slots=True)
class Reshape:
    """RESHAPE; empty when the shape comes as a tensor."""

    new_shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reducer:
    """MEAN."""

    keep_dims: bool


@dataclass(frozen=True, slots=True)
class StridedSlice:
    """STRIDED_SLICE."""

    begin_mask: int
    end_mask: int
    ellipsis_mask: int
    new_axis_mask: int
    shrink_axis_mask: int
    offset: bool


@dataclass(frozen=True, slots=True)
class Pack:
    """PACK."""

    count: int
    axis: int


@dataclass(frozen=True, slots=True)
class SplitV:
    """SPLIT_V."""

    splits: int


@dataclass(frozen=True, slots=True)
class CallOnce:
    """CALL_ONCE."""

    subgraph: int


@dataclass(frozen=True, slots=True)
class VarHandle:
    """VAR_HANDLE; TFLM tells an absent container from an empty one."""

    container: str | None
    shared_name: str


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Operators without options, or whose options the runtime never reads."""


Options: TypeAlias = (
    Conv2D
    | DepthwiseConv2D
    | Pool2D
    | FullyConnected
    | Concatenation
    | Elementwise
    | Reshape
    | Reducer
    | StridedSlice
    | Pack
    | SplitV
    | CallOnce
    | VarHandle
    | NoOptions
)


def _name(names: tuple[str, ...], value: int, what: str) -> str:
    if not 0 <= value < len(names):
        raise MalformedError(f"{what} {value} does not exist")
    return names[value]


def _activation(table: Table, number: int) -> str:
    return _name(ACTIVATIONS, table.int8(number), "activation")


def _padding(table: Table) -> str:
    return _name(PADDINGS, table.int8(0), "padding")


def _stride(table: Table) -> tuple[int, int]:
    return table.int32(2), table.int32(1)


def _check_bias_type(table: Table, number: int) -> None:
    """Nobody uses this field, but TFLM refuses a value that it does not know."""
    _name(TENSOR_TYPES, table.int8(number), "bias type")


def _conv_2d(table: Table) -> Conv2D:
    _check_bias_type(table, 6)
    dilation = (table.int32(5, 1), table.int32(4, 1))
    return Conv2D(_padding(table), _stride(table), dilation, _activation(table, 3))


def _depthwise_conv_2d(table: Table) -> DepthwiseConv2D:
    dilation = (table.int32(6, 1), table.int32(5, 1))
    return DepthwiseConv2D(_padding(table), _stride(table), dilation, table.int32(3), _activation(table, 4))


def _pool_2d(table: Table) -> Pool2D:
    window = (table.int32(4), table.int32(3))
    return Pool2D(_padding(table), _stride(table), window, _activation(table, 5))


def _fully_connected(table: Table) -> FullyConnected:
    _check_bias_type(table, 4)
    return FullyConnected(_activation(table, 0), table.int8(1), table.boolean(2))


def _reshape(table: Table) -> Reshape:
    return Reshape(tuple(int(size) for size in table.array(0, "<i4")))


def _strided_slice(table: Table) -> StridedSlice:
    masks = [table.int32(number) for number in range(5)]
    return StridedSlice(masks[0], masks[1], masks[2], masks[3], masks[4], table.boolean(5))


def _elementwise(table: Table) -> Elementwise:
    return Elementwise(_activation(table, 0))


_READERS: Final[dict[str, tuple[int, Callable[[Table], Options]]]] = {
    "CONV_2D": (1, _conv_2d),
    "DEPTHWISE_CONV_2D": (2, _depthwise_conv_2d),
    "AVERAGE_POOL_2D": (5, _pool_2d),
    "MAX_POOL_2D": (5, _pool_2d),
    "FULLY_CONNECTED": (8, _fully_connected),
    "CONCATENATION": (10, lambda table: Concatenation(table.int32(0), _activation(table, 1))),
    "ADD": (11, _elementwise),
    "RESHAPE": (17, _reshape),
    "MUL": (21, _elementwise),
    "MEAN": (27, lambda table: Reducer(table.boolean(0))),
    "STRIDED_SLICE": (32, _strided_slice),
    "PACK": (59, lambda table: Pack(table.int32(0), table.int32(1))),
    "SPLIT_V": (79, lambda table: SplitV(table.int32(0))),
    "CALL_ONCE": (103, lambda table: CallOnce(table.int32(0))),
    "VAR_HANDLE": (111, lambda table: VarHandle(table.string(0) if table.has(0) else None, table.string(1))),
}
"""Operator to (member number in the schema's BuiltinOptions union, reader)."""


def options_member(op: str) -> int:
    """The number of an operator's options in the schema's BuiltinOptions union; 0 without one to write."""
    return _READERS[op][0] if op in _READERS else 0


def read_options(op: str, union_type: int, table: Table | None) -> Options:
    """Read an operator's options.

    Args:
        op: Name of the built-in operator.
        union_type: The operator's `builtin_options_type`.
        table: Its `builtin_options`, or None when absent (every field then has its default).

    Raises:
        MalformedError: The options are of another operator, or hold a value that the schema does not know.
    """
    if op not in _READERS:
        return NoOptions()
    member, reader = _READERS[op]
    if table is None or union_type != member:
        if op == "RESHAPE" and union_type == 0:
            return Reshape(())
        raise MalformedError(f"{op} has no options of its own kind")
    return reader(table)
