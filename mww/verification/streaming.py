"""Whether the graph streams: which slices of time each tensor holds, and ring buffers that fit their windows.

And whether the output can reach the cutoff.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, isfinite
from typing import Final

from mww.esphome.contract import DEFAULT_PROBABILITY_CUTOFF, MIN_SLICES_BEFORE_DETECTION, cutoff_byte
from mww.esphome.manifest import Manifest
from mww.tflite.model_file import Operator, Tensor
from mww.tflite.schema import Concatenation, Conv2D, DepthwiseConv2D, Pool2D
from mww.verification.bounds import output_bounds
from mww.verification.kernels.convolution import Window
from mww.verification.kernels.data import slice_ranges, split_axis
from mww.verification.kernels.node import Node, Problem
from mww.verification.rules import Finding, Graph, Subject, has_byte_output, rule
from mww.verification.state import Key, StateAccess, has_variables, state_access

_TIME = 1
"""The axis of time in every tensor that has one."""


@dataclass(frozen=True, slots=True)
class Span:
    """Slices [start, stop) of one stream; a step brings `fresh` of them; `states` are the ring buffers in it."""

    start: int
    stop: int
    fresh: int
    states: frozenset[Key] = frozenset()

    @property
    def length(self) -> int:
        """Number of slices."""
        return self.stop - self.start

    def part(self, begin: int, end: int) -> Span:
        """Slices `begin` to `end`, counted from this span's first."""
        return replace(self, start=self.start + begin, stop=self.start + end)

    def __str__(self) -> str:
        return f"{self.start}..{self.stop - 1}"


