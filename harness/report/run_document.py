"""Writes and reads a run as the JSON document of `docs/reference/run.schema.json`.

A run.json is not trusted: the reader checks it, and reads only what a comparison of two runs needs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.clips.input import ClipInput
from harness.run.allowances import allowance_fields
from harness.run.evaluation.statistics import Evaluation
from harness.run.results import SCHEMA, SET_SCHEMA, VERDICTS, AllowanceAccount, ClipResult, RunResult, Verdict
from mww.core.errors import InputError
from mww.core.fields import Fields
from mww.core.readable import is_folder
from mww.esphome.detection import Detection

Document = dict[str, object]

_DECIMALS = 6  # digits of seconds and rates: more are noise of binary fractions

_MAX_BYTES: Final = 64 << 20
_MAX_ARENA: Final = 32 << 20
_REMEDY: Final = "give a run.json, as mww run --report writes it"


def run_document(results: Sequence[RunResult]) -> Document:
    """The document of a run, or of the runs of several models: a `mww.run-set/1` with an entry for each."""
    documents = [{"schema": SCHEMA, **_run_document(result)} for result in results]
    if len(documents) == 1:
        return documents[0]
    return {"schema": SET_SCHEMA, "verdict": overall(results), "runs": documents}


def overall(results: Sequence[RunResult]) -> Verdict:
    """The verdict of several runs together: error before fail before pass."""
    verdicts = {result.verdict for result in results}
    return "error" if "error" in verdicts else "fail" if "fail" in verdicts else "pass"


def _run_document(result: RunResult) -> Document:
    target = result.target
    return {
        "verdict": result.verdict,
        "model": result.model,
        "model_sha256": result.model_sha256,
        "manifest_sha256": result.manifest_sha256,
        "stride": result.stride,
        "feature_step_size": result.feature_step_size,
        "probability_cutoff": result.probability_cutoff,
        "sliding_window_size": result.sliding_window_size,
        "target": {
            "kind": target.kind,
            "chip": target.chip,
            "engine": target.engine,
            "versions": dict(target.versions),
        },
        "golden": asdict(result.golden) if result.golden else None,
        "vad": asdict(result.vad) if result.vad else None,
        "tolerance": result.tolerance,
        "lead_in": result.lead_in,
        "arena": asdict(result.arena) if result.arena else None,
        "clips": [_clip_document(clip) for clip in result.clips],
        "evaluation": _evaluation(result.evaluation) if result.evaluation else None,
        "problems": [{**asdict(problem), "clips": list(problem.clips)} for problem in result.problems],
        "allowances": _allowances(result.allowances) if result.allowances else None,
        "proposed_allowance": allowance_fields(result.proposed_allowance) if result.proposed_allowance else None,
        "profile": None if result.profile is None else [asdict(cost) for cost in result.profile],
        "warnings": list(result.warnings),
        "environment": dict(result.environment),
        "started": result.started,
        "seconds": round(result.seconds, 3),
    }


def _clip_document(clip: ClipResult) -> Document:
    return {
        "name": clip.name,
        "status": clip.status,
        "error": clip.error.to_json() if clip.error else None,
        "slices": clip.slices,
        "inferences": clip.inferences,
        "device_inferences": clip.device_inferences,
        "frames_sha256": clip.frames_sha256,
        "outputs_sha256": clip.outputs_sha256,
        "mismatches": clip.mismatches,
        "max_abs_difference": clip.max_abs_difference,
        "allowed": clip.allowed,
        "first_mismatch": asdict(clip.first_mismatch) if clip.first_mismatch else None,
        "features": asdict(clip.features) if clip.features else None,
        "max_output": clip.max_output,
        "highest_average": clip.highest_average,
        "input": _input(clip.input) if clip.input else None,
        "warnings": [asdict(warning) for warning in clip.warnings],
        "detections": _detections(clip.detections),
        "golden_detections": _detections(clip.golden_detections),
        "device_detections": _detections(clip.device_detections),
        "latency_us": asdict(clip.latency_us) if clip.latency_us else None,
        "instructions": asdict(clip.instructions) if clip.instructions else None,
    }


def _input(given: ClipInput) -> Document:
    sound = given.sound
    return {
        "source": given.source,
        "converted_from": sound.converted_from if sound else None,
        "peak_dbfs": round(sound.peak_dbfs, 2) if sound else None,
        "rms_dbfs": round(sound.rms_dbfs, 2) if sound else None,
        "dc": round(sound.dc, _DECIMALS) if sound else None,
        "clipped": round(sound.clipped, _DECIMALS) if sound else None,
        "bandwidth_hz": sound.bandwidth_hz if sound else None,
    }


def _detections(detections: tuple[Detection, ...] | None) -> list[Document] | None:
    if detections is None:
        return None
    return [{**asdict(detection), "time_s": round(detection.time_s, _DECIMALS)} for detection in detections]


def _allowances(account: AllowanceAccount) -> Document:
    entries = [
        {**allowance_fields(use.allowance), "state": use.state, "why": use.why, "found": dict(use.found)}
        for use in account.entries
    ]
    return {"file": account.file, "sha256": account.sha256, "entries": entries}


def _evaluation(evaluation: Evaluation) -> Document:
    at = evaluation.at
    recall, accepts = at.recall, at.false_accepts
    return {
        "recall": recall.value,
        "recall_interval": [recall.low, recall.high] if recall.trials else None,
        "false_accepts": accepts.count,
        "false_accepts_per_hour": accepts.rate,
        "false_accepts_interval": [accepts.low, accepts.high] if accepts.hours else None,
        **asdict(evaluation),
    }


@dataclass(frozen=True, slots=True)
class RecordedClip:
    """A clip of a recorded run; fields are named as in run.json."""

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
    """A recorded run of a model.

    `versions` are the target's; `allowances` counts them by state. `instructions` are those of an inference, by the
    operator's name; empty where they were not counted.
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
    """The arena that a device reported: `arena_used_bytes()`, and the chip, or None where the run does not name it."""

    used: int
    chip: str | None


def read_runs(path: Path | str) -> tuple[RecordedRun, ...]:
    """Read a run.json, or the run.json in a report's folder: a run for each model.

    Raises:
        InputError: It cannot be read, has another schema, or names a clip or model twice.
    """
    path = Path(path)
    return _runs(_read(path / "run.json" if is_folder(path) else path))


def as_recorded(results: Sequence[RunResult]) -> tuple[RecordedRun, ...]:
    """The recorded form of runs, as reading their run.json gives it."""
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
    """The sum over all operators of each name, in the order of their first."""
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
