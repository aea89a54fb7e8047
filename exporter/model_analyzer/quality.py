"""The quality of a model, from its file alone: sizes, use of the int8 range, reachable output, GPU delegates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from exporter.model_analyzer.architecture import ModelAnalysis, analyze_source
from exporter.model_analyzer.performance import performance_of
from exporter.model_analyzer.source import Source, open_source, verify_source
from mww.core.errors import UnsupportedModelError
from mww.esphome.chips import DEFAULT_CHIP
from mww.tflite.model_file import ModelFile, Tensor
from mww.tflite.schema import WEIGHTED
from mww.tflm.arena import predict_arenas
from mww.verification import VerificationReport

SUPPORTED: Final = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXP", "FULLY_CONNECTED", "LOGICAL_AND",
    "LOGISTIC", "LSTM", "MAX_POOL_2D", "MAXIMUM", "MINIMUM", "MUL", "PAD", "PRELU", "RELU", "RELU6", "RESHAPE",
    "RESIZE_BILINEAR", "SOFTMAX", "STRIDED_SLICE", "SUB", "TRANSPOSE_CONV",
})  # fmt: skip
"""Operators that GPU delegates run in 16 and 32 bit floating point; int8 operators run dequantised."""

STATEFUL: Final = frozenset({"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
"""Operators of the streaming state, which stay on the CPU."""

DTYPES: Final = frozenset({"FLOAT32", "FLOAT16", "INT8", "UINT8", "INT32", "BOOL"})


@dataclass(frozen=True, slots=True)
class GpuReport:
    """Whether a GPU delegate can run a model.

    Attributes:
        model: Path of the model.
        compatible: Whether a GPU delegate could run the whole graph.
        unsupported: The number of each operator that GPU delegates do not support.
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
    """List the operators and types of a model that GPU delegates do not support.

    Raises:
        ModelFileError: The model cannot be read.
    """
    return gpu_report_of(open_source(path))


def gpu_report_of(source: Source) -> GpuReport:
    """The same, for a parsed model."""
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
        note = f"a GPU delegate would run {delegated} of {total} operators"
    return GpuReport(str(source.path), compatible, unsupported, stateful, dtypes, delegated, total, note)


@dataclass(frozen=True, slots=True)
class QualityThresholds:
    """The limits; the largest values of the published models are in brackets.

    Attributes:
        max_failed_checks: Failed checks of the verification (0).
        max_size: Bytes of the file (115,400).
        max_arena: Bytes of the largest minimum over all chips (45,200).
        max_state: Bytes of streaming state (8,024).
        max_macs: Multiply-accumulates an inference (59,072).
        min_highest_output: Probability that the output must be able to reach (1.0).
        min_range_use: Part of -127..127 that the median channel's weights use (1.0).
        max_dead_channels: Part of channels whose weights are all zero (0).
        max_zero_weights: Part of weights that are zero (0.013).
        max_load: Part of the time that an ESP32-S3 spends on it, where that can be reported (0.87).
    """

    max_failed_checks: int = 0
    max_size: int = 256 * 1024
    max_arena: int = 64 * 1024
    max_state: int = 16 * 1024
    max_macs: int = 150_000
    min_highest_output: float = 0.9
    min_range_use: float = 0.9
    max_dead_channels: float = 0.05
    max_zero_weights: float = 0.5
    max_load: float = 0.9


