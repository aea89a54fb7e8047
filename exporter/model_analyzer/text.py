"""The report about a model as plain text, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.model_analyzer.architecture import End, Layer
from exporter.model_analyzer.collection import Collection
from exporter.model_analyzer.performance import NOT_A_TIME, PerformanceEstimate
from mww.core.readable import printable


def as_text(collection: Collection) -> str:
    """All sections in order; control characters in names are replaced."""
    return "\n".join(line.rstrip() for line in _lines(collection)) + "\n"


def _lines(collection: Collection) -> Iterator[str]:
    analysis = collection.analysis
    verdict = "runs on ESPHome" if collection.verification.compatible else "does not run on ESPHome"
    yield f"{printable(analysis.model)}: {verdict}"
    yield f"sha256 {analysis.sha256}"
    yield ""
    yield from _table(_facts(collection))
    yield from _section("Layers", ("", "operator", "window", "output", "parameters", "MACs"), _layers(analysis.layers))
    states = [
        (printable(state.name)[:32], str(list(state.shape)), f"{state.size:,}", _scale(state.scale, state.zero_point))
        for state in analysis.states
    ]
    yield from _section("Streaming state", ("variable", "shape", "bytes", "quantisation"), states)
    arenas = [(a.chip, f"{a.minimum:,}", f"{a.used:,}", f"{a.head:,}", f"{a.tail:,}") for a in collection.arenas]
    yield from _section("Tensor arena, bytes", ("chip", "minimum", "used", "head", "tail"), arenas)
    if collection.arena_note is not None:
        yield f"no arena: {printable(collection.arena_note)}"
    yield from _section("Time an inference", ("chip", "kernels", "ms", "basis"), _times(collection.performance))
    head = ("chip", "kernels", "instructions", "basis")
    yield from _section("Instructions an inference", head, _instructions(collection.performance))
    yield f"  {NOT_A_TIME}"
    measures = [("ok" if m.passed else "FAIL", m.name, m.message) for m in collection.quality.measures]
    yield from _section("Quality", ("", "measure", ""), measures)
    results = [check for check in collection.verification.checks if check.status != "pass"]
    rows = [(check.status, check.id, printable(check.message)) for check in results]
    yield from _section(f"Checks: {len(collection.verification.checks)}, not passed: {len(results)}", (), rows)
    yield f"GPU: {collection.gpu.note}"


def _facts(collection: Collection) -> Iterator[tuple[str, str]]:
    analysis = collection.analysis
    yield "size", f"{analysis.size:,} bytes, {analysis.parameters:,} parameters"
    yield "input", _end(analysis.input)
    yield "output", _end(analysis.output)
    yield "an inference", f"{analysis.cost.macs:,} multiply-accumulates, {analysis.cost.moved_bytes:,} bytes moved"
    yield "streaming state", f"{len(analysis.states)} ring buffers, {analysis.state_bytes:,} bytes"
    if analysis.context_slices is not None:
        yield "context", f"{analysis.context_slices} slices"
    if analysis.highest_output is not None:
        yield "highest output", f"{analysis.highest_output} of 255"


def _end(end: End | None) -> str:
    return "none" if end is None else f"{end.dtype} {list(end.shape)} {_scale(end.scale, end.zero_point)}"


def _scale(scale: float | None, zero_point: int | None) -> str:
    return "" if scale is None else f"scale {scale:.6g}, zero point {zero_point}"


def _layers(layers: Sequence[Layer]) -> Iterator[Sequence[str]]:
    for layer in layers:
        window = "" if layer.window is None else "{}x{}".format(*layer.window)
        if layer.stride is not None and max(layer.stride) > 1:
            window += f" /{max(layer.stride)}"
        name = f"{layer.op} {layer.activation}" if layer.activation else layer.op
        shape = str(list(layer.shape)) if layer.shape else ""
        parameters = f"{layer.parameters:,}" if layer.parameters else ""
        yield str(layer.index), name, window, shape, parameters, f"{layer.cost.macs:,}" if layer.cost.macs else ""


def _times(estimates: Sequence[PerformanceEstimate]) -> Iterator[Sequence[str]]:
    for estimate in estimates:
        if not estimate.times:
            yield estimate.chip, "", "unknown", estimate.note
        for time in estimate.times:
            span = f"{time.low_ms:g}" if time.low_ms == time.high_ms else f"{time.low_ms:g}..{time.high_ms:g}"
            yield estimate.chip, time.kernels, span, time.basis


def _instructions(estimates: Sequence[PerformanceEstimate]) -> Iterator[Sequence[str]]:
    for estimate in estimates:
        for count in estimate.instructions:
            span = f"{count.low:,}" if count.low == count.high else f"{count.low:,}..{count.high:,}"
            yield f"{estimate.chip} ({count.machine})", count.kernels, span, f"{count.kind}: {count.basis}"


def _section(title: str, head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    body = list(rows)
    yield ""
    yield title
    if body:
        yield from _table([head, *body] if head else body)


def _table(rows: Iterator[Sequence[str]] | Iterator[tuple[str, str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    body = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in body) for column in range(len(body[0]))]
    for row in body:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
