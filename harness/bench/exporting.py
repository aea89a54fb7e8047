"""Export: a checkpoint to a verified model, compared with the official converter, which calibrates frame by frame."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.bench.inputs import WAKE_WORD, calibration_file, model_file, spoken
from harness.bench.measuring import BUG, Goal, Plan, Row
from harness.bench.programs import bare, mww, run
from harness.engines.process import EngineProcess
from mww.core.errors import BenchmarkError

_IMPORT: Final = "tensorflow"
"""The phase of an export that imports it."""
_FURTHEST: Final = 4
"""How far apart the outputs of the two models may be, of 255: their ranges differ in the last bits."""
_OFFICIAL: Final = "the official way, frame by frame"
_GOALS: Final = {
    "tensorflow": (Goal("at most", 0.55), Goal("at most", 0.40)),
    "direct": (Goal("at most", 0.10), Goal("at most", 0.10)),
}
"""Converters, with the goals of the whole process and of its work after the imports."""


@dataclass(frozen=True, slots=True)
class _Export:
    """Seconds of a whole process, and of its work after the imports."""

    whole: float
    work: float


def export(plan: Plan) -> list[Row]:
    """Export without TensorFlow and with it."""
    checkpoint = plan.scratch / f"{WAKE_WORD}.weights.h5"
    run(mww("recover", model_file(), "--output", checkpoint))
    clips = plan.size(500, 30)
    calibration = calibration_file(plan.scratch / "calibration.npz", clips=clips)
    official = plan.scratch / "official.tflite"

    def own_side(converter: str) -> _Export:
        words = mww("export", "--checkpoint", checkpoint, "--calibration", calibration)
        words += ["--output", str(plan.scratch / converter), "--converter", converter]
        finished = run([*words, "--allow-small-calibration", "--json"])
        seconds = finished.document["seconds"]
        return _Export(finished.seconds, sum(seconds.values()) - seconds.get(_IMPORT, 0.0))

    def reference() -> _Export:
        finished = run(bare("official_export", checkpoint, calibration, official))
        return _Export(finished.seconds, json.loads(Path(f"{official}.json").read_text())["seconds"])

    own, others = plan.by_turns(lambda: [own_side(converter) for converter in _GOALS], reference)
    rows: list[Row] = []
    for (converter, (whole, work)), exports in zip(_GOALS.items(), zip(*own, strict=True), strict=True):
        same = _compared(plan.scratch / converter / f"{WAKE_WORD}.tflite", official)
        command = f"`mww export --converter {converter}`, {clips} clips"
        seconds = [item.whole for item in exports], [item.whole for item in others]
        rows.append(_row(command, _OFFICIAL, *seconds, whole, same))
        seconds = [item.work for item in exports], [item.work for item in others]
        rows.append(_row(f"{command}, without start and import", f"{_OFFICIAL}, likewise", *seconds, work, same))
    return rows


def _row(what: str, against: str, own: list[float], right: list[float], goal: Goal, same: str) -> Row:
    return Row(what, against, "s", tuple(own), tuple(right), "ratio", goal, same)


def _compared(own: Path, right: Path) -> str:
    """How far apart the outputs of the two models are on speech; a large distance is an error."""
    with EngineProcess("tflm") as engine:
        mine, other = (_outputs(engine, path.read_bytes()) for path in (own, right))
    differences = np.abs(mine - other)
    if differences.max() > _FURTHEST:
        raise BenchmarkError(f"the two models differ by {differences.max()} of 255", hint=BUG)
    near = f"at most {differences.max()} of 255 apart, {differences.mean():.4f} on average"
    return f"checkpoint and calibration, and on {len(mine)} frames of speech the models' outputs are {near}"


def _outputs(engine: EngineProcess, content: bytes) -> npt.NDArray[np.int64]:
    engine.load(content)
    slices = spoken().tobytes()
    outputs = engine.infer(slices[: len(slices) // engine.frame_size * engine.frame_size])
    return np.frombuffer(outputs, np.uint8).astype(np.int64)
