"""Whatever a caller names as clips, opened: WAVs, folders, feature files, goldens, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from harness.clips.clip import ArrayClip, Clip, feature_clips
from harness.clips.golden import Golden, is_golden
from harness.clips.npz import Archive
from harness.clips.remote import is_url, remote_file, without_secrets
from harness.clips.stored import open_folders
from mww.core.errors import FeatureError, GoldenError, UsageError
from mww.core.readable import Readable
from mww.esphome.audio import left_out_of
from mww.esphome.contract import FEATURE_STEP_MS


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A `.npz` that must be a golden, or must not: what is compared has to be what was meant."""

    place: Path | str
    golden: bool


ClipSource: TypeAlias = "Path | str | ClipFile | Mapping[str, npt.NDArray[np.generic]] | Iterable[Path | str]"
"""Sound files and folders, also of the trainer's features; a feature file or golden (`.npz`); any of them by URL; or
arrays int8 or uint16 `[slices, 40]` by name."""


def open_clips(
    source: ClipSource, lead_in: float, stack: ExitStack, step_ms: int = FEATURE_STEP_MS
) -> tuple[tuple[Clip, ...], Golden | None]:
    """Open clips, and the golden where that is what they came from; `stack` closes the files.

    `step_ms` is the model's `feature_step_size`, at which sound becomes slices.

    Raises:
        InputError: Something cannot be read.
        UsageError: A lead-in without audio, or a golden in place of features.
        GoldenError: Features in place of a golden.
    """
    if isinstance(source, Mapping):
        _no_lead_in(lead_in, "arrays")
        return tuple(ArrayClip(str(name), np.asarray(array)) for name, array in source.items()), None
    if isinstance(source, ClipFile):
        return _open_file(source.place, lead_in, stack, must_be_golden=source.golden)
    paths = [source] if isinstance(source, str | Path) else list(source)
    if len(paths) != 1 or not without_secrets(str(paths[0])).lower().endswith(".npz"):
        return open_folders(paths, lead_in=lead_in, step_ms=step_ms), None
    return _open_file(paths[0], lead_in, stack)


def _open_file(
    place: Path | str, lead_in: float, stack: ExitStack, *, must_be_golden: bool | None = None
) -> tuple[tuple[Clip, ...], Golden | None]:
    _no_lead_in(lead_in, "a feature file")
    archive = stack.enter_context(Archive(archive_file(place)))
    recorded = is_golden(archive)
    if must_be_golden is not None:
        _check_kind(archive.path, must_be_golden, recorded)
    if recorded:
        golden = Golden(archive)
        return golden.clips, golden
    return feature_clips(archive), None


def left_out_of_source(source: ClipSource) -> tuple[str, ...]:
    """What is in the folders of a source and no clip, in sentences."""
    if isinstance(source, Mapping | ClipFile):
        return ()
    paths = [source] if isinstance(source, str | Path) else list(source)
    return left_out_of(path for path in paths if not (isinstance(path, str) and is_url(path)))


def _check_kind(file: Readable, wanted: bool, recorded: bool) -> None:
    if wanted and not recorded:
        raise GoldenError(
            f"{file} is not a golden: it does not say where it came from", hint="mww record makes a golden"
        )
    if recorded and not wanted:
        raise UsageError(f"{file} is a golden", hint=f"--golden {file}")


def archive_file(place: Path | str) -> Readable:
    """The `.npz` that a path or URL names.

    Raises:
        FeatureError: A URL's file is not there or cannot be asked for.
    """
    if not (isinstance(place, str) and is_url(place)):
        return Path(place)
    try:
        return remote_file(place)
    except OSError as error:
        raise FeatureError(
            f"cannot read {without_secrets(place)}: {error.strerror}", hint="check the path or address"
        ) from None


def _no_lead_in(lead_in: float, what: str) -> None:
    if lead_in:
        raise UsageError(f"a lead-in for {what}", hint="the lead-in is silence before the front-end: only WAVs take it")
