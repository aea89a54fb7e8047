"""Running clips: `mww run` in the emulator against bare loops over the same interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from harness.benchmarks.inputs import SLICES_A_SECOND, feature_file, golden_file, manifest
from harness.benchmarks.measuring import Goal, Plan, Row
from harness.benchmarks.programs import Finished, bare, mww, run
from harness.errors import BenchmarkError
from harness.model import load_model

_AS_FAST: Final = Goal("at least", 0.9)
_RATE: Final = "frames/s"
_LOOP: Final = "bare loop over tflite-micro, whole process"


def emulator(plan: Plan) -> list[Row]:
    """Compare recorded clips with `mww run --golden`, in one job."""
    golden, clips, frames = _recorded(plan)

    def ours() -> Finished:
        return run(mww("run", manifest(), "--golden", golden, "--json"))

    def theirs() -> Finished:
        return run(bare("tflm_loop", _model(), clips))

    mine, others = plan.by_turns(ours, theirs)
    _check_outputs([one.document for one in mine], [one.document["outputs"] for one in others])
    return [_row("`mww run --golden`, whole command", _LOOP, frames, mine, others)]


def _recorded(plan: Plan) -> tuple[Path, Path, int]:
    """A golden, the feature file that it was recorded from, and the frames in it."""
    count, seconds = plan.size(6, 2), plan.size(600, 3)
    clips = feature_file(plan.scratch / "clips.npz", clips=count, seconds=seconds)
    golden = golden_file(plan.scratch / "golden.npz", clips)
    return golden, clips, count * _frames(seconds)


def _frames(seconds: int) -> int:
    return seconds * SLICES_A_SECOND // load_model(manifest()).stride


def _model() -> Path:
    return load_model(manifest()).path.with_suffix(".tflite")


def _row(what: str, against: str, frames: int, mine: list[Finished], others: list[Finished]) -> Row:
    return Row(
        what=what,
        against=against,
        unit=_RATE,
        ours=tuple(frames / one.seconds for one in mine),
        theirs=tuple(frames / one.seconds for one in others),
        comparison="ratio",
        goal=_AS_FAST,
        same=f"{frames} output bytes",
    )


def _check_outputs(runs: list[Any], loops: list[dict[str, str]]) -> None:
    """Hold the outputs of each run against those of each loop."""
    for document in runs:
        found = {clip["name"]: clip["outputs_sha256"] for clip in document["clips"]}
        if document["verdict"] != "pass" or any(found != loop for loop in loops):
            raise BenchmarkError("mww run and the bare loop gave different outputs")
