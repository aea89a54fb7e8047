"""Whatever a caller names as clips, opened: WAVs, folders, feature files, goldens, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from harness.clips.clip import ArrayClip, Clip, audio_clips, feature_clips
from harness.clips.golden import Golden, is_golden
from harness.clips.npz import Archive
from harness.clips.remote import is_url, remote_file, without_secrets
from mww.core.errors import FeatureError, UsageError
from mww.core.readable import Readable

ClipSource: TypeAlias = "Path | str | Mapping[str, npt.NDArray[np.generic]] | Iterable[Path | str]"
"""WAV files and folders; a feature file or golden (`.npz`); any of them by URL; or arrays int8 or uint16 `[slices, 40]`
by name."""


def open_clips(source: ClipSource, lead_in: float, stack: ExitStack) -> tuple[tuple[Clip, ...], Golden | None]:
    """Open clips, and the golden where that is what they came from; `stack` closes the files.

    Raises:
        InputError: Something cannot be read.
        UsageError: A lead-in where there is no audio.
    """
    if isinstance(source, Mapping):
        _no_lead_in(lead_in, "arrays")
        return tuple(ArrayClip(str(name), np.asarray(array)) for name, array in source.items()), None
    paths = [source] if isinstance(source, str | Path) else list(source)
    if len(paths) != 1 or not without_secrets(str(paths[0])).lower().endswith(".npz"):
        return audio_clips(paths, lead_in=lead_in), None
    _no_lead_in(lead_in, "a feature file")
    file = archive_file(paths[0])
    with Archive(file) as archive:
        recorded = is_golden(archive)
    if recorded:
        golden = Golden(file)
        stack.callback(golden.close)
        return golden.clips, golden
    return feature_clips(stack.enter_context(Archive(file))), None


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
