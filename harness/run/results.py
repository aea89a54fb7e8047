"""The result of a run, as data: `harness.check` makes it, `harness.report` writes it, `mww compare-runs` reads it.

Each field is a field of run.json: `harness.report.run_document` writes it, and its line under `Attributes` is its
description in docs/reference/run-json.md and run.schema.json (made by `tools.run_json`). So a field is added here, and
where its value comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from harness.clips.input import ClipInput
from harness.clips.sound import ClipWarning
from harness.run.allowances import Allowance, AllowanceUse
from harness.run.evaluation.statistics import Evaluation
from harness.run.features import FeatureResult
from harness.targets.base import OperatorCost, TargetInfo
from mww.core.errors import ErrorFacts
from mww.esphome.detection import Detection
from mww.esphome.frontend import Slices

SCHEMA: Final = "mww.run/1"
SET_SCHEMA: Final = "mww.run-set/1"

Verdict = Literal["pass", "fail", "error"]
"""`fail`: the model or the device is wrong; `error`: the run was not possible."""
VERDICTS: Final[tuple[str, ...]] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An output byte that differs from the golden.

    Attributes:
        inference: Its index, from 0.
        expected: The golden's.
        found: The target's.
    """

    inference: int
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Spread:
    """The cost of an inference over a clip, in microseconds or instructions.

    Attributes:
        p50: The median.
        p95: What 95 % do not exceed.
        p99: What 99 % do not exceed.
        max: The highest.
    """

    p50: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True, slots=True)
class Trace:
    """Every output of a clip, as far as it ran.

    Attributes:
        outputs: uint8 `[n]` of the target.
        golden: uint8 `[m]`; None where nothing was compared.
        microseconds: uint32 `[n]`; None where no chip measured them.
        features: int8 `[k, 40]`, the target's own from the beginning of the clip, where they differ from this
            computer's; None or empty elsewhere.
    """

    outputs: npt.NDArray[np.uint8]
    golden: npt.NDArray[np.uint8] | None
    microseconds: npt.NDArray[np.uint32] | None
    features: Slices | None = None


@dataclass(frozen=True, slots=True)
class VadSource:
    """The VAD model that gates detections, and its engine, which always runs on this machine."""

    model: str
    model_sha256: str
    engine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipResult:
    """The result of a clip.

    Attributes:
        name: The path as it was given, or the array's name.
        status: Whether it passes; `error` where it could not be run to its end.
        error: The error that ended the clip; None where none did.
        slices: Slices that were read, including those beyond the last whole frame.
        inferences: Number of outputs.
        device_inferences: The target's own count; None where it does not count.
        frames_sha256: Over the int8 slices; None where the clip ended in an error.
        outputs_sha256: Over the target's outputs, one byte an inference; None where the clip ended in an error.
        mismatches: Outputs that differ from the golden by more than the tolerance; None where nothing was compared.
        max_abs_difference: From the golden, of 255, for any tolerance; None where nothing was compared.
        allowed: Whether an allowance accepts the mismatches, so that the clip passes.
        first_mismatch: The first of them; None without a mismatch.
        features: With `--from audio`, how the features of the target's own front-end compare; None elsewhere.
        max_output: The highest output; None without an output.
        highest_average: The highest average of a sliding window that ESPHome checks, a byte by integer division; None
            where it checks no window.
        input: The input, without the lead-in; None where nothing could be read.
        warnings: What may explain a model that stays silent, or cannot be right; the cause first.
        detections: By ESPHome's rule, from the target's outputs.
        golden_detections: From the golden's outputs; None where nothing was compared.
        device_detections: By the target's own rule, without a VAD, because the link does not carry it; None on the
            emulator, and for windows above 255.
        latency_us: Microseconds an inference, as the chip measured them; None where no chip did.
        instructions: Instructions an inference, as an emulated processor counted them; None elsewhere.
        trace: Every output; not in run.json.
    """

    name: str
    status: Verdict
    error: ErrorFacts | None
    slices: int
    inferences: int
    device_inferences: int | None
    frames_sha256: str | None = None
    outputs_sha256: str | None
    mismatches: int | None
    max_abs_difference: int | None
    allowed: bool = False
    first_mismatch: Mismatch | None
    features: FeatureResult | None = None
    max_output: int | None
    highest_average: int | None = None
    input: ClipInput | None = None
    warnings: tuple[ClipWarning, ...] = ()
    detections: tuple[Detection, ...]
    golden_detections: tuple[Detection, ...] | None
    device_detections: tuple[Detection, ...] | None
    latency_us: Spread | None
    instructions: Spread | None = None
    trace: Trace = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ArenaResult:
    """The tensor arena, in bytes.

    Attributes:
        used: Used by the model, on the target.
        size: Allocated.
        source: Whether a chip measured `used`.
        manifest: `tensor_arena_size`; None for a bare `.tflite`.
        fits: Whether ESPHome can load the model with the manifest's size; None for a bare `.tflite`.
        predicted: For the target's chip; None where chip or runtime are not known.
    """

    used: int
    size: int
    source: Literal["measured", "predicted"]
    manifest: int | None
    fits: bool | None
    predicted: int | None


