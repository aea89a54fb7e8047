"""The verdict for a clip: outputs, detections, number of inferences and arena, each compared with its expectation.

Arithmetic only: nothing runs here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from harness.clips.clip import Clip
from harness.clips.golden import Golden
from harness.run.features import HeardFeatures
from harness.run.results import ArenaResult, ClipResult, Mismatch, Problem, Spread, Trace
from harness.run.streaming import Streamed
from mww.core.errors import MwwError
from mww.esphome.detection import Detection, DeviceDetection, Recording, Vad
from mww.esphome.model import Model

ExpectedOfDevice = Callable[[ClipResult], tuple[Detection, ...]]
"""The detections of ESPHome's rule, without a VAD, for a clip's outputs."""

Outputs = npt.NDArray[np.uint8]


def plain_problems(
    arena: ArenaResult | None, clips: Sequence[ClipResult], expected: ExpectedOfDevice
) -> tuple[Problem, ...]:
    """All problems other than outputs."""
    result = (_arena(arena), _detection(clips, expected), _count(clips))
    return tuple(problem for problem in result if problem is not None)


def _arena(arena: ArenaResult | None) -> Problem | None:
    if arena is None or arena.fits is not False:
        return None
    message = (
        f"the model uses {arena.used} bytes of arena, of {arena.size} allocated; its manifest says {arena.manifest}"
    )
    if arena.predicted is not None and arena.predicted != arena.used:
        message += f", and {arena.predicted} are predicted for this chip"
    return Problem("arena", (), None, message, "mww arena shows what each chip needs, and why")


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
    hint = "check the detection rule in the firmware: cutoff byte, window, and the 100 slices before it listens"
    return Problem("detection", tuple(clip.name for clip, _ in wrong), first, message, hint)


def _count(clips: Sequence[ClipResult]) -> Problem | None:
    wrong = [clip for clip in clips if clip.status != "error" and miscounted(clip.device_inferences, clip.inferences)]
    if not wrong:
        return None
    message = f"the target made {wrong[0].device_inferences} inferences of {wrong[0].inferences} frames"
    hint = "frames reach the model twice, or not at all: check how the firmware handles a repeated request"
    return Problem("count", tuple(clip.name for clip in wrong), None, message, hint)


def miscounted(counted: int | None, outputs: int) -> bool:
    """Whether a target's count of inferences differs from the number of outputs."""
    return counted is not None and counted != outputs


def _places(detections: Sequence[Detection]) -> str:
    if not detections:
        return "nothing"
    results = [f"{item.time_s:.2f} s (inference {item.inference})" for item in detections[:3]]
    more = [f"and {len(detections) - 3} more"] if len(detections) > 3 else []
    return "at " + ", ".join(results + more)


