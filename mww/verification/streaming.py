"""Whether the graph streams: ring buffers that fit their windows, and an output that can reach the cutoff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, isfinite
from typing import Final

from mww.esphome.contract import cutoff_byte
from mww.tflite.model_file import Operator, Tensor
from mww.tflite.operator_options import Conv2D, Elementwise, FullyConnected
from mww.verification.rules import Finding, Subject, rule
from mww.verification.state import has_variables
from mww.verification.timeline import Timeline

REACHABLE: Final = 0.9
"""Probability that any wake word must be able to reach; the cutoffs of published models are 0.5 (VAD) to 0.99."""

_CAUSE: Final = "as when the wake word is absent from the calibration set"
_BOUNDED: Final = {"RELU6": 6.0, "RELU_N1_TO_1": 1.0}


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


def highest_byte(subject: Subject) -> int | None:
    """The highest output that the model can ever give, 0..255: the sigmoid of the largest logit that int8 can hold.

    None when the output does not come from a quantised LOGISTIC.
    """
    sigmoid = find_sigmoid(subject)
    if sigmoid is None:
        return None
    logit, probability, output = (t.quantization for t in (sigmoid.logit, sigmoid.probability, sigmoid.output))
    assert logit is not None and probability is not None and output is not None
    if not all(isfinite(q.scale) and q.scale > 0 for q in (logit, probability, output)):
        return None
    largest = (127 - logit.zero_point) * logit.scale
    producer = subject.main.producers.get(sigmoid.logit.index)
    if producer is not None and isinstance(producer.options, FullyConnected | Conv2D | Elementwise):
        largest = min(largest, _BOUNDED.get(producer.options.activation, largest))
    value = 1 / (1 + exp(-max(-80.0, min(80.0, largest))))
    stored = min(127, round(value * 256) - 128)
    real = (stored - probability.zero_point) * probability.scale
    return max(0, min(255, round(min(real / output.scale, 512)) + output.zero_point))


@rule(
    "highest-output",
    "The output can rise above the cutoff",
    hint="calibrate again with the wake word spoken in at least a fifth of the clips",
    applies=lambda subject: highest_byte(subject) is not None,
    severity=("fail", "warn"),
)
def highest_output(subject: Subject) -> Iterator[Finding]:
    """A calibration set without the wake word ends the logit's range near 0: the model loads, runs and never wakes."""
    highest = highest_byte(subject)
    assert highest is not None
    shown = f"{highest} of 255 ({highest / 255:.2f})"
    if subject.manifest is not None:
        cutoff = cutoff_byte(subject.manifest.probability_cutoff)
        if highest <= cutoff:
            message = f"the output can never exceed {shown}, nor so the cutoff's {cutoff}, {_CAUSE}"
            yield Finding(message, f"> {cutoff}", str(highest))
    elif highest / 255 < REACHABLE:
        message = f"the output can never exceed {shown}, {_CAUSE}"
        yield Finding(message, f">= {REACHABLE}", f"{highest / 255:.2f}", status="warn")
