"""Whether the graph streams: ring buffers that fit their windows, and an output that can reach the cutoff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, isfinite
from typing import Final

from mww.esphome.contract import DEFAULT_PROBABILITY_CUTOFF, MIN_SLICES_BEFORE_DETECTION, cutoff_byte
from mww.esphome.manifest import Manifest
from mww.tflite.model_file import Operator, Tensor
from mww.verification.bounds import output_bounds
from mww.verification.rules import Finding, Subject, rule
from mww.verification.state import has_variables
from mww.verification.timeline import Timeline

REACHABLE: Final = 0.9
"""Probability that any wake word must be able to reach; the cutoffs of published models are 0.5 (VAD) to 0.99."""

_CAUSE: Final = "as when the wake word is absent from the calibration set"
_BROKEN_HINT: Final = "a weight, bias or scale behind the output is wrong: train or export the model again"
_HIGHEST_CUTOFF: Final = 255


@rule(
    "ring-buffers",
    "Each ring buffer holds what its window needs: window - stride slices, the newest last",
    hint="take ring buffers of kernel - stride slices before a strided convolution and kernel - 1 before any other",
    applies=has_variables,
    severity=("fail", "warn"),
)
def ring_buffers(subject: Subject) -> Iterator[Finding]:
    """Nothing at run time notices windows that overlap or leave a gap."""
    yield from Timeline(subject).findings


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """The operator that gives the probability, its input (the logit) and the model's output."""

    operator: Operator
    logit: Tensor
    probability: Tensor
    output: Tensor


def find_sigmoid(subject: Subject) -> Sigmoid | None:
    """The quantised LOGISTIC whose output reaches the model's output unchanged but for its quantisation."""
    graph, output = subject.main, subject.output
    index = output.index if output is not None else -1
    for _ in graph.subgraph.operators:
        operator = graph.producers.get(index)
        if operator is None or not operator.inputs or operator.inputs[0] < 0 or output is None:
            return None
        if operator.op == "LOGISTIC":
            logit, probability = graph.subgraph.tensors[operator.inputs[0]], graph.subgraph.tensors[index]
            quantised = all(tensor.quantization is not None for tensor in (logit, probability, output))
            integers = logit.dtype == probability.dtype == "INT8" and output.dtype == "UINT8"
            return Sigmoid(operator, logit, probability, output) if quantised and integers else None
        if operator.op not in ("QUANTIZE", "RESHAPE"):
            return None
        index = operator.inputs[0]
    return None


def _calibrated_limit(subject: Subject) -> int | None:
    """The byte of the largest logit that int8 can hold; None when no quantised LOGISTIC gives the output."""
    sigmoid = find_sigmoid(subject)
    if sigmoid is None:
        return None
    logit, probability, output = (t.quantization for t in (sigmoid.logit, sigmoid.probability, sigmoid.output))
    assert logit is not None and probability is not None and output is not None
    if not all(isfinite(q.scale) and q.scale > 0 for q in (logit, probability, output)):
        return None
    largest = (127 - logit.zero_point) * logit.scale
    value = 1 / (1 + exp(-max(-80.0, min(80.0, largest))))
    stored = min(127, round(value * 256) - 128)
    real = (stored - probability.zero_point) * probability.scale
    return max(0, min(255, round(min(real / output.scale, 512)) + output.zero_point))


def _with_cutoff(subject: Subject) -> Manifest | None:
    """The manifest, where it gives a cutoff."""
    manifest = subject.manifest
    return manifest if manifest is not None and "probability_cutoff" not in manifest.wrong else None


def _has_byte_output(subject: Subject) -> bool:
    return subject.output is not None and subject.output.dtype == "UINT8"


@rule(
    "highest-output",
    "The output can rise above the cutoff",
    hint="calibrate again with the wake word spoken in at least a fifth of the clips",
    applies=_has_byte_output,
    severity=("fail", "warn"),
)
def highest_output(subject: Subject) -> Iterator[Finding]:
    """A calibration set without the wake word ends the logit's range near 0: the model loads, runs and never wakes."""
    lowest, highest = output_bounds(subject)
    shown = f"{highest} of 255 ({highest / 255:.2f})"
    calibrated = _calibrated_limit(subject)
    by_calibration = calibrated is not None and calibrated <= highest
    cause, hint = (_CAUSE, None) if by_calibration else ("whatever is heard", _BROKEN_HINT)
    manifest = _with_cutoff(subject)
    if manifest is not None:
        cutoff = cutoff_byte(manifest.probability_cutoff)
        if highest <= cutoff < _HIGHEST_CUTOFF:  # no model exceeds 255: there the cutoff is wrong, as its own rule says
            message = f"the output can never exceed {shown}, and the cutoff is {cutoff}: the model never wakes, {cause}"
            yield Finding(message, f"> {cutoff}", str(highest), hint=hint)
    elif lowest == highest:
        message = f"the output is {shown} whatever is heard: the model never wakes"
        yield Finding(message, "more than one value", str(highest), hint=_BROKEN_HINT)
    elif highest / 255 < REACHABLE:
        message = f"the output can never exceed {shown}, {cause}"
        yield Finding(message, f">= {REACHABLE}", f"{highest / 255:.2f}", status="warn", hint=hint)


@rule(
    "lowest-output",
    "The output can fall below the cutoff",
    hint=_BROKEN_HINT,
    applies=_has_byte_output,
    severity=("fail", "warn"),
)
def lowest_output(subject: Subject) -> Iterator[Finding]:
    """ESPHome listens only after 100 slices whose newest output is below the cutoff: else the model never wakes."""
    lowest, highest = output_bounds(subject)
    manifest = _with_cutoff(subject)
    cutoff = cutoff_byte(DEFAULT_PROBABILITY_CUTOFF if manifest is None else manifest.probability_cutoff)
    if 0 < cutoff <= lowest and (manifest is not None or lowest < highest):
        message = (
            f"the output can never fall below {lowest} of 255, and the cutoff is {cutoff}: ESPHome ignores outputs "
            f"until {MIN_SLICES_BEFORE_DETECTION} slices were below it, so that the model never wakes"
        )
        yield Finding(message, f"< {cutoff}", str(lowest), status="warn" if manifest is None else "fail")
