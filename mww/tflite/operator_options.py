"""The options of the operators that ESPHome registers, as frozen dataclasses read from flatbuffer tables and written.

Each field names its place in the operator's table, by the slot numbers of tensorflow 2.19.1 (`schema_v3c.fbs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeAlias

from mww.tflite.flatbuffer import MalformedError, Table
from mww.tflite.tflite_schema import ACTIVATIONS, PADDINGS, TENSOR_TYPES


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a value is stored in a slot, read from it, and turned into what is stored; None leaves the slot out."""

    storage: Literal["bytes", "ints", "texts", "vectors"]
    read: Callable[[Table, int], Any]
    stored: Callable[[Any], int | str | tuple[int, ...] | None] = int


def _one_of(names: tuple[str, ...], what: str) -> _Kind:
    def read(table: Table, slot: int) -> str:
        value = table.int8(slot)
        if not 0 <= value < len(names):
            raise MalformedError(f"{what} {value} does not exist")
        return names[value]

    return _Kind("bytes", read, names.index)


_INT: Final = _Kind("ints", Table.int32)
_DILATION: Final = _Kind("ints", lambda table, slot: table.int32(slot, 1))
_BYTE: Final = _Kind("bytes", Table.int8)
_FLAG: Final = _Kind("bytes", Table.boolean)
_TEXT: Final = _Kind("texts", Table.string, str)
_OPTIONAL_TEXT: Final = _Kind(
    "texts", lambda table, slot: table.string(slot) if table.has(slot) else None, lambda it: it
)
_NUMBERS: Final = _Kind(
    "vectors", lambda table, slot: tuple(int(it) for it in table.array(slot, "<i4")), lambda numbers: numbers or None
)
_ACTIVATION: Final = _one_of(ACTIVATIONS, "activation")
_PADDING: Final = _one_of(PADDINGS, "padding")
_BIAS_TYPE: Final = _one_of(TENSOR_TYPES, "bias type")


def _at(kind: _Kind, *slots: int) -> Any:
    """A field at one slot, or a (height, width) pair at two."""
    return field(metadata={"kind": kind, "slots": slots})


@dataclass(frozen=True, slots=True)
class Conv2D:
    """CONV_2D; pairs are (height, width)."""

    padding: str = _at(_PADDING, 0)
    stride: tuple[int, int] = _at(_INT, 2, 1)
    dilation: tuple[int, int] = _at(_DILATION, 5, 4)
    activation: str = _at(_ACTIVATION, 3)


@dataclass(frozen=True, slots=True)
class DepthwiseConv2D:
    """DEPTHWISE_CONV_2D; pairs are (height, width)."""

    padding: str = _at(_PADDING, 0)
    stride: tuple[int, int] = _at(_INT, 2, 1)
    dilation: tuple[int, int] = _at(_DILATION, 6, 5)
    depth_multiplier: int = _at(_INT, 3)
    activation: str = _at(_ACTIVATION, 4)


@dataclass(frozen=True, slots=True)
class Pool2D:
    """AVERAGE_POOL_2D and MAX_POOL_2D; pairs are (height, width)."""

    padding: str = _at(_PADDING, 0)
    stride: tuple[int, int] = _at(_INT, 2, 1)
    filter: tuple[int, int] = _at(_INT, 4, 3)
    activation: str = _at(_ACTIVATION, 5)


@dataclass(frozen=True, slots=True)
class FullyConnected:
    """FULLY_CONNECTED."""

    activation: str = _at(_ACTIVATION, 0)
    weights_format: int = _at(_BYTE, 1)
    keep_num_dims: bool = _at(_FLAG, 2)


@dataclass(frozen=True, slots=True)
class Concatenation:
    """CONCATENATION."""

    axis: int = _at(_INT, 0)
    activation: str = _at(_ACTIVATION, 1)


@dataclass(frozen=True, slots=True)
class Elementwise:
    """ADD and MUL."""

    activation: str = _at(_ACTIVATION, 0)


@dataclass(frozen=True, slots=True)
class Reshape:
    """RESHAPE; empty when the shape comes as a tensor."""

    new_shape: tuple[int, ...] = _at(_NUMBERS, 0)


@dataclass(frozen=True, slots=True)
class Reducer:
    """MEAN."""

    keep_dims: bool = _at(_FLAG, 0)


@dataclass(frozen=True, slots=True)
class StridedSlice:
    """STRIDED_SLICE."""

    begin_mask: int = _at(_INT, 0)
    end_mask: int = _at(_INT, 1)
    ellipsis_mask: int = _at(_INT, 2)
    new_axis_mask: int = _at(_INT, 3)
    shrink_axis_mask: int = _at(_INT, 4)
    offset: bool = _at(_FLAG, 5)


