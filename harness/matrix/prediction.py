"""Predictions for a row, from a model's file and manifest: whether its arena fits, and whether the release takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.matrix.findings import Finding, Row, order
from mww.core.errors import UnknownRuntimeError, UnsupportedModelError
from mww.esphome.manifest import is_manifest, load_manifest
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena import ArenaPrediction, fits, predict_arena
from mww.tflm.builds import slow_convolutions
from mww.tflm.runtime import basis_of

UNSEEN: Final = "*"
"""Marks a figure for a version whose source was not at hand; see `mww.tflm.runtime`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model of the matrix; size and version are its manifest's, None without one."""

    name: str
    path: str
    file: ModelFile
    size: int | None
    minimum_esphome_version: str | None


@dataclass(frozen=True, slots=True)
class Predicted:
    """A prediction, and where it stands in the matrix."""

    model: str
    row: int
    arena: ArenaPrediction
    fits: bool | None
    loads: bool | None
    """Whether ESPHome loads it at all: at its first attempt, or where it probes at a later one."""


def read_subject(path: str, name: str) -> Subject:
    """Read a manifest with its model, or a bare `.tflite`.

    Raises:
        MwwError: It cannot be read.
    """
    if not is_manifest(path):
        return Subject(name, path, read_model(path), None, None)
    manifest = load_manifest(path)
    size, version = manifest.tensor_arena_size, manifest.minimum_esphome_version
    return Subject(name, path, read_model(manifest.model), size, version)


def predict(
    subject: Subject, rows: Sequence[Row], chips: Sequence[str]
) -> tuple[tuple[Predicted, ...], tuple[Finding, ...]]:
    """Predict a model's arena for every row that names a runtime."""
    predictions: list[Predicted] = []
    findings: list[Finding] = []
    for index, row in enumerate(rows):
        for chip in chips if row.runtime else ():
            assert row.runtime is not None
            try:
                arena = predict_arena(subject.file, chip, manifest_size=subject.size, runtime=row.runtime)
            except UnsupportedModelError as refusal:
                findings.append(Finding(subject.name, index, chip, "arena", False, refusal.message, "refused"))
                continue
            except UnknownRuntimeError:  # a board's own versions; what it measured stands in its run
                continue
            predicted = _judge(subject, index, row, arena)
            predictions.append(predicted)
            message = _minimum_text(subject.size, predicted) + (UNSEEN if basis_of(row.runtime) == "unseen" else "")
            findings.append(Finding(subject.name, index, chip, "arena", predicted.fits, message, str(arena.minimum)))
    return tuple(predictions), (*findings, *_kernels(subject, rows), *_acceptance(subject, rows))


def _judge(subject: Subject, index: int, row: Row, arena: ArenaPrediction) -> Predicted:
    if subject.size is None:
        return Predicted(subject.name, index, arena, None, None)
    fit = fits(arena.minimum, subject.size)
    return Predicted(subject.name, index, arena, fit, fit or (row.probes is not False and bool(arena.probe)))


def _minimum_text(size: int | None, predicted: Predicted) -> str:
    if size is None or predicted.fits:
        return f"{predicted.arena.minimum:,}"
    end = "ESPHome's probe finds more" if predicted.loads else "does not load"
    return f"{predicted.arena.minimum:,}, {predicted.arena.minimum - size:,} short: {end}"


def _kernels(subject: Subject, rows: Sequence[Row]) -> Iterator[Finding]:
    """Whether a pair of libraries sends the model's convolutions to reference code; nothing where no row does.

    It is slower and computes the same, so it holds nothing back: a change is shown, and no verdict hangs on it.
    """
    slow = {index: slow_convolutions(row.runtime) for index, row in enumerate(rows) if row.runtime}
    if not any(slow.values()) or not any(operator.op == "CONV_2D" for _, operator in subject.file.operators()):
        return
    for index, reason in slow.items():
        message = "reference code, 2 to 10 times slower" if reason else "the chip's own"
        yield Finding(subject.name, index, None, "kernels", None, message, message, (reason,) if reason else ())


def _acceptance(subject: Subject, rows: Sequence[Row]) -> Iterator[Finding]:
    """The release's own rule: a manifest that asks for a newer ESPHome is refused."""
    needed = subject.minimum_esphome_version
    wanted = order(needed)
    for index, row in enumerate(rows):
        running = order(row.esphome)
        if needed is None or wanted is None or running is None:
            continue
        taken = wanted[:3] <= running[:3]
        message = "taken" if taken else f"asks for ESPHome {needed}"
        yield Finding(subject.name, index, None, "manifest", taken, message, str(taken))
