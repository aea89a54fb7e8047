"""Which parts of a model no GPU delegate takes. Static: it reads the file, and needs no GPU.

The list of operators is that of TensorFlow Lite's GPU delegate (tensorflow.org/lite/performance/gpu, "Supported ops").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.model_analyzer.source import Source, open_source

SUPPORTED: Final = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXP", "FULLY_CONNECTED", "LOGICAL_AND",
    "LOGISTIC", "LSTM", "MAX_POOL_2D", "MAXIMUM", "MINIMUM", "MUL", "PAD", "PRELU", "RELU", "RELU6", "RESHAPE",
    "RESIZE_BILINEAR", "SOFTMAX", "STRIDED_SLICE", "SUB", "TRANSPOSE_CONV",
})  # fmt: skip
"""Operators in 16 and 32 bit floating point; int8 ones run dequantised."""

STATEFUL: Final = frozenset({"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
"""State that lives between inferences stays on the CPU."""

DTYPES: Final = frozenset({"FLOAT32", "FLOAT16", "INT8", "UINT8", "INT32", "BOOL"})


@dataclass(frozen=True, slots=True)
class GpuReport:
    """What keeps a model from a GPU.

    Attributes:
        model: Path of the model.
        compatible: Whether a GPU delegate could take the whole graph.
        unsupported: Operator to how often it occurs, of those no GPU delegate takes.
        stateful: Whether some of these hold the streaming state.
        dtypes: Types of tensors that no GPU delegate takes.
        delegated: Operators of the main subgraph that it would take.
        total: All operators of the main subgraph.
        note: The account, in one sentence.
    """

    model: str
    compatible: bool
    unsupported: dict[str, int]
    stateful: bool
    dtypes: tuple[str, ...]
    delegated: int
    total: int
    note: str


def check_gpu_compatibility(path: Path | str) -> GpuReport:
    """Tell which operators and types of a model no GPU delegate takes.

    Raises:
        ModelFileError: The model cannot be read.
    """
    return gpu_report_of(open_source(path))


def gpu_report_of(source: Source) -> GpuReport:
    """Likewise, of a model that was read already."""
    main = source.model.main
    unsupported: dict[str, int] = {}
    for operator in main.operators:
        if operator.op not in SUPPORTED:
            unsupported[operator.op] = unsupported.get(operator.op, 0) + 1
    dtypes = tuple(sorted({tensor.dtype for tensor in main.tensors} - DTYPES))
    total = len(main.operators)
    delegated = total - sum(unsupported.values())
    stateful = bool(STATEFUL & set(unsupported))
    compatible = not unsupported and not dtypes
    note = "a GPU delegate could take the whole graph"
    if stateful:
        note = f"the streaming state stays on the CPU, which splits the graph: {delegated} of {total} operators remain"
    elif not compatible:
        note = f"a GPU delegate would take {delegated} of {total} operators"
    return GpuReport(str(source.path), compatible, unsupported, stateful, dtypes, delegated, total, note)
