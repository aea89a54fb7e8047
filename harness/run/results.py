"""The result of a run, as data: `harness.check` makes it, `harness.report` writes it, `mww compare-runs` reads it.

Names and meanings are those of `docs/reference/run.schema.json`; additional fields go into other files of the report.
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
    """An output byte that differs from the golden; `inference` counts from 0."""

    inference: int
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Spread:
    """The cost of an inference over a clip: in microseconds, as the chip measured them, or in instructions."""

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


@dataclass(frozen=True, slots=True)
class ClipResult:
    """The result of a clip, as in `docs/reference/run.schema.json`, and its trace.

    `outputs_sha256` and `frames_sha256` (of the int8 slices) are None where the clip ended in an error; `allowed` says
    that an allowance accepts the mismatches. `input` describes its input, None without input; `features` compares those
    that the target's own front-end made, where it was sent sound. `highest_average` is the highest average of a sliding
    window that ESPHome checks, a byte, by integer division; `instructions` are those that an emulated processor
    executed.
    """

    name: str
    status: Verdict
    error: ErrorFacts | None
    slices: int
    inferences: int
    device_inferences: int | None
    outputs_sha256: str | None
    mismatches: int | None
    max_abs_difference: int | None
    first_mismatch: Mismatch | None
    max_output: int | None
    detections: tuple[Detection, ...]
    golden_detections: tuple[Detection, ...] | None
    device_detections: tuple[Detection, ...] | None
    latency_us: Spread | None
    trace: Trace = field(repr=False, compare=False)
    frames_sha256: str | None = None
    allowed: bool = False
    input: ClipInput | None = None
    highest_average: int | None = None
    warnings: tuple[ClipWarning, ...] = ()
    instructions: Spread | None = None
    features: FeatureResult | None = None


@dataclass(frozen=True, slots=True)
class ArenaResult:
    """The tensor arena, in bytes.

    Attributes:
        used: Used by the model, on the target.
        size: The allocated size.
        source: Whether a chip measured `used`.
        manifest: `tensor_arena_size`; None for a bare model.
        fits: Whether ESPHome can load the model with the manifest's size; None for a bare model.
        predicted: What `mww.tflm.arena` predicts for the chip; None where it knows no such chip or runtime.
    """

    used: int
    size: int
    source: Literal["measured", "predicted"]
    manifest: int | None
    fits: bool | None
    predicted: int | None


@dataclass(frozen=True, slots=True)
class GoldenSource:
    """The origin of the golden outputs: a recorded file, with its sha256, or an engine during the run."""

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
    """The file of allowances of a run: its path and sha256, and the effects of those for its model and chip."""

    file: str
    sha256: str
    entries: tuple[AllowanceUse, ...]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a model on a target.

    Attributes:
        verdict: `error` if any clip is, else `fail` if any differs by more than the tolerance or the arena is too
            small, else `pass`.
        model: Its name.
        model_sha256: Of the `.tflite`.
        manifest_sha256: None for a bare model.
        stride: Slices an inference.
        feature_step_size: Milliseconds a slice.
        probability_cutoff: 0..1.
        sliding_window_size: Outputs that detection sums.
        target: What ran it.
        golden: What it was compared with; None where nothing was.
        tolerance: The largest difference of an output byte that passes.
        lead_in: Seconds of silence in front of each clip.
        arena: None where the model could not be loaded.
        clips: In the order in which they were given.
        warnings: For people.
        environment: Names and versions on the host: Python, system, mww-harness, numpy.
        started: UTC, ISO 8601.
        seconds: That the run took.
        evaluation: Recall and false accepts; None where no clip is labelled.
        vad: The VAD model; None without one.
        problems: What lies behind a verdict of `fail`.
        allowances: None where no file of them was read.
        proposed_allowance: What would take every mismatch, where they are no larger than those of kernels that round
            otherwise; for somebody to judge.
        profile: What each operator costs in an inference; None where nobody asked, or it could not be measured.
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
    tolerance: int
    lead_in: float
    arena: ArenaResult | None
    clips: tuple[ClipResult, ...]
    warnings: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    started: str
    seconds: float
    evaluation: Evaluation | None = None
    vad: VadSource | None = None
    problems: tuple[Problem, ...] = ()
    allowances: AllowanceAccount | None = None
    proposed_allowance: Allowance | None = None
    profile: tuple[OperatorCost, ...] | None = None
