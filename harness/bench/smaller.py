"""The tensor arena of the published models before and after `optimize_for_edge`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from exporter.optimization.bounds import Limit
from exporter.optimization.optimize import optimize_for_edge, order_limit
from harness.bench.inputs import spoken
from harness.bench.measuring import BUG, Goal, Plan, Row
from harness.engines.process import EngineProcess
from mww.core.errors import BenchmarkError
from mww.core.resources import published_models
from mww.esphome.chips import CHIP_NAMES
from mww.tflite.model_file import read_model
from mww.tflm.arena import predict_arena

_CHECKED: Final = 500
"""Frames of speech over which both files must give the same bytes."""


def smaller(plan: Plan) -> list[Row]:
    """Optimise each published model for all chips."""
    paths = sorted(published_models().glob("*.tflite"))
    with EngineProcess("tflm") as engine:
        return [_row(path, engine, plan) for path in paths[: plan.size(len(paths), 1)]]


def _row(path: Path, engine: EngineProcess, plan: Plan) -> Row:
    plan.report(path.stem)
    before = path.read_bytes()
    after = optimize_for_edge(before)
    if _outputs(engine, before) != _outputs(engine, after):
        raise BenchmarkError(f"optimize_for_edge changed the outputs of {path.stem}", hint=BUG)
    model = read_model(before)
    limits = {chip: order_limit(model, chip) for chip in CHIP_NAMES}
    sizes = {chip: [predict_arena(content, chip).minimum for content in (before, after)] for chip in CHIP_NAMES}
    largest = [max(size[side] for size in sizes.values()) for side in (0, 1)]
    chips: dict[str, list[str]] = {}
    for chip, (old, new) in sizes.items():
        chips.setdefault(_account(old, new, limits[chip]), []).append(chip)
    notes = {", ".join(names): account for account, names in chips.items()}
    notes["file"] = f"{len(before)} to {len(after)} bytes"
    return Row(
        what=f"{path.stem}, largest minimum over the chips",
        against="as published",
        unit="bytes",
        own=(largest[1],),
        reference=(largest[0],),
        comparison="ratio",
        goal=Goal("at most", 1.0),
        same=f"{_CHECKED} output bytes of each model",
        notes=tuple(notes.items()),
    )


def _account(before: int, after: int, limit: Limit) -> str:
    """The bytes saved on a chip, and why no order saves more."""
    bound = f"no order needs less than {limit.size}: {limit.reason}"
    return f"{before} to {after} bytes; {bound}"


def _outputs(engine: EngineProcess, content: bytes) -> bytes:
    engine.load(content)
    slices = spoken().tobytes()
    return engine.infer(slices[: len(slices) // engine.frame_size * engine.frame_size][: _CHECKED * engine.frame_size])
