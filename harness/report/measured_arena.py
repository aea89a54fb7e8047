"""The arena use that a device reported, out of a `run.json` that nobody vouches for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.report.fields import REMEDY
from mww.core.errors import InputError
from mww.core.readable import open_regular
from mww.esphome.manifest_schema import is_integer

MAX_FILE_SIZE: Final = 64 * 1024 * 1024
"""Bytes; a day of clips gives some 10 MB."""

_MAX_ARENA: Final = 32 * 1024 * 1024
_RUN: Final = "mww.run/1"
_RUN_SET: Final = "mww.run-set/1"


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
    runs = [run for run in _runs(path) if run.get("model_sha256") == model_sha256]
    if not runs:
        raise InputError(f"{path} is the run of another model", hint=f"run the model with sha256 {model_sha256[:12]}…")
    run = runs[0]
    arena = run.get("arena")
    if not isinstance(arena, dict) or not is_integer(arena.get("used")) or not 0 < arena["used"] <= _MAX_ARENA:
        raise InputError(f"{path} holds no arena use", hint="run the model on a board")
    if arena.get("source") != "measured":
        hint = "only a board measures: `mww run MODEL --wav CLIP.wav --target PORT --report DIR`"
        raise InputError(f"the arena use in {path} is not measured", hint=hint)
    target = run.get("target")
    chip = target.get("chip") if isinstance(target, dict) else None
    return MeasuredArena(arena["used"], chip if isinstance(chip, str) else None)


def _runs(path: Path) -> list[Mapping[str, object]]:
    content = _read_json(path)
    if isinstance(content, dict) and content.get("schema") == _RUN:
        return [content]
    if isinstance(content, dict) and content.get("schema") == _RUN_SET and isinstance(content.get("runs"), list):
        return [run for run in content["runs"] if isinstance(run, dict)]
    raise InputError(
        f"{path} is not a result of `mww run`", hint="give the run.json that `mww run --report DIR` writes"
    )


def _read_json(path: Path) -> object:
    try:
        with open_regular(path) as file:
            content = file.read(MAX_FILE_SIZE + 1)
        if len(content) > MAX_FILE_SIZE:
            raise InputError(
                f"{path} is larger than {MAX_FILE_SIZE} bytes", hint="give the run.json that mww run --report wrote"
            )
        return json.loads(content.decode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint=REMEDY) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON: {error}", hint="give the run.json that mww run --report wrote"
        ) from error
