"""What surrounds the clips of a run: the arena against manifest and prediction, warnings, and the environment."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from harness.run.results import ArenaResult, ClipResult
from harness.targets.base import ArenaUse, TargetInfo
from mww.core.errors import UnknownRuntimeError, UnsupportedModelError
from mww.core.versions import NOT_INSTALLED, distribution_version
from mww.esphome.contract import DEFAULT_RUNTIME, MIN_SLICES_BEFORE_DETECTION
from mww.esphome.model import Model
from mww.tflm.arena import fits, predict_arena
from mww.tflm.builds import runtime_among


def judge_arena(model: Model, info: TargetInfo, use: ArenaUse) -> ArenaResult:
    """Hold a target's arena against the manifest and the prediction for its chip and the versions that it says.

    A measured use fits where it and what was allocated for it are within the manifest's size; a predicted one where
    the predicted minimum is too.
    """
    try:
        runtime = runtime_among(info.versions) or DEFAULT_RUNTIME
        predicted = predict_arena(model.content, info.chip, runtime=runtime)
    except (UnknownRuntimeError, UnsupportedModelError):
        predicted = None
    needed = max(use.used, use.size) if use.source == "measured" else use.used
    if predicted is not None and use.source == "predicted":
        needed = max(needed, predicted.minimum)
    return ArenaResult(
        used=use.used,
        size=use.size,
        source=use.source,
        manifest=model.tensor_arena_size,
        fits=None if model.tensor_arena_size is None else fits(needed, model.tensor_arena_size),
        predicted=None if predicted is None else predicted.used,
    )


def warnings_for(model: Model, arena: ArenaResult | None, clips: Sequence[ClipResult]) -> tuple[str, ...]:
    """What people should know that the verdict does not say; each with what to do about it."""
    results = list(model.manifest_problems)
    carried_out = [clip for clip in clips if clip.status != "error"]
    earliest = (MIN_SLICES_BEFORE_DETECTION // model.stride + 1) * model.stride
    short = [clip.name for clip in carried_out if clip.slices < earliest]
    if short:
        results.append(
            f"{_listed(short)} too short to detect anything: ESPHome never does in the first second; "
            "--lead-in 1 puts a second of silence in front"
        )
    if arena is not None and arena.fits is False:
        results.append(
            f"the manifest's tensor_arena_size of {arena.manifest} is too small; mww arena says what is needed"
        )
    if arena is not None and arena.predicted is not None and arena.used != arena.predicted:
        results.append(
            f"the target uses {arena.used} bytes of arena where {arena.predicted} are predicted for its chip"
        )
    differing = [clip.name for clip in carried_out if clip.status == "pass" and _detects_otherwise(clip)]
    if differing:
        results.append(f"{_listed(differing)} detected at other inferences than in the golden, within what is allowed")
    return tuple(results)


def environment() -> tuple[tuple[str, str], ...]:
    """Names and versions on this machine."""
    names = ("mww-harness", "numpy", "pymicro-features")
    system = (("python", platform.python_version()), ("system", f"{platform.system()} {platform.machine()}"))
    return system + tuple((name, (distribution_version(name) or NOT_INSTALLED)) for name in names)


def _detects_otherwise(clip: ClipResult) -> bool:
    golden = clip.golden_detections
    return golden is not None and [d.inference for d in golden] != [d.inference for d in clip.detections]


def _listed(names: Sequence[str]) -> str:
    first = names[0] if len(names) == 1 else f"{len(names)} clips ({names[0]}, ...)"
    return f"{first} {'is' if len(names) == 1 else 'are'}"
