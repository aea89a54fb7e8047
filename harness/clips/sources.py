"""Clips from every kind of source: WAVs, folders, feature files, a trainer's feature folders, goldens, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.clips.clip import BLOCK, ArrayClip, Clip, audio_clips, feature_clips, noted_features
from harness.clips.golden import Golden, is_golden
from harness.clips.npz import Archive
from harness.clips.remote import is_url, remote_file, without_secrets
from mww.core.errors import FeatureError, GoldenError, UsageError
from mww.core.readable import Readable, is_folder
from mww.esphome.audio import left_out_of, sound_files
from mww.esphome.contract import FEATURE_STEP_MS, FEATURES
from mww.esphome.feature_folders import TESTING, FeatureFolder, as_int8, feature_folders
from mww.esphome.frontend import Slices

_LOWEST: Final = -128
"""The int8 value of the front-end's zeros, its output for digital silence."""

ClipSource: TypeAlias = "Path | str | ClipFile | Mapping[str, npt.NDArray[np.generic]] | Iterable[Path | str]"
"""Sound files and folders, also of the trainer's features; a feature file or golden (`.npz`); any of them by URL; or
arrays int8 or uint16 `[slices, 40]` by name."""


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A clip of a feature folder, with slices of silence in front."""

    name: str
    folder: FeatureFolder
    index: int
    lead_in: float = 0.0
    step_ms: int = FEATURE_STEP_MS

    def blocks(self) -> Iterator[Slices]:
        """The slices, quantised where necessary."""
        silence = round(self.lead_in * 1000 / self.step_ms)
        if silence:
            yield np.full((silence, FEATURES), _LOWEST, np.int8)
        try:
            features = self.folder.clip(self.index)
        except ValueError as error:
            raise _damaged(self.folder.path, error) from error
        for start in range(0, len(features), BLOCK):
            yield as_int8(features[start : start + BLOCK], self.name)


def open_folders(
    paths: Iterable[Path | str], *, lead_in: float = 0.0, step_ms: int = FEATURE_STEP_MS
) -> tuple[Clip, ...]:
    """The sound files of paths, folders and URLs, and the clips of a trainer's feature folders among them.

    Of a trainer's sets it takes `testing` and `testing_ambient`; without these, `validation` and `validation_ambient`.

    Raises:
        AudioError: A path does not exist, or a folder has no clip.
        FeatureError: A feature folder is damaged.
        UsageError: `lead_in` is not a time.
    """
    given = list(paths)
    stored = {path: _stored(Path(path), lead_in, step_ms) for path in given if _is_folder(path)}
    sounds = [path for path in given if not stored.get(path) or sound_files(Path(path))]
    heard: tuple[Clip, ...] = audio_clips(sounds, lead_in=lead_in, step_ms=step_ms) if sounds or not given else ()
    return (*heard, *(clip for clips in stored.values() for clip in clips))


def _is_folder(path: Path | str) -> bool:
    return not (isinstance(path, str) and is_url(path)) and is_folder(Path(path))


def _stored(path: Path, lead_in: float, step_ms: int) -> list[StoredClip]:
    try:
        places = feature_folders(path, TESTING)
    except OSError:  # audio_clips reads the same files and reports the reason
        return []
    return [clip for place in places for clip in _clips_of(place, lead_in, step_ms)]


def _clips_of(place: Path, lead_in: float, step_ms: int) -> Iterator[StoredClip]:
    try:
        folder = FeatureFolder(place)
    except (OSError, ValueError) as error:
        raise _damaged(place, error) from error
    for index in range(len(folder)):
        yield StoredClip(f"{place.as_posix()}/{index:06d}", folder, index, lead_in, step_ms)


def _damaged(place: Path, error: Exception) -> FeatureError:
    reason = getattr(error, "strerror", None) or error
    hint = "was the folder copied whole? the trainer's feature generation writes it again"
    return FeatureError(f"{place} is not a readable feature folder: {reason}", hint=hint)


@dataclass(frozen=True, slots=True)
class ClipFile:
    """An `.npz` that must be a golden, or must not be: the user must mean what is compared."""

    place: Path | str
    golden: bool


def open_clips(
    source: ClipSource, lead_in: float, stack: ExitStack, step_ms: int = FEATURE_STEP_MS
) -> tuple[tuple[Clip, ...], Golden | None]:
    """Open clips, and the golden if they come from a golden; `stack` closes the files.

    `step_ms` is the model's `feature_step_size`, at which sound becomes slices.

    Raises:
        InputError: A source cannot be read.
        UsageError: A lead-in without audio, or a golden in place of features.
        GoldenError: Features in place of a golden.
    """
    if isinstance(source, Mapping):
        _no_lead_in(lead_in, "arrays")
        return tuple(ArrayClip(str(name), np.asarray(array)) for name, array in source.items()), None
    if isinstance(source, ClipFile):
        return _open_file(source.place, lead_in, stack, step_ms, must_be_golden=source.golden)
    paths = [source] if isinstance(source, str | Path) else list(source)
    if len(paths) != 1 or not without_secrets(str(paths[0])).lower().endswith(".npz"):
        return open_folders(paths, lead_in=lead_in, step_ms=step_ms), None
    return _open_file(paths[0], lead_in, stack, step_ms)


def _open_file(
    place: Path | str, lead_in: float, stack: ExitStack, step_ms: int, *, must_be_golden: bool | None = None
) -> tuple[tuple[Clip, ...], Golden | None]:
    _no_lead_in(lead_in, "a feature file")
    archive = stack.enter_context(Archive(archive_file(place)))
    recorded = is_golden(archive)
    if must_be_golden is not None:
        _check_kind(archive.path, must_be_golden, recorded)
    if recorded:
        golden = Golden(archive)
        return golden.clips, golden
    _, noted = noted_features(archive)
    if noted not in (None, step_ms):
        message = f"{archive.path} has slices of {noted} ms, and the model takes slices of {step_ms} ms"
        raise FeatureError(message, hint=f"mww features ... --feature-step-size {step_ms} makes such slices")
    return feature_clips(archive), None


def left_out_of_source(source: ClipSource) -> tuple[str, ...]:
    """The files in the folders of a source that are not clips, in sentences."""
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
    """The `.npz` of a path or URL.

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
