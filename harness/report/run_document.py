"""Writes and reads a run as the JSON document of `docs/reference/run.schema.json`, which `tools.run_json` makes.

It has the fields of `harness.run.results.RunResult`, by their types; `PARTS` lists the exceptions. A run.json is not
trusted: the reader checks it, and reads only what a comparison of two runs needs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from dataclasses import fields as dataclass_fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from harness.clips.input import ClipInput, InputSource
from harness.run.allowances import Allowance, AllowanceUse, State
from harness.run.evaluation.statistics import Evaluation
from harness.run.results import SCHEMA, SET_SCHEMA, VERDICTS, RunResult, Verdict
from mww.core.errors import ErrorFacts, InputError
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
    documents = [_document(result) for result in results]
    if len(documents) == 1:
        return documents[0]
    return {"schema": SET_SCHEMA, "verdict": overall(results), "runs": documents}


def _document(result: RunResult) -> Document:
    written = _written(result, RunResult)
    assert isinstance(written, dict)
    return {"schema": SCHEMA, **written}


def overall(results: Sequence[RunResult]) -> Verdict:
    """The verdict of several runs together: error before fail before pass."""
    verdicts = {result.verdict for result in results}
    return "error" if "error" in verdicts else "fail" if "fail" in verdicts else "pass"


@dataclass(frozen=True, slots=True)
class ErrorFields:
    """The error that ended a clip.

    Attributes:
        code: Stable, for scripts.
        message: What is wrong.
        hint: What to do; None where nothing can be done.
        inference: The first without an output; None where it is not known.
    """

    code: str
    message: str
    hint: str | None
    inference: int | None


@dataclass(frozen=True, slots=True)
class InputFields:
    """The input of a clip, without the lead-in; numbers are None for features.

    Attributes:
        source: `wav`: in the front-end's own format; `converted`: another sound format; `features`: features.
        converted_from: The format that was converted; None where none was.
        peak_dbfs: Largest sample; 0 is full scale, -120 is digital silence.
        rms_dbfs: Root mean square about the mean.
        dc: Mean of the samples, -1 to 1.
        clipped: Share of samples at the largest or smallest value, where the clip is loud.
        bandwidth_hz: Up to where there is more than rounding noise; None where the clip is too short to tell.
    """

    source: InputSource
    converted_from: str | None
    peak_dbfs: float | None
    rms_dbfs: float | None
    dc: float | None
    clipped: float | None
    bandwidth_hz: float | None


@dataclass(frozen=True, slots=True)
class EvaluationFields:
    """Recall and false accepts at the model's own cutoff.

    Attributes:
        recall: Share of the positive clips with a detection; None without positive clips.
        recall_interval: Its exact binomial 95 % interval; None without positive clips.
        false_accepts: Detections in negative clips.
        false_accepts_per_hour: The same an hour; None without negative clips.
        false_accepts_interval: Their exact Poisson 95 % interval; None without negative clips.
    """

    recall: float | None
    recall_interval: tuple[float, ...] | None
    false_accepts: int
    false_accepts_per_hour: float | None
    false_accepts_interval: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class EffectFields:
    """The effect of an allowance.

    Attributes:
        state: `lapsed`: the model or a version is another; `exceeded`: a clip differs by more.
        why: Why it lapsed; None elsewhere.
        found: How many outputs of each of its clips differ; None for a clip that was not compared.
    """

    state: State
    why: str | None
    found: Mapping[str, int | None]


def _error(error: ErrorFacts) -> ErrorFields:
    return ErrorFields(error.code, error.message, error.hint or None, error.inference)


def _input(given: ClipInput) -> InputFields:
    sound = given.sound
    if sound is None:
        return InputFields(given.source, None, None, None, None, None, None)
    return InputFields(
        source=given.source,
        converted_from=sound.converted_from,
        peak_dbfs=round(sound.peak_dbfs, 2),
        rms_dbfs=round(sound.rms_dbfs, 2),
        dc=round(sound.dc, _DECIMALS),
        clipped=round(sound.clipped, _DECIMALS),
        bandwidth_hz=sound.bandwidth_hz,
    )


def _evaluation(evaluation: Evaluation) -> EvaluationFields:
    recall, accepts = evaluation.at.recall, evaluation.at.false_accepts
    within = None if accepts.low is None or accepts.high is None else (accepts.low, accepts.high)
    return EvaluationFields(
        recall=recall.value,
        recall_interval=(recall.low, recall.high) if recall.trials else None,
        false_accepts=accepts.count,
        false_accepts_per_hour=accepts.rate,
        false_accepts_interval=within,
    )


def _rounded(detection: Detection) -> Detection:
    return replace(detection, time_s=round(detection.time_s, _DECIMALS))


def _itself(value: Any) -> Any:
    return value


PARTS: Final[Mapping[type, tuple[tuple[type, Callable[[Any], Any]], ...]]] = {
    ErrorFacts: ((ErrorFields, _error),),
    ClipInput: ((InputFields, _input),),
    Detection: ((Detection, _rounded),),
    Evaluation: ((EvaluationFields, _evaluation), (Evaluation, _itself)),
    AllowanceUse: (
        (Allowance, lambda use: use.allowance),
        (EffectFields, lambda use: EffectFields(use.state, use.why, use.found)),
    ),
    RunResult: ((RunResult, lambda result: replace(result, seconds=round(result.seconds, 3))),),
}
"""Classes whose objects in run.json have other fields than their own: the dataclasses with these fields."""


def parts_of(kind: type) -> tuple[tuple[type, Callable[[Any], Any]], ...]:
    """The dataclasses that together have the fields of a class' object, and how each is made from a value."""
    return PARTS.get(kind, ((kind, _itself),))


@cache
def fields_of(part: type) -> tuple[tuple[str, Any], ...]:
    """The fields of a dataclass that are in run.json, with their types."""
    hints = get_type_hints(part)
    return tuple((each.name, hints[each.name]) for each in dataclass_fields(part) if each.compare)


def _written(value: Any, kind: Any) -> object:
    """A value as JSON, by its type; `tools.run_json` makes the schema from the same types."""
    if value is None:
        return None
    arguments = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in arguments if each is not NoneType)
        return _written(value, kind)
    if isinstance(kind, type) and is_dataclass(kind):
        made = [(make(value), part) for part, make in parts_of(kind)]
        return {name: _written(getattr(each, name), hint) for each, part in made for name, hint in fields_of(part)}
    if get_origin(kind) is tuple:
        pairs = arguments[0] == tuple[str, str]
        return dict(value) if pairs else [_written(each, arguments[0]) for each in value]
    return dict(value) if get_origin(kind) is Mapping else value


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
