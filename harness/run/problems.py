"""What a run names as wrong without running anything again: the target's own rule, its count, its arena."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.run.results import ArenaResult, ClipResult, Problem
from mww.esphome.detection import Detection

ExpectedOfDevice = Callable[[ClipResult], tuple[Detection, ...]]
"""What ESPHome's rule, without a VAD, makes of a clip's outputs."""


def plain_problems(
    arena: ArenaResult | None, clips: Sequence[ClipResult], expected: ExpectedOfDevice
) -> tuple[Problem, ...]:
    """Everything that is wrong besides outputs."""
    result = (_arena(arena), _detection(clips, expected), _count(clips))
    return tuple(problem for problem in result if problem is not None)


def _arena(arena: ArenaResult | None) -> Problem | None:
    if arena is None or arena.fits is not False:
        return None
    message = (
        f"the model takes {arena.used} bytes of arena, of {arena.size} allocated; its manifest says {arena.manifest}"
    )
    if arena.predicted is not None and arena.predicted != arena.used:
        message += f", and {arena.predicted} are predicted for this chip"
    return Problem("arena", (), None, message, "mww arena tells what each chip needs, and from what")


def _detection(clips: Sequence[ClipResult], expected: ExpectedOfDevice) -> Problem | None:
    wrong = [
        (clip, expected(clip))
        for clip in clips
        if clip.device_detections is not None and clip.device_detections != expected(clip)
    ]
    if not wrong:
        return None
    clip, rule = wrong[0]
    reported = clip.device_detections or ()
    first = min((item.inference for item in {*reported} ^ {*rule}), default=None)
    message = f"the target's own rule detects {_places(reported)}; ESPHome's on the same outputs {_places(rule)}"
    hint = "look at the detection rule in the firmware: cutoff byte, window, and the 100 slices before it listens"
    return Problem("detection", tuple(clip.name for clip, _ in wrong), first, message, hint)


def _count(clips: Sequence[ClipResult]) -> Problem | None:
    wrong = [clip for clip in clips if clip.status != "error" and miscounted(clip.device_inferences, clip.inferences)]
    if not wrong:
        return None
    message = f"the target made {wrong[0].device_inferences} inferences of {wrong[0].inferences} frames"
    hint = "frames reach the model twice, or not at all: look at how the firmware says a request that is sent again"
    return Problem("count", tuple(clip.name for clip in wrong), None, message, hint)


def miscounted(counted: int | None, outputs: int) -> bool:
    """Whether a target counts another number of inferences than outputs came."""
    return counted is not None and counted != outputs


def _places(detections: Sequence[Detection]) -> str:
    if not detections:
        return "nothing"
    results = [f"{item.time_s:.2f} s (inference {item.inference})" for item in detections[:3]]
    more = [f"and {len(detections) - 3} more"] if len(detections) > 3 else []
    return "at " + ", ".join(results + more)
