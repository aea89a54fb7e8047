"""The TFLite schema, as far as ESPHome needs it: numbers of types and operators, and the options of each operator.

Numbers and slots are those of tensorflow 2.19.1 (`schema_v3c.fbs`). The options of an operator are a frozen
dataclass, whose fields name their slots for reading and writing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeAlias

from mww.tflite.flatbuffer import MalformedError, Table

MAX_FILE_SIZE: Final = 16 * 1024 * 1024
"""Bytes that are read at most; a wake word is some 60 kB and the largest flash of an ESP32 16 MB."""

TENSOR_TYPES: Final = (
    "FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64", "STRING", "BOOL", "INT16", "COMPLEX64", "INT8", "FLOAT64",
    "COMPLEX128", "UINT64", "RESOURCE", "VARIANT", "UINT32", "UINT16", "INT4", "BFLOAT16",
)  # fmt: skip

TENSOR_TYPE_SIZES: Final = {
    "FLOAT32": 4, "FLOAT16": 2, "INT32": 4, "UINT8": 1, "INT64": 8, "BOOL": 1, "INT16": 2, "COMPLEX64": 8, "INT8": 1,
    "FLOAT64": 8, "COMPLEX128": 16, "UINT64": 8, "RESOURCE": 4, "UINT32": 4, "UINT16": 2, "BFLOAT16": 2,
}  # fmt: skip
"""Bytes an element. A RESOURCE tensor is one 4-byte handle on the device (`TfLiteTypeSizeOf`, kTfLiteResource)."""

INTEGER_RANGES: Final = {"INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767)}
"""The least and the greatest value of a quantized type."""

WEIGHTED: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""The operators whose second input is weights."""

ACTIVATIONS: Final = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
PADDINGS: Final = ("SAME", "VALID")

CUSTOM_OPERATOR: Final = 32

OPERATORS: Final = (
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE",
    "EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP", "L2_NORMALIZATION", "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU",
    "RELU_N1_TO_1", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH",
    "CONCAT_EMBEDDINGS", "SKIP_GRAM", "CALL", "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "TRANSPOSE", "MEAN", "SUB",
    "DIV", "SQUEEZE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP", "TOPK_V2",
    "SPLIT", "LOG_SOFTMAX", "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM", "ARG_MAX",
    "MINIMUM", "LESS", "NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL", "SELECT", "SLICE", "SIN",
    "TRANSPOSE_CONV", "SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LOG", "SUM", "SQRT", "RSQRT",
    "SHAPE", "POW", "ARG_MIN", "FAKE_QUANT", "REDUCE_PROD", "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT",
    "LOGICAL_AND", "LOGICAL_NOT", "UNPACK", "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE", "FILL",
    "FLOOR_MOD", "RANGE", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD", "ABS",
    "SPLIT_V", "UNIQUE", "CEIL", "REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK", "ELU",
    "REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE", "MATRIX_SET_DIAG", "ROUND", "HARD_SWISH", "IF", "WHILE",
    "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "SCATTER_ND", "SELECT_V2", "DENSIFY", "SEGMENT_SUM",
    "BATCH_MATMUL", "PLACEHOLDER_FOR_GREATER_OP_CODES", "CUMSUM", "CALL_ONCE", "BROADCAST_TO", "RFFT2D", "CONV_3D",
    "IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE", "REDUCE_ALL",
    "CONV_3D_TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "BROADCAST_ARGS", "RANDOM_STANDARD_NORMAL",
    "BUCKETIZE", "RANDOM_UNIFORM", "MULTINOMIAL", "GELU", "DYNAMIC_UPDATE_SLICE", "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM", "ATAN2", "UNSORTED_SEGMENT_MIN", "SIGN",
    "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT", "STABLEHLO_LOGISTIC", "STABLEHLO_ADD", "STABLEHLO_DIVIDE",
    "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_RESHAPE", "STABLEHLO_CLAMP", "STABLEHLO_CONCATENATE",
    "STABLEHLO_BROADCAST_IN_DIM", "STABLEHLO_CONVOLUTION", "STABLEHLO_SLICE", "STABLEHLO_CUSTOM_CALL",
    "STABLEHLO_REDUCE", "STABLEHLO_ABS", "STABLEHLO_AND", "STABLEHLO_COSINE", "STABLEHLO_EXPONENTIAL",
    "STABLEHLO_FLOOR", "STABLEHLO_LOG", "STABLEHLO_MINIMUM", "STABLEHLO_NEGATE", "STABLEHLO_OR", "STABLEHLO_POWER",
    "STABLEHLO_REMAINDER", "STABLEHLO_RSQRT", "STABLEHLO_SELECT", "STABLEHLO_SUBTRACT", "STABLEHLO_TANH",
    "STABLEHLO_SCATTER", "STABLEHLO_COMPARE", "STABLEHLO_CONVERT", "STABLEHLO_DYNAMIC_SLICE",
    "STABLEHLO_DYNAMIC_UPDATE_SLICE", "STABLEHLO_PAD", "STABLEHLO_IOTA", "STABLEHLO_DOT_GENERAL",
    "STABLEHLO_REDUCE_WINDOW", "STABLEHLO_SORT", "STABLEHLO_WHILE", "STABLEHLO_GATHER", "STABLEHLO_TRANSPOSE",
    "DILATE", "STABLEHLO_RNG_BIT_GENERATOR", "REDUCE_WINDOW", "STABLEHLO_COMPOSITE", "STABLEHLO_SHIFT_LEFT",
    "STABLEHLO_CBRT", "STABLEHLO_CASE",
)  # fmt: skip
"""Built-in operators by code."""


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
