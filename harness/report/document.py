"""A run's result as the JSON document of `docs/reference/run.schema.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from harness.clips.input import ClipInput
from harness.run.allowances.file import allowance_fields
from harness.run.evaluation.statistics import Evaluation
from harness.run.results import SCHEMA, SET_SCHEMA, AllowanceAccount, ClipResult, RunResult, Verdict
from mww.esphome.detection import Detection

Document = dict[str, object]

_DECIMALS = 6  # of seconds and rates: more are noise of binary fractions


def run_document(results: Sequence[RunResult]) -> Document:
    """The document of one run, or of several models' runs: a `mww.run-set/1` with one entry for each."""
    documents = [{"schema": SCHEMA, **_run(result)} for result in results]
    if len(documents) == 1:
        return documents[0]
    return {"schema": SET_SCHEMA, "verdict": overall(results), "runs": documents}


def overall(results: Sequence[RunResult]) -> Verdict:
    """The verdict of several runs together: error before fail before pass."""
    verdicts = {result.verdict for result in results}
    return "error" if "error" in verdicts else "fail" if "fail" in verdicts else "pass"


def _run(result: RunResult) -> Document:
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
        "clips": [_clip(clip) for clip in result.clips],
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


def _clip(clip: ClipResult) -> Document:
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