@dataclass(frozen=True, slots=True)
class Observed:
    """All observations of a clip.

    Attributes:
        streamed: Facts about the clip, and why it ended early.
        outputs: uint8 `[n]` of the target.
        microseconds: uint32 `[n]`; empty where no chip measured them.
        instructions: uint32 `[n]`; empty where they were not counted.
        device_inferences: The number that the target itself counted; None where it does not.
        device_detections: What the target's own rule found; None without one.
        golden: uint8 `[n]`; None where nothing is compared.
        after: The clip that the target ran just before, since it loaded the model; None where that is not known.
        target: The name of the target; None where that is not known.
        features: How the target's own features compare with this computer's; None where it was sent these.
        vad: uint8 `[m]` of the VAD model; None without one.
    """

    streamed: Streamed
    outputs: Outputs
    microseconds: npt.NDArray[np.uint32]
    device_inferences: int | None
    device_detections: tuple[DeviceDetection, ...] | None
    golden: Outputs | None
    vad: Outputs | None
    after: str | None = None
    target: str | None = None
    instructions: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    features: HeardFeatures | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """The criteria for clips: the rules of the model and the VAD, the tolerance, the allowances."""

    model: Model
    vad: Model | None
    tolerance: int
    allows: Callable[[ClipResult], bool] = lambda clip: False

    def judge(self, clip: Clip, observed: Observed) -> ClipResult:
        """Judge the observations of a clip; a clip that ended early only reports how far it got."""
        result, outputs = _partial_result(clip, observed), observed.outputs
        if result.error is not None:
            return result
        gate = self.gate(observed)
        result = replace(
            result,
            frames_sha256=observed.streamed.frames_sha256,
            outputs_sha256=hashlib.sha256(outputs.tobytes()).hexdigest(),
            max_output=int(outputs.max()) if len(outputs) else None,
            highest_average=self._recording(outputs).highest_average,
            detections=self._detections(clip.lead_in, outputs, gate),
            device_detections=self._device_detections(clip, observed),
            latency_us=_spread(observed.microseconds),
            instructions=_spread(observed.instructions),
            features=observed.features.result if observed.features else None,
        )
        if observed.golden is not None:
            detections = self._detections(clip.lead_in, observed.golden, gate)
            result = self._allow(_compare(result, observed.golden, detections, self.tolerance))
        expected = self.expected_of_device(result, clip.lead_in)
        wrong = result.device_detections not in (None, expected)
        wrong = wrong or miscounted(observed.device_inferences, len(outputs))
        wrong = wrong or (result.features is not None and result.features.mismatches > 0)
        return replace(result, status="fail") if wrong else result

    def _allow(self, result: ClipResult) -> ClipResult:
        """Let a clip pass if an allowance accepts its mismatches."""
        return replace(result, status="pass", allowed=True) if result.mismatches and self.allows(result) else result

    def expected_of_device(self, result: ClipResult, lead_in: float) -> tuple[Detection, ...]:
        """The detections of ESPHome's rule for the target's own outputs, without a VAD, which no target has."""
        return self._detections(lead_in, result.trace.outputs, None)

    def _device_detections(self, clip: Clip, observed: Observed) -> tuple[Detection, ...] | None:
        """The detections of the target's own rule, in the form of the host's rule."""
        if observed.device_detections is None:
            return None
        return tuple(
            Detection(
                inference=item.inference,
                time_s=item.slices * self.model.feature_step_size / 1000 - clip.lead_in,
                average=item.average,
                maximum=item.maximum,
                vad_blocked=False,
            )
            for item in observed.device_detections
        )

    def _recording(self, outputs: Outputs) -> Recording:
        return Recording(outputs, window=self.model.sliding_window_size, stride=self.model.stride)

    def _detections(self, lead_in: float, outputs: Outputs, vad: Vad | None) -> tuple[Detection, ...]:
        step = self.model.feature_step_size
        results = self._recording(outputs).detections(
            self.model.cutoff_byte, vad, feature_step_size=step, lead_in=lead_in
        )
        return tuple(results)

    def gate(self, observed: Observed) -> Vad | None:
        """The VAD that gates a clip; None without a VAD."""
        model, outputs = self.vad, observed.vad
        if model is None or outputs is None:
            return None
        return Vad(outputs, cutoff=model.probability_cutoff, window=model.sliding_window_size, stride=model.stride)


def nothing_but(error: MwwError) -> Observed:
    """The observations of a clip that never started."""
    return Observed(Streamed(0, "", error), np.empty(0, np.uint8), np.empty(0, np.uint32), None, None, None, None)


def with_golden(recorded: Golden, name: str, observed: Observed) -> Observed:
    """The observations of a clip from another process, with the golden of this process."""
    try:
        return replace(observed, golden=recorded.outputs(name))
    except MwwError as error:
        return nothing_but(error)


def _partial_result(clip: Clip, observed: Observed) -> ClipResult:
    error, microseconds = observed.streamed.error, observed.microseconds
    return ClipResult(
        name=clip.name,
        status="pass" if error is None else "error",
        error=None if error is None else error.facts,
        slices=observed.streamed.slices,
        inferences=len(observed.outputs),
        device_inferences=observed.device_inferences,
        outputs_sha256=None,
        mismatches=None,
        max_abs_difference=None,
        first_mismatch=None,
        max_output=None,
        detections=(),
        golden_detections=None,
        device_detections=None,
        latency_us=None,
        input=observed.streamed.input,
        trace=Trace(
            outputs=observed.outputs,
            golden=observed.golden,
            microseconds=microseconds if len(microseconds) else None,
            features=observed.features.slices if observed.features else None,
        ),
    )


def _compare(
    result: ClipResult, golden: Outputs, golden_detections: tuple[Detection, ...], tolerance: int
) -> ClipResult:
    outputs = result.trace.outputs
    both = min(len(outputs), len(golden))  # the number of slices differs where a front-end has another step
    difference = np.abs(outputs[:both].astype(np.int16) - golden[:both])
    wrong = np.flatnonzero(difference > tolerance)
    mismatches = len(wrong) + len(outputs) + len(golden) - 2 * both
    return replace(
        result,
        status="fail" if mismatches else "pass",
        mismatches=mismatches,
        max_abs_difference=int(difference.max(initial=0)),
        first_mismatch=_mismatch(int(wrong[0]), golden, outputs) if len(wrong) else None,
        golden_detections=golden_detections,
    )


def _mismatch(inference: int, golden: Outputs, outputs: Outputs) -> Mismatch:
    return Mismatch(inference, expected=int(golden[inference]), found=int(outputs[inference]))


def _spread(amounts: npt.NDArray[np.uint32]) -> Spread | None:
    if not len(amounts):
        return None
    p50, p95, p99 = (int(value) for value in np.percentile(amounts, (50, 95, 99), method="inverted_cdf"))
    return Spread(p50, p95, p99, int(amounts.max()))
