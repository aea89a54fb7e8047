"""What ESPHome asks of a model's input and output, and what it takes for granted about their quantisation.

`StreamingModel::load_model_` checks shapes and types; the quantisation it never reads (`mww.esphome.contract`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mww.esphome.contract import FEATURES, INPUT_SCALE, INPUT_ZERO_POINT, MAX_STRIDE, OUTPUT_SCALE, OUTPUT_ZERO_POINT
from mww.tflite.model_file import Tensor
from mww.verification.rules import Finding, Status, Subject, has_byte_output, rule

SCALE_FAILS: Final = 0.01
SCALE_WARNS: Final = 0.001
"""Relative deviation of a scale that the device hard-codes: beyond the first it mishears, beyond the second
it is reported.

Of the published models, one v1 model deviates by 0.06 % and the VAD by 0.21 %.
"""


_EXPORT_HINT: Final = "export the streaming model with inference_input_type=tf.int8, inference_output_type=tf.uint8"


def has_input(subject: Subject) -> bool:
    """Whether there is an input to judge."""
    return subject.input is not None


def has_output(subject: Subject) -> bool:
    """Whether there is an output to judge."""
    return subject.output is not None


def shape_text(tensor: Tensor) -> str:
    """A shape as people write it."""
    return str(list(tensor.shape))


@rule("input-count", "There is one input", hint="export a model whose only input is the features [1, stride, 40]")
def input_count(subject: Subject) -> Iterator[Finding]:
    """More inputs would never be written."""
    count = len(subject.main.subgraph.inputs)
    if count != 1:
        yield Finding(f"the model has {count} inputs; the runtime writes the first alone", "1", str(count))


@rule(
    "input-shape",
    "The input is [1, stride, 40], with a stride of 1 to 255 slices",
    hint="export the streaming model for one frame of `stride` slices of 40 features, batch 1",
    applies=has_input,
)
def input_shape(subject: Subject) -> Iterator[Finding]:
    """The stride is read into a uint8."""
    tensor = subject.input
    assert tensor is not None
    expected = f"[1, 1..{MAX_STRIDE}, {FEATURES}]"
    shape = tensor.shape
    if len(shape) != 3 or shape[0] != 1 or shape[2] != FEATURES:
        yield Finding(f"the input's shape is {shape_text(tensor)}", expected, shape_text(tensor))
    elif not 1 <= shape[1] <= MAX_STRIDE:
        yield Finding(f"a stride of {shape[1]} slices does not fit the runtime's uint8", expected, shape_text(tensor))


@rule("input-dtype", "The input is int8", hint=_EXPORT_HINT, applies=has_input)
def input_dtype(subject: Subject) -> Iterator[Finding]:
    """Checked at load."""
    tensor = subject.input
    assert tensor is not None
    if tensor.dtype != "INT8":
        yield Finding(f"the input is {tensor.dtype}", "INT8", tensor.dtype)


def _quantised_input(subject: Subject) -> bool:
    return subject.input is not None and subject.input.dtype == "INT8"


@rule(
    "input-zero-point",
    "The input's zero point is -128",
    hint="calibrate with features from 0.0 up: the runtime uses int8 -128 for silence and ignores the model's value",
    applies=_quantised_input,
)
def input_zero_point(subject: Subject) -> Iterator[Finding]:
    """The runtime never reads it."""
    yield from _zero_point("input", subject.input, INPUT_ZERO_POINT)


@rule(
    "input-scale",
    "The input's scale is 26/255",
    hint="calibrate with features 0..26, one cell forced to 0.0 and one to 26.0: the runtime hard-codes 26/255",
    applies=_quantised_input,
    severity=("fail", "warn"),
)
def input_scale(subject: Subject) -> Iterator[Finding]:
    """The runtime never reads it."""
    yield from _scale("input", subject.input, INPUT_SCALE)


@rule(
    "output-count",
    "There is one output",
    hint="export a model with the probability as its only output",
    severity=("fail", "warn"),
)
def output_count(subject: Subject) -> Iterator[Finding]:
    """More outputs would never be read."""
    count = len(subject.main.subgraph.outputs)
    if count == 0:
        yield Finding("the model has no output", "1", "0")
    elif count > 1:
        yield Finding(f"of {count} outputs the runtime reads the first alone", "1", str(count), status="warn")


@rule(
    "output-shape",
    "The output is [1, 1]",
    hint="end the network in a dense layer of one unit, batch 1",
    applies=has_output,
)
def output_shape(subject: Subject) -> Iterator[Finding]:
    """Checked at load."""
    tensor = subject.output
    assert tensor is not None
    if tensor.shape != (1, 1):
        yield Finding(f"the output's shape is {shape_text(tensor)}", "[1, 1]", shape_text(tensor))


@rule("output-dtype", "The output is uint8", hint=_EXPORT_HINT, applies=has_output)
def output_dtype(subject: Subject) -> Iterator[Finding]:
    """Checked at load."""
    tensor = subject.output
    assert tensor is not None
    if tensor.dtype != "UINT8":
        yield Finding(f"the output is {tensor.dtype}", "UINT8", tensor.dtype)


@rule(
    "output-zero-point",
    "The output's zero point is 0",
    hint="let the converter quantise the sigmoid's output; the runtime reads byte / 255 as the probability",
    applies=has_byte_output,
)
def output_zero_point(subject: Subject) -> Iterator[Finding]:
    """The runtime never reads it."""
    yield from _zero_point("output", subject.output, OUTPUT_ZERO_POINT)


@rule(
    "output-scale",
    "The output's scale is 1/256",
    hint="let the converter quantise the sigmoid's output; the runtime reads byte / 255 as the probability",
    applies=has_byte_output,
    severity=("fail", "warn"),
)
def output_scale(subject: Subject) -> Iterator[Finding]:
    """The runtime never reads it."""
    yield from _scale("output", subject.output, OUTPUT_SCALE)


def _zero_point(end: str, tensor: Tensor | None, expected: int) -> Iterator[Finding]:
    if tensor is None or tensor.quantization is None:
        yield Finding(f"the {end} has no quantisation", str(expected))
    elif tensor.quantization.zero_point != expected:
        result = tensor.quantization.zero_point
        yield Finding(f"the {end}'s zero point is {result}", str(expected), str(result))


def _scale(end: str, tensor: Tensor | None, expected: float) -> Iterator[Finding]:
    if tensor is None or tensor.quantization is None:
        yield Finding(f"the {end} has no quantisation", f"{expected:.9g}")
        return
    result = tensor.quantization.scale
    deviation = abs(result / expected - 1)
    if not deviation <= SCALE_WARNS:  # NaN fails too
        message = f"the {end}'s scale {result:.9g} deviates by {deviation:.2%} from the {expected:.9g} of the device"
        status: Status = "warn" if deviation <= SCALE_FAILS else "fail"
        yield Finding(message, f"{expected:.9g}", f"{result:.9g}", status)
