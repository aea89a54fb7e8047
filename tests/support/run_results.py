"""Results of runs as a target could have given them, made of plain arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from harness.run.allowances import Allowance, AllowanceUse
from harness.run.evaluation.labels import labels_from_names
from harness.run.evaluation.statistics import LabelledOutputs, Rule, evaluate
from harness.run.results import (
    AllowanceAccount,
    ArenaResult,
    ClipResult,
    GoldenSource,
    Mismatch,
    Problem,
    RunResult,
    Spread,
    Trace,
    Verdict,
)
from harness.targets.base import TargetInfo
from mww.core.errors import ErrorFacts
from mww.esphome.contract import cutoff_byte
from mww.esphome.detection import detect

Bytes = npt.NDArray[np.uint8]


def speech(seconds: float, *words: float, seed: int = 1) -> Bytes:
    """Outputs of a model that murmurs, and is sure at each time in `words`."""
    rng = np.random.default_rng(seed)
    count = round(seconds / 0.03)
    level = np.convolve(rng.gamma(0.3, 12, count), np.ones(4) / 4, "same")
    at = np.arange(count) * 0.03
    for word in words:
        level += 262 * np.exp(-(((at - word) / 0.25) ** 4))
    return np.clip(level, 0, 255).astype(np.uint8)


def altered(outputs: Bytes, *places: int) -> Bytes:
    """Outputs with a bit flipped at each place."""
    wrong = outputs.copy()
    wrong[list(places)] ^= 8
    return wrong


def clip(name: str, outputs: Bytes, golden: Bytes | None = None, *, microseconds: int = 0) -> ClipResult:
    """A clip that was carried out, compared with `golden`."""
    wrong = np.flatnonzero(outputs != golden) if golden is not None else np.empty(0, np.intp)
    first = None
    if golden is not None and len(wrong):
        first = Mismatch(int(wrong[0]), expected=int(golden[wrong[0]]), found=int(outputs[wrong[0]]))
    times = (microseconds + np.random.default_rng(3).gamma(2, 60, len(outputs))).astype(np.uint32)
    latency = Spread(*(int(np.percentile(times, share)) for share in (50, 95, 99, 100)))
    rule = {"cutoff": 0.97, "window": 5, "stride": 3}
    return ClipResult(
        name=name,
        status="fail" if first else "pass",
        error=None,
        slices=3 * len(outputs) + 1,
        inferences=len(outputs),
        device_inferences=len(outputs),
        outputs_sha256=hashlib.sha256(outputs.tobytes()).hexdigest(),
        mismatches=None if golden is None else len(wrong),
        max_abs_difference=None if golden is None else int(np.abs(outputs.astype(int) - golden).max(initial=0)),
        first_mismatch=first,
        max_output=int(outputs.max(initial=0)),
        detections=tuple(detect(outputs, **rule)),
        golden_detections=None if golden is None else tuple(detect(golden, **rule)),
        device_detections=tuple(detect(outputs, **rule)) if microseconds else None,
        latency_us=latency if microseconds else None,
        trace=Trace(outputs, golden, times if microseconds else None),
    )


def broken_clip(name: str, outputs: Bytes, error: ErrorFacts) -> ClipResult:
    """A clip that ended early."""
    whole = clip(name, outputs)
    return replace(whole, status="error", error=error, outputs_sha256=None, max_output=None, detections=())


def run(clips: Sequence[ClipResult], *, model: str = "okay_nabu", verdict: Verdict | None = None) -> RunResult:
    """A run of those clips on a board, with recall and false accepts where names say what they hold."""
    statuses = {item.status for item in clips}
    labels = labels_from_names(item.name for item in clips)
    labelled = [
        LabelledOutputs(item.name, labels[item.name], item.trace.outputs, len(item.trace.outputs) * 0.03)
        for item in clips
        if item.name in labels
    ]
    compared = any(item.trace.golden is not None for item in clips)
    return RunResult(
        verdict=verdict or ("error" if "error" in statuses else "fail" if "fail" in statuses else "pass"),
        model=model,
        model_sha256="5a" * 32,
        manifest_sha256="c3" * 32,
        stride=3,
        feature_step_size=10,
        probability_cutoff=0.97,
        sliding_window_size=5,
        target=TargetInfo("device", "esp32s3", "tflm", (("esphome", "2026.6.5"), ("esp-nn", "1.1.2"))),
        golden=GoldenSource("file", "tflm", "0.dev20260801", "9b" * 32) if compared else None,
        tolerance=0,
        lead_in=0.0,
        arena=ArenaResult(22_704, 26_080, "measured", manifest=26_080, fits=True, predicted=22_704),
        clips=tuple(clips),
        warnings=(),
        environment=(("mww-harness", "0.1.0"), ("Python", "3.11.7"), ("system", "Linux x86_64")),
        started="2026-07-01T09:30:00+00:00",
        seconds=12.34,
        evaluation=evaluate(labelled, Rule(5, 3, 10), cutoff_byte(0.97)) if labelled else None,
    )


def passing_run() -> RunResult:
    """One clip, all well."""
    outputs = speech(6, 2.0, 4.5)
    return run([clip("okay.wav", outputs, outputs.copy(), microseconds=6700)])


def mixed_run() -> RunResult:
    """A run with everything in it."""
    good, bad, ambient = speech(6, 2.0, 4.5), speech(8, 3.0, seed=2), speech(900, 400, 401, seed=3)
    error = ErrorFacts("rebooted", "the board restarted after inference 57", "look at its power supply", 57)
    result = run(
        [
            clip("positive/okay-1.wav", good, good.copy(), microseconds=6700),
            clip("positive/okay-2.wav", altered(bad, 40, 41, 90, 91, 92, 93), bad, microseconds=6700),
            clip("positive/quiet.wav", speech(4, seed=9), speech(4, seed=9), microseconds=6700),
            clip("negative/kitchen.wav", ambient, ambient.copy(), microseconds=6700),
            broken_clip("negative/radio.wav", speech(2, seed=5), error),
        ]
    )
    return replace(
        result,
        warnings=("negative/short.wav is too short to detect anything; --lead-in 1 helps",),
        problems=(Problem("reset", ("positive/okay-2.wav",), 40, "state outlives a reset", "look at the reset"),),
        allowances=allowed("a kernel that rounds half up"),
    )


def allowed(reason: str) -> AllowanceAccount:
    """An allowance that has lapsed, as a run says of it."""
    clips = {"positive/okay-2.wav": 3}
    versions = {"esphome": "2026.5.0", "esp-nn": "1.1.2"}
    entry = Allowance("okay_nabu", "5a" * 32, "esp32s3", versions, 1, clips, reason, "jane", "2026-06-01")
    use = AllowanceUse(entry, "lapsed", "esphome is 2026.6.5, not 2026.5.0", {"positive/okay-2.wav": 6})
    return AllowanceAccount("goldens/mww-allowances.yaml", "7e" * 32, (use,))
