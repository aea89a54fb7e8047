"""The well-known ways in which an export goes wrong, recognised by the signs that each leaves in the file.

A trap is named beside the rules that it breaks, so that the cure is at hand. Calibrating a model that came from
`from_concrete_functions` leaves no file, and a calibration set without the wake word shows as `highest-output`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mww.esphome.contract import INPUT_SCALE, INPUT_ZERO_POINT
from mww.tflite.model_file import Tensor
from mww.tflite.schema import WEIGHTED
from mww.verification.interface import SCALE_FAILS
from mww.verification.rules import Finding, Subject, rule
from mww.verification.state import state_access

RAW_SCALE: Final = 1.0
"""From here up the calibration samples were the front-end's raw 0..680 as floats (2.5 was measured)."""
UNIT_SCALE: Final = 0.02
"""Down from here they were scaled to 0..1 (0.0038 was measured)."""


def _weighted_inputs(subject: Subject) -> list[Tensor]:
    """What flows into the operators that have weights, in the main subgraph."""
    subgraph = subject.main.subgraph
    inputs = [op.inputs[0] for op in subgraph.operators if op.op in WEIGHTED and op.inputs and op.inputs[0] >= 0]
    return [subgraph.tensors[index] for index in inputs]


def _is_float(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dtype == "FLOAT32"


def _computes_in_float(subject: Subject) -> bool:
    """Whether no operator with weights was quantised."""
    inputs = _weighted_inputs(subject)
    return bool(inputs) and all(tensor.dtype == "FLOAT32" for tensor in inputs)


def _has_weights(subject: Subject) -> bool:
    return bool(_weighted_inputs(subject))


@rule(
    "trap-model-export",
    "No sign of a SavedModel that was written with model.export()",
    hint="save with tf.keras.export.ExportArchive and a signature of batch 1, not with model.export()",
)
def model_export(subject: Subject) -> Iterator[Finding]:
    """It leaves the batch open and brings EXPAND_DIMS."""
    signs = ["EXPAND_DIMS"] if "EXPAND_DIMS" in subject.ops else []
    source = subject.input
    if source is not None and any(size < 0 for size in source.shape_signature):
        signs.append(f"the open shape {list(source.shape_signature)}")
    if signs:
        yield Finding(f"{' and '.join(signs)}: the SavedModel was written with model.export()", "neither", signs[0])


@rule(
    "trap-variable-quantisation",
    "No sign of ring buffers that were left in float",
    hint="set converter._experimental_variable_quantization = True before converting",
    applies=_has_weights,
)
def variable_quantisation(subject: Subject) -> Iterator[Finding]:
    """Float state between int8 operators, with DEQUANTIZE and QUANTIZE around it."""
    access = state_access(subject.main)
    floats = [use for use in access.reads + access.assigns if use.value.dtype == "FLOAT32"]
    if floats and not _computes_in_float(subject):
        count = len({use.key for use in floats})
        message = f"{count} ring buffers are float between int8 operators: _experimental_variable_quantization is unset"
        yield Finding(message, "INT8", "FLOAT32")


@rule(
    "trap-int8-output",
    "No sign of an int8 output",
    hint="set converter.inference_output_type = tf.uint8 (the input stays tf.int8)",
)
def int8_output(subject: Subject) -> Iterator[Finding]:
    """The final QUANTIZE is missing, and the device refuses to load the model."""
    if subject.output is not None and subject.output.dtype == "INT8":
        yield Finding("the output is int8: inference_output_type was tf.int8", "UINT8", "INT8")


@rule(
    "trap-float-ends",
    "No sign of a float input or output around quantised operators",
    hint="set converter.inference_input_type = tf.int8 and converter.inference_output_type = tf.uint8",
    applies=_has_weights,
)
def float_ends(subject: Subject) -> Iterator[Finding]:
    """The converter's default: QUANTIZE first, DEQUANTIZE last."""
    ends = {"input": subject.input, "output": subject.output}
    floats = [name for name, tensor in ends.items() if _is_float(tensor)]
    if floats and not _computes_in_float(subject):
        message = f"the {' and '.join(floats)} are float: inference_input_type or inference_output_type was not set"
        yield Finding(message, "INT8, UINT8", "FLOAT32")


@rule(
    "trap-no-calibration",
    "No sign of a conversion without representative data",
    hint="set converter.representative_dataset to 500 or more spectrograms, the wake word among them",
    applies=_has_weights,
)
def no_calibration(subject: Subject) -> Iterator[Finding]:
    """Without it weights alone are quantised, and everything between stays float."""
    if _computes_in_float(subject):
        yield Finding("every operator computes in float: there was no representative data set", "INT8", "FLOAT32")


def _has_quantised_input(subject: Subject) -> bool:
    source = subject.input
    return source is not None and source.dtype == "INT8" and source.quantization is not None


@rule(
    "trap-calibration-range",
    "No sign of calibration data outside 0..26",
    hint="calibrate with float features 0..26 (raw uint16 / 25.6), one cell forced to 0.0 and one to 26.0",
    applies=_has_quantised_input,
)
def calibration_range(subject: Subject) -> Iterator[Finding]:
    """The input's scale is the calibration data's range over 255, and the device assumes 26/255."""
    source = subject.input
    assert source is not None and source.quantization is not None
    scale, point = source.quantization.scale, source.quantization.zero_point
    if abs(scale / INPUT_SCALE - 1) <= SCALE_FAILS and point == INPUT_ZERO_POINT:
        return
    low, high = (-128 - point) * scale, (127 - point) * scale
    if scale >= RAW_SCALE:
        cause = "it held the front-end's raw values, 0..680"
    elif scale <= UNIT_SCALE:
        cause = "it was scaled to 0..1"
    else:
        cause = "it had no cell forced to 0.0 and 26.0"
    yield Finding(
        f"the calibration data reached from {low:.3g} to {high:.3g}: {cause}", "0..26", f"{low:.3g}..{high:.3g}"
    )


@rule(
    "trap-not-streaming",
    "The model keeps state from step to step",
    hint="convert the model to its streaming form (internal-state inference) before saving it",
)
def not_streaming(subject: Subject) -> Iterator[Finding]:
    """The non-streaming model takes a whole spectrogram and forgets it."""
    if not subject.ops & {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}:
        shape = str(list(subject.input.shape)) if subject.input is not None else "none"
        yield Finding(f"the model has no state variable, and its input is {shape}: not the streaming form", found=shape)
