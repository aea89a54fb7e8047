"""What TFLM asks of the file as a whole: schema, operators, tensors, their data, and the order of execution."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Final

from mww.esphome.contract import REGISTERED_OPS, SCHEMA_VERSION
from mww.tflite.model_file import Quantization, Tensor
from mww.tflite.schema import CUSTOM_OPERATOR, INTEGER_RANGES, OPERATORS, CallOnce
from mww.verification.rules import Finding, Graph, Status, Subject, rule

_FLOATS: Final = frozenset({"FLOAT32", "FLOAT16", "FLOAT64", "BFLOAT16"})
_UNKNOWN_TYPES: Final = frozenset({"STRING", "VARIANT", "COMPLEX64", "COMPLEX128", "BFLOAT16"})
"""Types for which no kernel of the 20 has data, or `TfLiteTypeSizeOf` (memory_helpers.cc) has no size."""

_EXPORT_SIGNS: Final = {
    "DEQUANTIZE": "quantise everything between int8 input and uint8 output, ring buffers included",
    "EXPAND_DIMS": "save with tf.keras.export.ExportArchive and a batch of 1, not with model.export()",
    "SHAPE": "export with a batch of 1, so that every shape is known to the converter",
}
"""Operators that a wrong export leaves, with the cure; the `trap-` rules name the cause."""

_ALIGNMENT: Final = 4
"""Bytes; the kernels load int32 data by word, which faults on an Xtensa core unless it is aligned."""


@rule(
    "schema-version",
    f"The schema version is {SCHEMA_VERSION}",
    hint="convert the model again with a current TensorFlow",
)
def schema_version(subject: Subject) -> Iterator[Finding]:
    """Checked first at load."""
    version = subject.model.version
    if version != SCHEMA_VERSION:
        yield Finding(f"the schema version is {version}", str(SCHEMA_VERSION), str(version))


@rule(
    "operators",
    "Every operator is one of the 20 that ESPHome registers",
    hint="build the network from convolutions, pooling, dense layers and ring buffers as the published models do",
)
def operators(subject: Subject) -> Iterator[Finding]:
    """`register_streaming_ops_`; TFLM's FindOp fails on every other operator, of any version."""
    known = (*REGISTERED_OPS, OPERATORS[CUSTOM_OPERATOR])
    counts: dict[str, int] = {}
    for _, operator in subject.model.operators():
        if operator.op not in known:
            counts[operator.op] = counts.get(operator.op, 0) + 1
    for op, count in counts.items():
        message = f"{op} ({count}x) is not registered on the device"
        yield Finding(message, "the 20 registered operators", op, hint=_EXPORT_SIGNS.get(op))


@rule(
    "custom-operators",
    "The model has no custom operator",
    hint="use built-in operators alone; Flex operators never run",
)
def custom_operators(subject: Subject) -> Iterator[Finding]:
    """None is registered."""
    for _, operator in subject.model.operators():
        if operator.op == OPERATORS[CUSTOM_OPERATOR]:
            yield Finding(f"custom operator {operator.custom_code[:40]!r}", "none", operator.custom_code[:40])


@rule(
    "dynamic-shapes",
    "Every shape is static",
    hint="export with a batch of 1 and a fixed number of slices: TFLM plans its memory once",
    severity=("fail", "warn"),
)
def dynamic_shapes(subject: Subject) -> Iterator[Finding]:
    """TFLM never resizes a tensor; a signature of -1 marks a dimension that the converter left open."""
    ends = {*subject.main.subgraph.inputs, *subject.main.subgraph.outputs}
    for subgraph in subject.model.subgraphs:
        for tensor in subgraph.tensors:
            if any(size < 0 for size in tensor.shape_signature):
                result = str(list(tensor.shape_signature))
                message = f"{_name(tensor)} has the open shape {result}"
                status: Status = "fail" if subgraph.index == 0 and tensor.index in ends else "warn"
                yield Finding(message, str(list(tensor.shape)), result, status)


@rule(
    "float-tensors",
    "No tensor is floating point",
    hint="convert with Optimize.DEFAULT, a representative data set, TFLITE_BUILTINS_INT8 and integer input and output",
)
def float_tensors(subject: Subject) -> Iterator[Finding]:
    """A float kernel either fails or is far too slow; published models have none."""
    for subgraph in subject.model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.dtype in _FLOATS:
                yield Finding(f"{_name(tensor)} is {tensor.dtype}", "INT8", tensor.dtype)


@rule("tensor-types", "Every tensor's type has a size on the device", hint="use int8 activations and int32 biases")
def tensor_types(subject: Subject) -> Iterator[Finding]:
    """`ConvertTensorType` and `TfLiteTypeSizeOf` refuse the rest while tensors are allocated."""
    for subgraph in subject.model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.dtype in _UNKNOWN_TYPES:
                yield Finding(f"{_name(tensor)} is {tensor.dtype}", "INT8", tensor.dtype)