@dataclass(frozen=True, slots=True)
class QualityMeasure:
    """A property and its limit; `value` is None where the file does not determine it: then it passes."""

    name: str
    value: float | None
    limit: float
    passed: bool
    message: str


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All measures of a model; `passed` when each is within its limit."""

    model: str
    model_sha256: str
    passed: bool
    measures: tuple[QualityMeasure, ...]


@dataclass(frozen=True, slots=True)
class WeightStatistics:
    """Statistics of the int8 weights of all layers.

    Attributes:
        channels: Number of output channels.
        dead_channels: Channels whose weights are all zero.
        range_use: Median over channels of the largest magnitude, divided by 127.
        zero_weights: Share of weights that are zero.
    """

    channels: int
    dead_channels: int
    range_use: float
    zero_weights: float


def validate_model_quality(
    path: Path | str,
    thresholds: QualityThresholds = QualityThresholds(),
) -> QualityReport:
    """Compare a `.tflite`, or a manifest's model, with thresholds.

    Raises:
        ModelFileError: The model cannot be read.
        ManifestError: The manifest cannot be read, or breaks the schema.
    """
    source = open_source(path)
    return quality_of(source.model, analyze_source(source), verify_source(source), thresholds)


def quality_of(
    model: ModelFile,
    analysis: ModelAnalysis,
    verification: VerificationReport,
    thresholds: QualityThresholds = QualityThresholds(),
) -> QualityReport:
    """Compare a model with known structure and verification with thresholds."""
    measures = tuple(_measures(model, analysis, len(verification.failures), thresholds))
    return QualityReport(analysis.model, analysis.sha256, all(measure.passed for measure in measures), measures)


def _measures(
    model: ModelFile, analysis: ModelAnalysis, failed: int, limits: QualityThresholds
) -> Iterator[QualityMeasure]:
    weights = weight_statistics(model)
    highest = analysis.highest_output
    load = performance_of(analysis, DEFAULT_CHIP).load
    yield _at_most("failed_checks", failed, limits.max_failed_checks, "failed checks of mww verify")
    yield _at_most("size", analysis.size, limits.max_size, "bytes of the file")
    yield _at_most("arena", _arena(model), limits.max_arena, "bytes of arena on the chip that needs the most")
    yield _at_most("state", analysis.state_bytes, limits.max_state, "bytes of streaming state")
    yield _at_most("macs", analysis.cost.macs, limits.max_macs, "multiply-accumulates an inference")
    reachable = None if highest is None else highest / 255
    yield _at_least("highest_output", reachable, limits.min_highest_output, "highest output that can be reached")
    if weights is not None:
        dead = weights.dead_channels / max(1, weights.channels)
        yield _at_least("range_use", weights.range_use, limits.min_range_use, "of the int8 range used by weights")
        yield _at_most("dead_channels", dead, limits.max_dead_channels, "of channels whose weights are all zero")
        yield _at_most("zero_weights", weights.zero_weights, limits.max_zero_weights, "of weights that are zero")
    busy = None if load is None else load[1]
    yield _at_most("load", busy, limits.max_load, "of an ESP32-S3's time, estimated")


def _arena(model: ModelFile) -> int | None:
    try:
        return max(prediction.minimum for prediction in predict_arenas(model))
    except UnsupportedModelError:
        return None


def weight_statistics(model: ModelFile) -> WeightStatistics | None:
    """Statistics of the int8 weights; None without int8 weights."""
    used: list[float] = []
    zeros = total = 0
    for operator in model.main.operators:
        weights = _weights(model, operator.op, operator.inputs)
        if weights is None:
            continue
        axis = 3 if operator.op == "DEPTHWISE_CONV_2D" else 0
        values = model.constant(weights).astype(np.int16)
        channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        used += (np.abs(channels).max(axis=1) / 127).tolist()
        zeros += int((values == 0).sum())
        total += values.size
    if not total:
        return None
    dead = sum(1 for part in used if part == 0)
    return WeightStatistics(len(used), dead, float(np.median(used)), zeros / total)


def _weights(model: ModelFile, op: str, inputs: tuple[int, ...]) -> Tensor | None:
    if op not in WEIGHTED or len(inputs) < 2 or inputs[1] < 0:
        return None
    tensor = model.main.tensors[inputs[1]]
    rank = 2 if op == "FULLY_CONNECTED" else 4
    whole = tensor.elements > 0 and model.buffers[tensor.buffer].size == tensor.nbytes
    return tensor if tensor.dtype == "INT8" and len(tensor.shape) == rank and whole else None


def _at_most(name: str, value: float | None, limit: float, what: str) -> QualityMeasure:
    passed = value is None or value <= limit
    return QualityMeasure(name, value, limit, passed, f"{_shown(value)} {what}, at most {_shown(limit)}")


def _at_least(name: str, value: float | None, limit: float, what: str) -> QualityMeasure:
    passed = value is None or value >= limit
    return QualityMeasure(name, value, limit, passed, f"{_shown(value)} {what}, at least {_shown(limit)}")


def _shown(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:.0%}"
