"""Runs in the matrix: recorded runs on boards, and a run on this computer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.check import check_models
from harness.clips.sources import ClipSource, open_clips
from harness.matrix.findings import Finding, Row, row_of
from harness.matrix.prediction import Predicted, Subject
from harness.report.comparison import compare_runs
from harness.report.run_document import RecordedRun, as_recorded, read_runs
from harness.report.wording import counted
from harness.run.options import RunOptions
from harness.targets.registry import spec_of_kind
from mww.core.errors import GoldenError, InputError
from mww.esphome.model import load_model

_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class TakenRun:
    """A recorded run and where it is from; `subject` is the model's name, None where its sha256 tells."""

    source: str
    run: RecordedRun
    subject: str | None = None

    def is_of(self, subject: Subject) -> bool:
        """Whether it ran this model."""
        return self.subject == subject.name if self.subject else self.run.model_sha256 == subject.file.sha256


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
            raise InputError(f"{path} is a run of another model", hint=hint)
        taken += runs
    return tuple(taken)


def golden_sources(places: Sequence[Path | str], subjects: Sequence[Subject]) -> dict[str, ClipSource]:
    """The golden of each model by the model's name; models without one are left out.

    Raises:
        GoldenError: A file is not a golden, or of none of the models.
    """
    sources: dict[str, ClipSource] = {}
    for place in places:
        with ExitStack() as stack:
            _, golden = open_clips(place, 0.0, stack)
        if golden is None:
            raise GoldenError(f"{place} is not a golden", hint="mww record makes a golden")
        recorded = golden.provenance.model_sha256
        names = [subject.name for subject in subjects if subject.file.sha256 == recorded]
        if not names:
            hint = "a golden belongs to the model that it was recorded from"
            raise GoldenError(f"{place} was recorded from another model", hint=hint)
        sources |= dict.fromkeys(names, place)
    return sources


def emulate(subjects: Sequence[Subject], sources: Mapping[str, ClipSource], options: RunOptions) -> Iterator[TakenRun]:
    """Run each model that has clips, by its name, in this computer's own TFLite Micro.

    Raises:
        MwwError: As for `check`.
    """
    for subject in subjects:
        if subject.name in sources:
            results = check_models([load_model(subject.path)], sources[subject.name], options)
            yield TakenRun("the emulator", as_recorded(results)[0], subject.name)


def judge_runs(
    runs: Sequence[TakenRun], subjects: Sequence[Subject], rows: Sequence[Row], predictions: Sequence[Predicted]
) -> Iterator[Finding]:
    """A finding for each run; a later run of a chip says what differs from the first.

    Raises:
        InputError: Two runs stand in one place.
    """
    predicted = {(item.model, item.row, item.arena.chip): item.arena.used for item in predictions}
    in_order = sorted(runs, key=lambda taken: rows.index(row_of(taken.run)))
    for subject in subjects:
        first: dict[str, RecordedRun] = {}
        places: dict[tuple[int, str], str] = {}
        for taken in in_order:
            if not taken.is_of(subject):
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
            yield Finding(
                subject.name, row, run.chip, "run", run.verdict == "pass", _verdict_text(run), outputs, details
            )


def _verdict_text(run: RecordedRun) -> str:
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
    if spec_of_kind(run.kind).measures_arena and run.arena_used is not None and predicted not in (None, run.arena_used):
        yield f"arena: {run.arena_used:,} bytes measured, {predicted:,} predicted"