@dataclass(frozen=True, slots=True)
class Pack:
    """PACK."""

    count: int = _at(_INT, 0)
    axis: int = _at(_INT, 1)


@dataclass(frozen=True, slots=True)
class SplitV:
    """SPLIT_V."""

    splits: int = _at(_INT, 0)


@dataclass(frozen=True, slots=True)
class CallOnce:
    """CALL_ONCE."""

    subgraph: int = _at(_INT, 0)


@dataclass(frozen=True, slots=True)
class VarHandle:
    """VAR_HANDLE; TFLM tells an absent container from an empty one."""

    container: str | None = _at(_OPTIONAL_TEXT, 0)
    shared_name: str = _at(_TEXT, 1)


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


@dataclass(frozen=True, slots=True)
class _Operator:
    """An operator: its member number in the schema's BuiltinOptions union, its options, and the slot of a bias type.

    Nobody uses a bias type, but TFLM refuses a value that it does not know.
    """

    member: int
    options: type[Any]
    bias_type: int | None = None


OPERATORS_WITH_OPTIONS: Final = {
    "CONV_2D": _Operator(1, Conv2D, bias_type=6),
    "DEPTHWISE_CONV_2D": _Operator(2, DepthwiseConv2D),
    "AVERAGE_POOL_2D": _Operator(5, Pool2D),
    "MAX_POOL_2D": _Operator(5, Pool2D),
    "FULLY_CONNECTED": _Operator(8, FullyConnected, bias_type=4),
    "CONCATENATION": _Operator(10, Concatenation),
    "ADD": _Operator(11, Elementwise),
    "RESHAPE": _Operator(17, Reshape),
    "MUL": _Operator(21, Elementwise),
    "MEAN": _Operator(27, Reducer),
    "STRIDED_SLICE": _Operator(32, StridedSlice),
    "PACK": _Operator(59, Pack),
    "SPLIT_V": _Operator(79, SplitV),
    "CALL_ONCE": _Operator(103, CallOnce),
    "VAR_HANDLE": _Operator(111, VarHandle),
}


def options_member(op: str) -> int:
    """The number of an operator's options in the schema's BuiltinOptions union; 0 without one to write."""
    return OPERATORS_WITH_OPTIONS[op].member if op in OPERATORS_WITH_OPTIONS else 0


def read_options(op: str, union_type: int, table: Table | None) -> Options:
    """Read an operator's options.

    Args:
        op: Name of the built-in operator.
        union_type: The operator's `builtin_options_type`.
        table: Its `builtin_options`, or None when absent (every field then has its default).

    Raises:
        MalformedError: The options are of another operator, or hold a value that the schema does not know.
    """
    if op not in OPERATORS_WITH_OPTIONS:
        return NoOptions()
    operator = OPERATORS_WITH_OPTIONS[op]
    if table is None or union_type != operator.member:
        if op == "RESHAPE" and union_type == 0:
            return Reshape(())
        raise MalformedError(f"{op} has no options of its own kind")
    if operator.bias_type is not None:
        _BIAS_TYPE.read(table, operator.bias_type)
    values = []
    for item in fields(operator.options):
        read, slots = item.metadata["kind"].read, item.metadata["slots"]
        values.append(read(table, *slots) if len(slots) == 1 else tuple(read(table, slot) for slot in slots))
    options: Options = operator.options(*values)
    return options


@dataclass(frozen=True, slots=True)
class StoredOptions:
    """What stands in the slots of an operator's options, in their order; slots that are absent keep their defaults."""

    bytes: Mapping[int, int]
    ints: Mapping[int, int]
    texts: Mapping[int, str]
    vectors: Mapping[int, tuple[int, ...]]


def stored_options(op: str, options: Options) -> StoredOptions:
    """An operator's options as they are written.

    Raises:
        TypeError: The options are of another operator.
    """
    kind = OPERATORS_WITH_OPTIONS[op].options
    if type(options) is not kind:
        raise TypeError(f"{op} has options of the type {type(options).__name__}, not {kind.__name__}")
    stored: dict[str, dict[int, Any]] = {"bytes": {}, "ints": {}, "texts": {}, "vectors": {}}
    for item in fields(options):
        value, slots, how = getattr(options, item.name), item.metadata["slots"], item.metadata["kind"]
        for slot, part in zip(slots, value if len(slots) > 1 else (value,), strict=True):
            if (content := how.stored(part)) is not None:
                stored[how.storage][slot] = content
    return StoredOptions(**{storage: dict(sorted(values.items())) for storage, values in stored.items()})