@rule(
    "quantisation",
    "Every scale is positive and finite, every zero point within its type",
    hint="calibrate again: NaN or empty calibration data gives such parameters",
)
def quantisation(subject: Subject) -> Iterator[Finding]:
    """A kernel divides by scales and clamps to zero points without a check."""
    for subgraph in subject.model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.quantization is not None and tensor.dtype in INTEGER_RANGES:
                yield from _parameters(tensor, tensor.quantization)


def _parameters(tensor: Tensor, quantization: Quantization) -> Iterator[Finding]:
    bad_scale = next((scale for scale in quantization.scales if not (isfinite(scale) and scale > 0)), None)
    if bad_scale is not None:
        yield Finding(f"{_name(tensor)} has the scale {bad_scale:g}", "> 0", f"{bad_scale:g}")
    low, high = INTEGER_RANGES[tensor.dtype]
    bad_point = next((point for point in quantization.zero_points if not low <= point <= high), None)
    if bad_point is not None:
        yield Finding(f"{_name(tensor)} has the zero point {bad_point}", f"{low}..{high}", str(bad_point))


@rule(
    "constant-data",
    "Every constant's data is in the flatbuffer, aligned, and as long as its shape needs",
    hint="write the file with the TensorFlow converter or a flatbuffer library, and copy it whole",
)
def constant_data(subject: Subject) -> Iterator[Finding]:
    """TFLM takes a pointer and never compares the lengths; it does not read data after the flatbuffer."""
    model = subject.model
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            data = model.buffers[tensor.buffer]
            if not data.size or tensor.dtype == "STRING":
                continue
            if data.external:
                yield Finding(f"{_name(tensor)} has its data behind the flatbuffer", "in the flatbuffer", "outside")
            elif data.size != tensor.nbytes:
                text = f"{data.size} bytes"
                yield Finding(f"{_name(tensor)} has {text} of data", f"{tensor.nbytes} bytes", text)
            elif tensor.dtype in ("INT32", "INT64") and data.offset % _ALIGNMENT:
                text = str(data.offset)
                yield Finding(f"{_name(tensor)} lies at the unaligned offset {text}", "a multiple of 4", text)


@rule(
    "execution-order",
    "Every tensor is written before it is read, and once",
    hint="convert the model again; the order of operators was changed after the converter wrote it",
)
def execution_order(subject: Subject) -> Iterator[Finding]:
    """TFLM runs operators in the order of the file, and shares memory between tensors by their first and last use."""
    for graph in subject.graphs:
        yield from _order(subject, graph)


def _order(subject: Subject, graph: Graph) -> Iterator[Finding]:
    tensors = graph.subgraph.tensors
    written = set(graph.subgraph.inputs)

    def ready(index: int) -> bool:
        return index in written or subject.model.is_constant(tensors[index]) or tensors[index].elements == 0

    for operator in graph.subgraph.operators:
        for index in operator.inputs:
            if index >= 0 and not ready(index):
                yield Finding(f"{operator.op} {operator.index} reads {_name(tensors[index])} before it is written")
        for index in operator.outputs:
            if index in written or subject.model.is_constant(tensors[index]):
                yield Finding(f"{operator.op} {operator.index} writes {_name(tensors[index])} again")
            written.add(index)
    for index in graph.subgraph.outputs:
        if not ready(index):
            yield Finding(f"the output {_name(tensors[index])} is never written")


@rule(
    "subgraphs",
    "Every subgraph is run: the main one, and the initialiser by CALL_ONCE",
    hint="remove subgraphs that nothing calls; TFLM prepares their operators and keeps their tensors in the arena",
    severity=("warn",),
)
def subgraphs(subject: Subject) -> Iterator[Finding]:
    """TFLM allocates and prepares all subgraphs."""
    called = {0}
    for _, operator in subject.model.operators():
        called.update([operator.options.subgraph] if isinstance(operator.options, CallOnce) else [])
    for subgraph in subject.model.subgraphs:
        if subgraph.index not in called:
            yield Finding(f"nothing calls subgraph {subgraph.index}", status="warn")


@rule(
    "memory-plan",
    "Memory is planned on the device",
    hint="remove the OfflineMemoryAllocation metadata; the device plans as well, and checks what it plans",
    severity=("warn",),
)
def memory_plan(subject: Subject) -> Iterator[Finding]:
    """TFLM uses the offsets of an offline plan without checking whether tensors overlap."""
    if any(name == "OfflineMemoryAllocation" for name, _ in subject.model.metadata):
        yield Finding("the file carries an offline memory plan", status="warn")


def _name(tensor: Tensor) -> str:
    return f"tensor {tensor.index} ({tensor.name[:40]!r})" if tensor.name else f"tensor {tensor.index}"
