"""Allowances in a run: which allowances of a file apply to a model on a target, and which were used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from harness.run.allowances import (
    LIKELY_ROUNDING,
    Allowance,
    AllowanceFile,
    Difference,
    propose,
    read_allowances,
    usage,
)
from harness.run.results import AllowanceAccount, ClipResult, Problem
from harness.targets.base import TargetInfo
from mww.esphome.model import Model

_NO_ROUNDING = {"frontend", "reset", "slice-order", "output", "arithmetic"}


def read_allowance_file(file: AllowanceFile | Path | str | None) -> AllowanceFile | None:
    """The file, read if necessary.

    Raises:
        AllowanceError: It cannot be used.
    """
    return read_allowances(file) if isinstance(file, Path | str) else file


def allowing(file: AllowanceFile | None, model: Model, info: TargetInfo) -> Callable[[ClipResult], bool]:
    """Whether a valid allowance for this model and target accepts a clip's mismatches."""
    if file is None:
        return lambda clip: False
    folder = file.path.absolute().parent
    holding = [item for item in _concerning(file, model, info) if item.lapse(model.sha256, info) is None]

    def takes(clip: ClipResult) -> bool:
        difference = _difference(clip, folder)
        return difference is not None and any(item.takes(difference) for item in holding)

    return takes


def account(
    file: AllowanceFile | None, model: Model, info: TargetInfo, clips: Sequence[ClipResult]
) -> AllowanceAccount | None:
    """The effect of every allowance for this model, or a model of its name, on this chip; None without a file."""
    if file is None:
        return None
    seen = differences(clips, file.path.absolute().parent)
    entries = tuple(usage(item, item.lapse(model.sha256, info), seen) for item in _concerning(file, model, info))
    return AllowanceAccount(str(file.path), file.sha256, entries)


def proposal(
    model: Model, info: TargetInfo, clips: Sequence[ClipResult], problems: Sequence[Problem]
) -> Allowance | None:
    """The allowance that accepts every mismatch of a failed run, where all look like rounding; else None."""
    failing = [clip for clip in clips if clip.status == "fail" and clip.mismatches]
    if not failing or any(problem.code in _NO_ROUNDING for problem in problems):
        return None
    if max(clip.max_abs_difference or 0 for clip in failing) > LIKELY_ROUNDING:
        return None
    seen = differences(clips, Path.cwd())
    return propose(model.name, model.sha256, info, seen, reason="", by="", date=today())


def today() -> str:
    """The date in UTC, in the format of an allowance."""
    return datetime.now(timezone.utc).date().isoformat()


def differences(clips: Sequence[ClipResult], folder: Path) -> list[Difference]:
    """The differences of each compared clip; an absolute path below `folder` becomes relative to it."""
    return [item for item in (_difference(clip, folder) for clip in clips) if item is not None]


def _difference(clip: ClipResult, folder: Path) -> Difference | None:
    if clip.mismatches is None:
        return None
    path = Path(clip.name)
    below = path.is_absolute() and path.is_relative_to(folder)
    name = path.relative_to(folder).as_posix() if below else clip.name
    return Difference(name, clip.mismatches, clip.max_abs_difference or 0)


def _concerning(file: AllowanceFile | None, model: Model, info: TargetInfo) -> list[Allowance]:
    allowances = file.allowances if file is not None else ()
    reported = dict(info.versions)
    return [item for item in allowances if item.concerns(model.name, model.sha256, info.chip, reported)]