class Timeline:
    """Spans of the main subgraph's tensors, as far as they can be known, and the findings on the way."""

    def __init__(self, subject: Subject) -> None:
        self.spans: dict[int, Span] = {}
        self.findings: list[Finding] = []
        self._subject = subject
        self._graph: Graph = subject.main
        self._access: StateAccess = state_access(self._graph)
        self._reads = {use.operator.index: use for use in self._access.reads}
        self._assigns = {use.operator.index: use for use in self._access.assigns}
        source = subject.input
        if source is not None and len(source.shape) > _TIME:
            self.spans[source.index] = Span(0, source.shape[_TIME], source.shape[_TIME])
        for operator in self._graph.subgraph.operators:
            self._visit(operator)

    def _visit(self, operator: Operator) -> None:
        if operator.index in self._assigns:
            self.findings.extend(self._assigned(operator))
            return
        node = Node(self._subject.model, self._graph, operator)
        span: Span | None = None
        if operator.index in self._reads:
            use = self._reads[operator.index]
            length = use.value.shape[_TIME] if len(use.value.shape) > 2 else 0
            span = Span(-length, 0, 0, frozenset({use.key})) if length else None
        elif operator.op == "CONCATENATION":
            span = self._concatenated(node)
        elif operator.op == "SPLIT_V":
            self._split(node)
            return
        elif isinstance(operator.options, Conv2D | DepthwiseConv2D | Pool2D):
            span = self._windowed(node)
        elif operator.op in ("ADD", "MUL"):
            span = self._combined(node)
        elif operator.op in ("STRIDED_SLICE", "RESHAPE", "LOGISTIC", "QUANTIZE", "PAD"):
            span = self._moved(node)
        if span is not None and operator.outputs:
            self.spans[operator.outputs[0]] = span

    def _span(self, tensor: Tensor | None) -> Span | None:
        """The span of a tensor, where its shape agrees with it."""
        span = self.spans.get(tensor.index) if tensor is not None else None
        fits = span is not None and tensor is not None and len(tensor.shape) > 2 and tensor.shape[_TIME] == span.length
        return span if fits else None

    def _problem(self, node: Node, message: str, expected: str | None = None, result: str | None = None) -> None:
        self.findings.append(Finding(f"{node.operator.op} {node.operator.index} {message}", expected, result))

    def _concatenated(self, node: Node) -> Span | None:
        options = node.operator.options
        assert isinstance(options, Concatenation)
        known = [self._span(tensor) for tensor in node.inputs]
        spans = [span for span in known if span is not None]
        if not spans or len(spans) != len(known) or not node.outputs:
            return None
        if options.axis % max(1, len(node.output.shape)) != _TIME:
            return self._aligned(node, spans)
        joined = spans[0]
        for span in spans[1:]:
            if span.start != joined.stop:
                self._problem(node, f"joins slices {joined} to {span}", f"{joined.stop}..", str(span))
                return None
            joined = Span(joined.start, span.stop, max(joined.fresh, span.fresh), joined.states | span.states)
        return joined

    def _aligned(self, node: Node, spans: list[Span]) -> Span | None:
        """Branches side by side must hold the same slices."""
        other = next((span for span in spans if (span.start, span.stop) != (spans[0].start, spans[0].stop)), None)
        if other is not None and other.length == spans[0].length:
            self._problem(node, f"combines slices {spans[0]} with {other}", str(spans[0]), str(other))
            return None
        return spans[0]

    def _combined(self, node: Node) -> Span | None:
        spans = [span for span in map(self._span, node.inputs) if span is not None]
        return self._aligned(node, spans) if spans else None

    def _split(self, node: Node) -> None:
        span = self._span(node.optional(0))
        if span is None or len(node.inputs) != 3 or None in node.inputs:
            return
        axis = split_axis(node)
        begin = 0
        for output in node.outputs:
            if axis == _TIME and len(output.shape) > _TIME:
                self.spans[output.index] = span.part(begin, begin + output.shape[_TIME])
                begin += output.shape[_TIME]
            elif isinstance(axis, int):
                self.spans[output.index] = span

    def _moved(self, node: Node) -> Span | None:
        span = self._span(node.optional(0))
        if span is None or not node.outputs:
            return None
        output = node.output
        if node.operator.op == "STRIDED_SLICE" and len(node.inputs) == 4 and None not in node.inputs:
            ranges = slice_ranges(node)
            if isinstance(ranges, Problem) or ranges[_TIME].step != 1 or len(output.shape) != len(ranges):
                return None
            return span.part(ranges[_TIME].start, ranges[_TIME].stop)
        if node.operator.op == "PAD" and output.shape[_TIME:2] != node.input(0).shape[_TIME:2]:
            message = f"PAD {node.operator.index} puts zeros into time in every step, instead of older slices"
            self.findings.append(Finding(message, status="warn"))
            return None
        same = len(output.shape) > 2 and output.shape[_TIME] == span.length
        return span if same else None

    def _windowed(self, node: Node) -> Span | None:
        span, window = self._span(node.optional(0)), _window(node)
        if span is None or window is None or min(*window.size, *window.stride, *window.dilation) < 1:
            return None
        extent, step = window.extent[0], window.stride[0]
        if extent == 1 and step == 1:
            return span
        if window.padding == "SAME" and extent > 1:
            self._problem(node, f"pads {extent - 1} slices in every step", "VALID padding behind a ring buffer", "SAME")
            return None
        count = window.positions(0, span.length)
        if count < 1 or not span.fresh:
            return None
        if count == 1 and step >= span.length:  # a pool over all that there is: its stride is never used
            return Span(0, 1, 1)
        return self._slid(node, span, extent, step)

    def _slid(self, node: Node, span: Span, extent: int, step: int) -> Span | None:
        """Slide a window of `extent` slices by `step`: it must end at the newest slice and miss none."""
        if span.fresh % step:
            self._problem(node, f"has stride {step}, but a step brings {span.fresh} slices", str(span.fresh), str(step))
            return None
        short = span.length < extent - step + span.fresh
        if short or (span.length - extent) % step or span.stop != span.fresh:
            expected = f"{max(0, extent - step)} older slices (window - stride)"
            message = f"of {extent} slices and stride {step} sees slices {span}"
            self._problem(node, message, expected, f"{span.length - span.fresh} older slices")
            return None
        fresh = span.fresh // step
        return Span(fresh - ((span.length - extent) // step + 1), fresh, fresh)

    def _assigned(self, operator: Operator) -> Iterator[Finding]:
        use = self._assigns[operator.index]
        span = self._span(use.value)
        if span is None:
            return
        name = f"the ring buffer {use.key[:40]!r}"
        newest = f"{span.fresh - span.length}..{span.fresh - 1}"
        if not span.fresh:
            yield Finding(f"{name} never takes up a new slice", newest, str(span))
        elif span.stop != span.fresh:
            yield Finding(f"{name} keeps slices {span}, not the newest", newest, str(span))
        elif span.length > span.fresh and use.key not in span.states:
            yield Finding(f"{name} is not made of its own older slices")


def _window(node: Node) -> Window | None:
    options = node.operator.options
    if isinstance(options, Pool2D):
        return Window(options.filter, options.stride, (1, 1), options.padding)
    weights = node.optional(1)
    if weights is None or len(weights.shape) != 4 or not isinstance(options, Conv2D | DepthwiseConv2D):
        return None
    return Window(weights.shape[1:3], options.stride, options.dilation, options.padding)


REACHABLE: Final = 0.9
"""Probability that any wake word must be able to reach; the cutoffs of published models are 0.5 (VAD) to 0.99."""

_ABSENT: Final = "no clip of the calibration raised it over one half, as when the wake word is absent from them"
_LOW: Final = (
    "the model rose no higher on the clips of its calibration, though over one half: the model itself stays low"
)
_LOW_HINT: Final = "train it longer, or choose a cutoff below that: mww cutoff does so by labelled clips"
_HALF: Final = 128
"""The byte of a logit of 0, where the range of logits that are all negative ends, since a range holds 0."""

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


@rule(
    "highest-output",
    "The output can rise above the cutoff",
    hint="calibrate again with the wake word spoken in at least a fifth of the clips; if it was, train longer",
    applies=has_byte_output,
    severity=("fail", "warn"),
)
def highest_output(subject: Subject) -> Iterator[Finding]:
    """Calibration without the wake word, or a model that stays low on it, ends the logit's range: it never wakes."""
    lowest, highest = output_bounds(subject)
    shown = f"{highest} of 255 ({highest / 255:.2f})"
    calibrated = _calibrated_limit(subject)
    cause: str = "whatever is heard"
    hint: str | None = _BROKEN_HINT
    if calibrated is not None and calibrated <= highest:
        cause, hint = (_ABSENT, None) if highest <= _HALF else (_LOW, _LOW_HINT)
    manifest = _with_cutoff(subject)
    if manifest is not None:
        cutoff = cutoff_byte(manifest.probability_cutoff)
        if highest <= cutoff < _HIGHEST_CUTOFF:  # no model exceeds 255: there the cutoff is wrong, as its own rule says
            message = f"the output can never exceed {shown}, and the cutoff is {cutoff}: the model never wakes; {cause}"
            yield Finding(message, f"> {cutoff}", str(highest), hint=hint)
    elif lowest == highest:
        message = f"the output is {shown} for any input: the model never wakes"
        yield Finding(message, "more than one value", str(highest), hint=_BROKEN_HINT)
    elif highest / 255 < REACHABLE:
        message = f"the output can never exceed {shown}; {cause}"
        yield Finding(message, f">= {REACHABLE}", f"{highest / 255:.2f}", status="warn", hint=hint)


@rule(
    "lowest-output",
    "The output can fall below the cutoff",
    hint=_BROKEN_HINT,
    applies=has_byte_output,
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
            f"until {MIN_SLICES_BEFORE_DETECTION} slices were below it, so the model never wakes"
        )
        yield Finding(message, f"< {cutoff}", str(lowest), status="warn" if manifest is None else "fail")
