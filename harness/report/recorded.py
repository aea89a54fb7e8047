"""What a run.json says, read back with suspicion: as much of it as comparing two runs takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.report.document import run_document
from harness.run.results import SCHEMA, SET_SCHEMA, VERDICTS, RunResult
from mww.core.errors import InputError
from mww.core.fields import Fields
from mww.esphome.detection import Detection

_MAX_BYTES: Final = 256 << 20
_MAX_ARENA: Final = 32 << 20
_REMEDY: Final = "give a run.json, as mww run --report writes it"


@dataclass(frozen=True, slots=True)
class RecordedClip:
    """A clip of a recorded run; the names are run.json's."""

    name: str
    status: str
    error: str | None
    inferences: int
    outputs_sha256: str | None
    mismatches: int | None
    max_abs_difference: int | None
    detections: tuple[Detection, ...]
    latency_p50: int | None
    instructions_p50: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A recorded run of one model; `versions` are the target's, `allowances` how many were in which state.

    `instructions` are those of an inference, by the operator's name; empty where they were not counted.
    """

    verdict: str
    model: str
    model_sha256: str
    kind: str
    chip: str
    engine: str
    versions: tuple[tuple[str, str], ...]
    tolerance: int
    allowances: str | None
    arena_used: int | None
    recall: str | None
    false_accepts: str | None
    clips: tuple[RecordedClip, ...]
    instructions: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class MeasuredArena:
    """What a device reported about its arena: `arena_used_bytes()`, and the chip, or None where the run has no name."""

    used: int
    chip: str | None


def read_runs(path: Path | str) -> tuple[RecordedRun, ...]:
    """Read a run.json, or the one in a report's folder: one run for each model.

    Raises:
        InputError: It cannot be read, is of another schema, or names a clip or model twice.
    """
    path = Path(path)
    return _runs(_read(path / "run.json" if path.is_dir() else path))


def as_recorded(results: Sequence[RunResult]) -> tuple[RecordedRun, ...]:
    """Runs of this moment as they will be read back."""
    document: object = json.loads(json.dumps(run_document(results)))
    return _runs(Fields("run.json", document, hint=_REMEDY))


def read_measured_arena(path: Path, model_sha256: str) -> MeasuredArena:
    """Read the arena that a device measured for a model; the rest of the run.json may be missing.

    Args:
        path: `run.json`, of one model or of several.
        model_sha256: Hexadecimal SHA-256 of the model.

    Raises:
        InputError: The file is another document, is of another model, or its arena was not measured on a device.
    """
    run = next((run for run in _each(_read(path)) if run.optional_text("model_sha256") == model_sha256), None)
    if run is None:
        raise InputError(f"{path} is the run of another model", hint=f"run the model with sha256 {model_sha256[:12]}…")
    arena = run.fields("arena")
    used = arena.whole("used", 1, _MAX_ARENA)
    if arena.optional_text("source") != "measured":
        hint = "only a board measures: `mww run MODEL --wav CLIP.wav --target PORT --report DIR`"
        raise InputError(f"the arena use in {path} is not measured", hint=hint)
    target = run.optional_fields("target")
    return MeasuredArena(used, target.optional_text("chip") if target else None)


def _read(path: Path) -> Fields:
    return Fields.read(path, hint=_REMEDY, most_bytes=_MAX_BYTES)


def _each(document: Fields) -> Iterator[Fields]:
    schema = document.one_of("schema", (SCHEMA, SET_SCHEMA))
    return iter((document,)) if schema == SCHEMA else document.items("runs")


def _runs(document: Fields) -> tuple[RecordedRun, ...]:
    runs = tuple(map(_run, _each(document)))
    _refuse_doubles(document, "model", [run.model_sha256 for run in runs])
    return runs


def _run(fields: Fields) -> RecordedRun:
    target, arena = fields.fields("target"), fields.optional_fields("arena")
    clips = tuple(_clip(clip) for clip in fields.items("clips"))
    _refuse_doubles(fields, "clip", [clip.name for clip in clips])
    verdict = fields.one_of("verdict", VERDICTS)
    if verdict == "pass" and any(clip.status != "pass" for clip in clips):
        fields.refuse("verdict", "fail or error, since not all clips pass")
    evaluation, allowances = fields.optional_fields("evaluation"), fields.optional_fields("allowances")
    at = evaluation.fields("at") if evaluation else None
    return RecordedRun(
        verdict=verdict,
        model=fields.optional_text("model") or "model",
        model_sha256=fields.text("model_sha256"),
        kind=target.text("kind"),
        chip=target.text("chip"),
        engine=target.text("engine"),
        versions=tuple(target.fields("versions").texts().items()),
        tolerance=fields.optional_whole("tolerance") or 0,
        allowances=_states(allowances.items("entries")) if allowances else None,
        arena_used=arena.whole("used") if arena else None,
        recall=_counts(at.fields("recall"), "hits", "trials") if at else None,
        false_accepts=_counts(at.fields("false_accepts"), "count", "hours") if at else None,
        clips=clips,
        instructions=_instructions(fields),
    )


def _instructions(fields: Fields) -> tuple[tuple[str, int], ...]:
    """What all operators of one name take together, in the order of their first."""
    counts: dict[str, int] = {}
    for cost in fields.optional_items("profile"):
        count = cost.optional_whole("instructions")
        if count is not None:
            operator = cost.text("operator")
            counts[operator] = counts.get(operator, 0) + count
    return tuple(counts.items())


def _states(entries: Iterator[Fields]) -> str:
    counts = Counter(entry.text("state") for entry in entries)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none for it"


def _counts(fields: Fields, count: str, total: str) -> str:
    return f"{fields.whole(count)} of {fields.number(total):g}" + (" h" if total == "hours" else "")


def _clip(fields: Fields) -> RecordedClip:
    error, latency = fields.optional_fields("error"), fields.optional_fields("latency_us")
    instructions = fields.optional_fields("instructions")
    return RecordedClip(
        name=fields.text("name"),
        status=fields.one_of("status", VERDICTS),
        error=error.text("code") if error else None,
        inferences=fields.whole("inferences"),
        outputs_sha256=fields.optional_text("outputs_sha256"),
        mismatches=fields.optional_whole("mismatches"),
        max_abs_difference=fields.optional_whole("max_abs_difference"),
        detections=tuple(_detection(detection) for detection in fields.items("detections")),
        latency_p50=latency.whole("p50") if latency else None,
        instructions_p50=instructions.whole("p50") if instructions else None,
    )


def _detection(fields: Fields) -> Detection:
    return Detection(
        inference=fields.whole("inference"),
        time_s=fields.number("time_s"),
        average=fields.whole("average"),
        maximum=fields.whole("maximum"),
        vad_blocked=fields.flag("vad_blocked"),
    )


def _refuse_doubles(fields: Fields, what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            fields.fault(f"the {what} {name[:80]!r} is named twice")
        seen.add(name)
