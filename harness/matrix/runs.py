"""Runs in the matrix: those that are on record from boards, and one on this computer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.errors import InputError
from harness.matrix.findings import Finding, Row
from harness.matrix.prediction import Predicted, Subject
from harness.matrix.rows import row_of
from harness.report.comparison import compare_runs
from harness.report.recorded import RecordedRun, read_runs
from harness.report.wording import counted

_LISTED: Final = 5
_MEASURING: Final = ("device", "qemu")


@dataclass(frozen=True, slots=True)
class TakenRun:
    """A recorded run and where it is from."""

    source: str
    run: RecordedRun


def take_runs(paths: Sequence[Path], subjects: Sequence[Subject]) -> tuple[TakenRun, ...]:
    """Read run.json files or reports' folders; runs of other models are left out.

    Raises:
        InputError: One cannot be read, or has none of the models.
    """
    wanted = {subject.file.sha256 for subject in subjects}
    taken: list[TakenRun] = []
    for path in paths:
        runs = [TakenRun(str(path), run) for run in read_runs(path) if run.model_sha256 in wanted]
        if not runs:
            hint = "a run belongs to the model whose sha256 it names"
            raise InputError(f"{path} is a run of none of the models", hint=hint)
        taken += runs
    return tuple(taken)


def judge_runs(
    runs: Sequence[TakenRun], subjects: Sequence[Subject], rows: Sequence[Row], predictions: Sequence[Predicted]
) -> Iterator[Finding]:
    """A finding for each run; one that is not the first of its chip tells what came out otherwise than in that.

    Raises:
        InputError: Two runs stand in one place.
    """
    predicted = {(one.model, one.row, one.arena.chip): one.arena.used for one in predictions}
    in_order = sorted(runs, key=lambda taken: rows.index(row_of(taken.run)))
    for subject in subjects:
        first: dict[str, RecordedRun] = {}
        places: dict[tuple[int, str], str] = {}
        for taken in in_order:
            if taken.run.model_sha256 != subject.file.sha256:
                continue
            run, row = taken.run, rows.index(row_of(taken.run))
            if (row, run.chip) in places:
                hint = "leave one out, or compare them with mww compare-runs"
                both = f"{places[row, run.chip]} and {taken.source}"
                raise InputError(f"{both} ran {subject.name} in the same place", hint=hint)
            places[row, run.chip] = taken.source
            reference = first.setdefault(run.chip, run)
            details = (*_differences(reference, run), *_arena(run, predicted.get((subject.name, row, run.chip))))
            outputs = " ".join(clip.outputs_sha256 or clip.status for clip in run.clips)
            yield Finding(subject.name, row, run.chip, "run", run.verdict == "pass", _said(run), outputs, details)


def _said(run: RecordedRun) -> str:
    wrong = sum(clip.status != "pass" for clip in run.clips)
    clips = counted(len(run.clips), "clip")
    return f"{run.verdict}, {wrong} of {clips}" if wrong else f"{run.verdict}, {clips}"


def _differences(reference: RecordedRun, run: RecordedRun) -> Iterator[str]:
    comparison = compare_runs([reference], [run])[0]
    for change in comparison.results:
        yield f"{change.what}: {change.a} -> {change.b}"
    for clip in comparison.clips[:_LISTED]:
        yield f"clip {clip.name}: {', '.join(change.what for change in clip.changes)}"
    if len(comparison.clips) > _LISTED:
        yield f"and {len(comparison.clips) - _LISTED} more clips"


def _arena(run: RecordedRun, predicted: int | None) -> Iterator[str]:
    if run.kind in _MEASURING and run.arena_used is not None and predicted not in (None, run.arena_used):
        yield f"arena: {run.arena_used:,} bytes measured, {predicted:,} predicted"