@dataclass(frozen=True, slots=True)
class GoldenSource:
    """The origin of the golden outputs.

    Attributes:
        origin: A recorded file, or an engine during the run.
        engine: What computed them.
        version: Of its package.
        sha256: Of the file; None without one.
    """

    origin: Literal["file", "worker"]
    engine: str
    version: str
    sha256: str | None


ProblemCode = Literal[
    "frontend", "reset", "slice-order", "output", "rounding", "arithmetic", "detection", "count", "arena", "quality"
]
"""The causes that a run can name. `frontend`: the target's front-end gives different features for the same sound;
`reset`: state survives a reset; `slice-order`: slices reach the model in another order; `output`: an output was damaged
after the model; `rounding`: outputs differ by 1 only; `arithmetic`: an operator computes something else; `detection`:
the target's rule is not ESPHome's; `count`: it made more or fewer inferences than it was asked for; `arena`: the
manifest's arena is too small; `quality`: recall or false accepts miss what was asked for.
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason why a run fails.

    Attributes:
        code: Stable, for scripts.
        clips: The affected clips; empty where it is not about clips.
        inference: The first affected inference of the first of them; None without one.
        message: The problem, in a sentence.
        hint: What to do.
    """

    code: ProblemCode
    clips: tuple[str, ...]
    inference: int | None
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class AllowanceAccount:
    """The file of allowances of a run.

    Attributes:
        file: Its path.
        sha256: Of the file.
        entries: The allowances for this model and chip, as in the file, each with its effect.
    """

    file: str
    sha256: str
    entries: tuple[AllowanceUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The result of a model on a target.

    Attributes:
        verdict: `error` if any clip is, else `fail` if any clip fails or the arena is too small for the manifest, else
            `pass`.
        model: Its name.
        model_sha256: Of the `.tflite`.
        manifest_sha256: None for a bare `.tflite`.
        stride: Slices an inference.
        feature_step_size: Milliseconds a slice.
        probability_cutoff: Above which the window's average must lie.
        sliding_window_size: Outputs that detection sums.
        target: What ran it.
        golden: The source of the expected outputs; None where nothing was compared.
        vad: The VAD model that can block detections; None without one.
        tolerance: The largest difference of an output byte that passes.
        lead_in: Seconds of silence in front of each clip.
        arena: The tensor arena; None where the model could not be loaded.
        clips: In the order in which they were given.
        evaluation: Recall and false accepts; None where no clip is labelled.
        problems: The causes of a failure.
        allowances: The file of allowances, and those for this model and chip; None where no file was read.
        proposed_allowance: What would accept every difference, where all look like rounding, for somebody to judge;
            None elsewhere.
        profile: With `--profile`, the cost of each operator in an inference, in order of execution; None where it was
            not asked for, or could not be measured.
        warnings: For people; they do not change the verdict.
        environment: Names and versions on the host: Python, system, mww-harness, numpy.
        started: UTC, ISO 8601.
        seconds: That the run took.
    """

    verdict: Verdict
    model: str
    model_sha256: str
    manifest_sha256: str | None
    stride: int
    feature_step_size: int
    probability_cutoff: float
    sliding_window_size: int
    target: TargetInfo
    golden: GoldenSource | None
    vad: VadSource | None = None
    tolerance: int
    lead_in: float
    arena: ArenaResult | None
    clips: tuple[ClipResult, ...]
    evaluation: Evaluation | None = None
    problems: tuple[Problem, ...] = ()
    allowances: AllowanceAccount | None = None
    proposed_allowance: Allowance | None = None
    profile: tuple[OperatorCost, ...] | None = None
    warnings: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    started: str
    seconds: float
