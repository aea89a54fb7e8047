"""The clips that are streamed through a model: int8 slices from sound files, feature files or arrays, block by block.

A clip is read when it is streamed and never held whole, so that hours of audio need no more memory than minutes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from harness.clips.feature_cache import features_of
from harness.clips.npz import Archive
from harness.clips.remote import is_url, remote_clips
from harness.clips.sound import SoundMeter
from mww.core.errors import AudioError, FeatureError, UsageError
from mww.core.readable import Readable, is_folder, is_there
from mww.esphome.audio import left_out, read_audio, sound_files
from mww.esphome.contract import FEATURE_STEP_MS, FEATURES, MAX_LEAD_IN
from mww.esphome.frontend import Slices, iterate_features, iterate_sound, quantize_features

BLOCK: Final = 12_000
"""Slices a block: two minutes, half a megabyte."""


_NOTE: Final = re.compile(r"mww features: lead-in (\d{1,5}\.\d{1,20}) s, slices of (\d{1,3}) ms")


class Clip(Protocol):
    """A sequence of slices to stream."""

    @property
    def name(self) -> str:
        """Its name in results."""
        ...

    @property
    def lead_in(self) -> float:
        """Seconds of silence in front of the clip's sound; times count from the end of the silence."""
        ...

    def blocks(self) -> Iterator[Slices]:
        """The slices, in order, block by block.

        Raises:
            MwwError: They cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class AudioClip:
    """A sound file, with silence in front; the front-end makes a slice every `step_ms`."""

    name: str
    path: Readable
    lead_in: float = 0.0
    step_ms: int = FEATURE_STEP_MS

    def blocks(self, meter: SoundMeter | None = None) -> Iterator[Slices]:
        """The slices from the device's front-end; `meter` also receives the sound."""
        if isinstance(self.path, Path):
            return map(quantize_features, self._features(meter))
        samples = self._samples(meter)
        return map(quantize_features, iterate_features(samples, lead_in=self.lead_in, step_ms=self.step_ms))

    def sound(self, meter: SoundMeter | None = None) -> Iterator[tuple[bytes, Slices]]:
        """The samples with the silence in front, and the slices that they complete."""
        for samples, features in iterate_sound(self._samples(meter), lead_in=self.lead_in, step_ms=self.step_ms):
            yield samples, quantize_features(features)

    def _features(self, meter: SoundMeter | None) -> Iterator[npt.NDArray[np.uint16]]:
        converted = () if meter is None else (meter.convert,)
        return features_of(lambda: read_audio(self.path, *converted), self.lead_in, self.step_ms, meter)

    def _samples(self, meter: SoundMeter | None = None) -> Iterator[bytes]:
        if meter is None:
            yield from read_audio(self.path)
            return
        for block in read_audio(self.path, meter.convert):
            meter.hear(block)
            yield block


@dataclass(frozen=True, slots=True)
class ArrayClip:
    """Slices in memory: int8 as the model sees them, or the front-end's uint16."""

    name: str
    features: npt.NDArray[np.generic]
    lead_in: float = 0.0

    def blocks(self) -> Iterator[Slices]:
        """The slices, quantised where necessary."""
        check_clip(self.name, self.features.dtype, self.features.shape)
        for start in range(0, len(self.features), BLOCK):
            yield _as_int8(self.features[start : start + BLOCK])


@dataclass(frozen=True, slots=True)
class FeatureClip:
    """An array of a feature file or golden."""

    name: str
    archive: Archive
    member: str
    lead_in: float = 0.0

    def blocks(self) -> Iterator[Slices]:
        """The slices, quantised where they are not yet."""
        info = self.archive.info(self.member)
        check_clip(f"{self.archive.path}: {self.name}", info.dtype, info.shape)
        return map(_as_int8, self.archive.blocks(self.member, BLOCK))


