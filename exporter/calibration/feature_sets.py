"""Features for calibration, from `.npz` files, sound, and the trainers' feature folders.

Each clip becomes a float32 array [slices, 40] on the scale 0..26 that models are trained on;
`exporter.calibration.sets` judges them.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from exporter.network.architecture import FloatArray
from mww.core.errors import CalibrationError
from mww.core.file_kinds import NPZ, ZIP, kind_of
from mww.core.npy import read_npy_header
from mww.core.readable import is_folder, is_there, open_regular, reading
from mww.esphome.audio import sound_files
from mww.esphome.contract import FEATURE_FLOAT_SCALE, FEATURE_STEP_MS, FEATURES, INPUT_SCALE, INPUT_ZERO_POINT
from mww.esphome.feature_folders import TRAINING, FeatureFolder, feature_folders
from mww.esphome.frontend import wav_to_features

MAX_CLIPS: Final = 4000
"""The most clips from a folder; from more, a fixed choice."""

_MAX_BYTES: Final = 2**31
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE: Final = (
    *(OSError, ValueError, EOFError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, RuntimeError),  # RuntimeError: an encrypted member
)
_SEED: Final = 0
_RAW: Final = np.dtype(np.uint16)
_HINT: Final = "give front-end features as uint16, or floats 0..26, in [slices, 40] a clip"


def load_clips(path: Path, *, step_ms: int = FEATURE_STEP_MS) -> list[FloatArray]:
    """Read all clips of an `.npz` file, a folder of sound files, or a trainer's folder of features.

    Sound becomes a slice every `step_ms`.

    Raises:
        CalibrationError: There is nothing to read, or it has another shape or type.
        AudioError: A clip cannot be read.
    """
    if not is_there(path):
        raise CalibrationError(f"{path} does not exist", hint="--calibration takes an .npz file or a folder")
    kind = kind_of(path)
    if kind is not None and kind not in (NPZ, ZIP):
        raise CalibrationError(f"{path} does not hold features but is {kind.name}", hint=kind.way_on("features"))
    if not is_folder(path):
        return _load_npz(path)
    with reading(path, hint="give the folder that holds the features alone", error=CalibrationError):
        mmaps = feature_folders(path, TRAINING)
    if mmaps:
        return _load_mmaps(path, mmaps)
    clips = sound_files(path)
    if not clips:
        raise CalibrationError(
            f"{path} holds neither sound files nor a trainer's features",
            hint="give a folder with .wav files, with *_mmap folders, or with a store (features.data)",
        )
    chosen = (clips[index] for index in _choose(len(clips)))
    return [_as_floats(wav_to_features(clip, step_ms=step_ms), clip.name) for clip in chosen]


def clips_from_array(features: npt.ArrayLike) -> list[FloatArray]:
    """Take an array [clips, slices, 40], or a sequence of arrays [slices, 40].

    Raises:
        CalibrationError: Another shape or type.
    """
    entries = features if isinstance(features, (list, tuple)) else np.asarray(features)
    if isinstance(entries, np.ndarray) and entries.ndim != 3:
        raise CalibrationError(f"the features have shape {list(entries.shape)}", hint="give [clips, slices, 40]")
    return [_as_floats(np.asarray(entry), f"clip {index}") for index, entry in enumerate(entries)]


def _choose(count: int) -> list[int]:
    if count <= MAX_CLIPS:
        return list(range(count))
    chosen: list[int] = sorted(np.random.default_rng(_SEED).choice(count, MAX_CLIPS, replace=False).tolist())
    return chosen


def _as_floats(clip: npt.NDArray[np.generic], name: str) -> FloatArray:
    """Scale a clip to 0..26 by its type: uint16 is the front-end's, int8 the device's, floats are unchanged."""
    if clip.ndim != 2 or clip.shape[1] != FEATURES:
        raise CalibrationError(f"{name} has shape {list(clip.shape)}, not [slices, {FEATURES}]", hint=_HINT)
    if clip.dtype == _RAW:
        return clip.astype(np.float32) / np.float32(FEATURE_FLOAT_SCALE)
    if clip.dtype == np.int8:
        return (clip.astype(np.float32) - np.float32(INPUT_ZERO_POINT)) * np.float32(INPUT_SCALE)
    if not np.issubdtype(clip.dtype, np.floating):
        raise CalibrationError(f"{name} is {clip.dtype}, a type without a known scale", hint=_HINT)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused as such
        return clip.astype(np.float32)


def _load_npz(path: Path) -> list[FloatArray]:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                raise CalibrationError(
                    f"{path} unpacks to more than {_MAX_BYTES >> 30} GiB",
                    hint="give fewer clips: some hundred are enough for calibration",
                )
            if any(entry.compress_type not in _METHODS for entry in entries.values()):
                raise CalibrationError(f"{path} uses a compression that numpy never uses", hint=_HINT)
            other = next((entry.filename for entry in archive.infolist() if not entry.filename.endswith(".npy")), None)
            if other is not None:
                hint = "mww features writes such files; a golden of mww record is another kind"
                raise CalibrationError(f"{path} does not hold features alone, but also {other[:60]}", hint=hint)
            if "features" in entries:
                return clips_from_array(_member(archive, entries["features"]))
            return [_as_floats(_member(archive, entry), f"{path.name}: {name}") for name, entry in entries.items()]
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or error
        raise CalibrationError(f"{path} is not a readable .npz file: {reason}", hint=_HINT) from error


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> npt.NDArray[np.generic]:
    with archive.open(entry) as stream:
        header = read_npy_header(stream)
        if header.size != entry.file_size - stream.tell():
            raise ValueError(f"{entry.filename[:60]} has another size than its header gives")
        order: Literal["F", "C"] = "F" if header.fortran_order else "C"
        return np.frombuffer(stream.read(), header.dtype).reshape(header.shape, order=order)


def _load_mmaps(path: Path, folders: list[Path]) -> list[FloatArray]:
    """Read clips of a trainer's folders of features."""
    try:
        stores = [FeatureFolder(folder) for folder in folders]
        firsts = np.cumsum([0, *map(len, stores)])
        clips: list[FloatArray] = []
        left = _MAX_BYTES // 4
        for index in _choose(int(firsts[-1])):
            at = int(np.searchsorted(firsts, index, side="right")) - 1
            clip = stores[at].clip(index - int(firsts[at]))
            left -= clip.size
            if left < 0:
                raise ValueError(f"its clips are larger than {_MAX_BYTES >> 30} GiB as floats")
            clips.append(_as_floats(np.array(clip), f"{path.name}: clip {index}"))
    except (OSError, ValueError, TypeError) as error:
        raise CalibrationError(
            f"{path} is not a readable folder of features: {getattr(error, 'strerror', None) or error}",
            hint="was the folder copied whole? the trainer's feature generation writes it again",
        ) from error
    return clips
