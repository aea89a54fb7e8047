"""The arena use that a device reported, out of a `run.json` that nobody vouches for.

Only what is needed is read: hand-made results, as from a log, serve as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.report.fields import Fields
from mww.core.errors import InputError

_MAX_ARENA: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class MeasuredArena:
    """What a device said of its arena.

    Attributes:
        used: `arena_used_bytes()`, bytes.
        chip: The chip, as the run names it; None where it does not.
    """

    used: int
    chip: str | None


def read_measured_arena(path: Path, model_sha256: str) -> MeasuredArena:
    """Read the arena that a device measured for a model from the result of `mww run`.

    Args:
        path: `run.json`, of one model or of several.
        model_sha256: Hexadecimal SHA-256 of the model.

    Raises:
        InputError: The file is another document, is of another model, or its arena was not measured on a device.
    """
    document = Fields.read(path)
    schema = document.one_of("schema", ("mww.run/1", "mww.run-set/1"))
    runs = [document] if schema == "mww.run/1" else list(document.items("runs"))
    run = next((run for run in runs if run.optional_text("model_sha256") == model_sha256), None)
    if run is None:
        raise InputError(f"{path} is the run of another model", hint=f"run the model with sha256 {model_sha256[:12]}…")
    arena = run.fields("arena")
    used = arena.whole("used")
    if not 0 < used <= _MAX_ARENA:
        arena.refuse("used", f"1 to {_MAX_ARENA}", used)
    if arena.optional_text("source") != "measured":
        hint = "only a board measures: `mww run MODEL --wav CLIP.wav --target PORT --report DIR`"
        raise InputError(f"the arena use in {path} is not measured", hint=hint)
    target = run.optional_fields("target")
    return MeasuredArena(used, target.optional_text("chip") if target else None)
