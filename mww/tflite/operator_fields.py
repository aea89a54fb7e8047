"""The options of operators as fields of flatbuffer tables, to write what `mww.tflite.operator_options` reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Literal

from mww.tflite.operator_options import (
    CallOnce,
    Concatenation,
    Conv2D,
    DepthwiseConv2D,
    Elementwise,
    FullyConnected,
    Options,
    Pool2D,
    Reshape,
    SplitV,
    StridedSlice,
    VarHandle,
)
from mww.tflite.tflite_schema import ACTIVATIONS, PADDINGS


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a table: how it is stored, and what."""

    kind: Literal["byte", "int", "text"]
    value: int | str


@singledispatch
def option_fields(options: Options) -> tuple[Field | None, ...]:
    """The fields in the schema's order (tensorflow 2.19.1, `schema_v3c.fbs`); None and others keep their defaults.

    Raises:
        TypeError: Options that nothing here writes.
    """
    raise TypeError(f"{type(options).__name__} cannot be written")


def _ints(*values: int) -> tuple[Field, ...]:
    return tuple(Field("int", value) for value in values)


def _activation(name: str) -> Field:
    return Field("byte", ACTIVATIONS.index(name))


def _padding(name: str) -> Field:
    return Field("byte", PADDINGS.index(name))


@option_fields.register
def _(options: Conv2D) -> tuple[Field, ...]:
    (height, width), (tall, wide) = options.stride, options.dilation
    activation = _activation(options.activation)
    return _padding(options.padding), *_ints(width, height), activation, *_ints(wide, tall)


@option_fields.register
def _(options: DepthwiseConv2D) -> tuple[Field, ...]:
    (height, width), (tall, wide) = options.stride, options.dilation
    sizes = _ints(width, height, options.depth_multiplier)
    return _padding(options.padding), *sizes, _activation(options.activation), *_ints(wide, tall)


@option_fields.register
def _(options: Pool2D) -> tuple[Field, ...]:
    (height, width), (tall, wide) = options.stride, options.filter
    return _padding(options.padding), *_ints(width, height, wide, tall), _activation(options.activation)


@option_fields.register
def _(options: FullyConnected) -> tuple[Field, ...]:
    formats = Field("byte", options.weights_format)
    return _activation(options.activation), formats, Field("byte", options.keep_num_dims)


@option_fields.register
def _(options: Concatenation) -> tuple[Field, ...]:
    return *_ints(options.axis), _activation(options.activation)


@option_fields.register
def _(options: Elementwise) -> tuple[Field, ...]:
    return (_activation(options.activation),)


@option_fields.register
def _(options: Reshape) -> tuple[Field, ...]:
    if options.new_shape:
        raise TypeError("a shape among the options; it is written as a tensor")
    return ()


@option_fields.register
def _(options: StridedSlice) -> tuple[Field, ...]:
    masks = _ints(options.begin_mask, options.end_mask, options.ellipsis_mask)
    return *masks, *_ints(options.new_axis_mask, options.shrink_axis_mask), Field("byte", options.offset)


@option_fields.register
def _(options: SplitV) -> tuple[Field, ...]:
    return _ints(options.splits)


@option_fields.register
def _(options: CallOnce) -> tuple[Field, ...]:
    return _ints(options.subgraph)


@option_fields.register
def _(options: VarHandle) -> tuple[Field | None, ...]:
    container = None if options.container is None else Field("text", options.container)
    return container, Field("text", options.shared_name)
