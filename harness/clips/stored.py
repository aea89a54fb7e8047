"""Clips of the official trainer's feature folders, and of folders that hold sound, features or both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from harness.clips.clip import BLOCK, Clip, audio_clips
from harness.clips.remote import is_url
from mww.core.errors import FeatureError
from mww.esphome.audio import sound_files
from mww.esphome.contract import FEATURE_STEP_MS, FEATURES
from mww.esphome.feature_folders import TESTING, FeatureFolder, as_int8, feature_folders
from mww.esphome.frontend import Slices

_LOWEST: Final = -128
"""What the front-end's zeros become, which is what it gives for digital silence."""


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A clip of a feature folder, with slices of silence in front."""

    name: str
    folder: FeatureFolder
    index: int
    lead_in: float = 0.0
    step_ms: int = FEATURE_STEP_MS

    def blocks(self) -> Iterator[Slices]:
        """The slices, quantised where they are not yet."""
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
    """The sound files of paths, folders and URLs, and the clips of the trainer's feature folders among them.

    Of a trainer's sets it is what a model is judged by: `testing` and `testing_ambient`, without these `validation` and
    `validation_ambient`.

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
    return not (isinstance(path, str) and is_url(path)) and Path(path).is_dir()


def _stored(path: Path, lead_in: float, step_ms: int) -> list[StoredClip]:
    try:
        places = feature_folders(path, TESTING)
    except OSError:  # audio_clips, which looks at the same files, says why
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