def audio_clips(
    paths: Iterable[Path | str], *, lead_in: float = 0.0, step_ms: int = FEATURE_STEP_MS
) -> tuple[AudioClip, ...]:
    """The sound files of paths, folders and URLs, each once, named by its path as given.

    Raises:
        AudioError: A path does not exist, or a folder has no sound file.
        UsageError: `lead_in` is not a valid time.
    """
    if not (math.isfinite(lead_in) and lead_in >= 0):
        raise UsageError(f"a lead-in of {lead_in} seconds", hint="0 or more")
    result = dict.fromkeys(file for path in paths for file in _sound_files(path))
    return tuple(AudioClip(name, file, lead_in, step_ms) for name, file in zip(_names(result), result, strict=True))


def feature_note(lead_in: float, step_ms: int) -> str:
    """The note in a feature file about all its clips: seconds of silence in front, and milliseconds of a slice."""
    return f"mww features: lead-in {float(lead_in)!r} s, slices of {step_ms} ms"


def noted_features(archive: Archive) -> tuple[float, int | None]:
    """The lead-in and the milliseconds of a slice by the file's note; 0 and None without one."""
    noted = _NOTE.fullmatch(archive.note)
    return (min(float(noted[1]), MAX_LEAD_IN), int(noted[2])) if noted else (0.0, None)


def feature_clips(archive: Archive) -> tuple[FeatureClip, ...]:
    """Every array of a feature file, in its order, each checked to be a clip.

    Raises:
        FeatureError: It does not exist, or an array is not a clip.
    """
    if not archive.names:
        raise FeatureError(f"{archive.path} holds no arrays", hint="mww features writes one for each clip")
    for name in archive.names:
        info = archive.info(name)
        check_clip(f"{archive.path}: {name}", info.dtype, info.shape)
    lead_in, _ = noted_features(archive)
    return tuple(FeatureClip(name, archive, name, lead_in) for name in archive.names)


def _names(files: Iterable[Readable]) -> Iterator[str]:
    """Names of clips: the file, with a number where URLs differ only in parts that are not shown."""
    times: dict[str, int] = {}
    for file in files:
        name = str(file)
        times[name] = times.get(name, 0) + 1
        yield name if times[name] == 1 else f"{name}#{times[name]}"


def _sound_files(path: Path | str) -> Sequence[Readable]:
    if isinstance(path, str) and is_url(path):
        return remote_clips(path)
    path = Path(path)
    if not is_folder(path):
        if not is_there(path):
            raise AudioError(
                f"{path} does not exist", hint="check the path; relative paths start at the working directory"
            )
        return [path]
    files = sound_files(path)
    if not files:
        hint = left_out(path) or "put clips there: WAV, FLAC, OGG, MP3 or another format that libsndfile reads"
        raise AudioError(f"{path} has no sound file", hint=hint)
    return files


def check_clip(where: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
    """Refuse an array that is not int8 or uint16 `[slices, 40]`.

    Raises:
        FeatureError: It is another array; the message names `where`.
    """
    if len(shape) != 2 or shape[1] != FEATURES:
        hint = "one array [slices, 40] a clip, as mww features writes it"
        raise FeatureError(f"{where} has the shape {list(shape)}, not [slices, {FEATURES}]", hint=hint)
    if dtype not in (np.int8, np.uint16):
        hint = "int8 as the model sees it, or the front-end's uint16; mww features writes both"
        raise FeatureError(f"{where} is {dtype}, not int8 or uint16", hint=hint)


def _as_int8(features: npt.NDArray[np.generic]) -> Slices:
    return np.asarray(features, np.int8) if features.dtype == np.int8 else quantize_features(features)


def frames_of(clips: Iterable[Clip], stride: int) -> npt.NDArray[np.int8]:
    """The whole frames `[n, stride, 40]` of clips, one clip after the other."""
    results = [np.empty((0, stride, FEATURES), np.int8)]
    for clip in clips:
        slices = np.concatenate([np.empty((0, FEATURES), np.int8), *clip.blocks()])
        results.append(slices[: len(slices) - len(slices) % stride].reshape(-1, stride, FEATURES))
    return np.concatenate(results)
