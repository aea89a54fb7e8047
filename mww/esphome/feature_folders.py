"""Feature sets of trainers: folders of front-end features, with their parts.

The official trainer's set has folders such as `training`, `testing` and `testing_ambient`, and in each the folders that
the package `mmap_ninja` writes: one flat array on disk, with the start and end of each clip. sarpel's has `train`,
`val` and `test`, each one store: one flat array, with the offset and length of each clip in bytes. Nothing is read
before it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mww.core.errors import FeatureError
from mww.core.readable import files_below, is_file, open_regular
from mww.esphome.contract import FEATURE_FLOAT_SCALE, FEATURES
from mww.esphome.frontend import Slices, quantize_features

TRAINING: Final = (("training", "train"),)
"""The parts for calibration."""
TESTING: Final = (("testing", "testing_ambient", "test"), ("validation", "validation_ambient", "val"))
"""The parts for judging a model: the first that a set has."""

_DATA: Final = "data.ninja"
_STORE: Final = "features.data"
"""Of sarpel's trainer, float32; the index is beside it."""
_INNER: Final = ("starts", "ends", "shapes", "flattened_shapes")
_PARTS: Final = tuple(part for group in (*TRAINING, *TESTING) for part in group)
_WHOLE: Final = ("ii", "iu", "ui", "uu")
_MAX_NAME: Final = 64  # bytes of a file that holds a type's name
_LARGEST: Final = 1000.0  # of features as floats; the front-end gives up to 26
_TYPES: Final = ("uint16", "int8", "float16", "float32", "float64", "int32", "int64", "uint32", "uint64")


def feature_folders(path: Path, parts: Sequence[Sequence[str]]) -> list[Path]:
    """The folders of features of a path: itself, or those below it in the first of `parts` that is there.

    Folders that lie in no part of a set are always among them; without any of `parts`, all are.

    Raises:
        OSError: The path is the whole file system, or as large.
    """
    if is_file(path / _DATA) or is_file(path / _STORE):
        return [path]
    part_of = {
        file.parent: next((name for name in file.parent.relative_to(path).parts if name in _PARTS), "")
        for file in files_below(path)
        if file.name == _STORE or (file.name == _DATA and file.parent.name not in _INNER)
    }
    names: Sequence[str] = next((group for group in parts if set(group) & set(part_of.values())), _PARTS)
    return sorted(folder for folder, part in part_of.items() if part in ("", *names))


class FeatureFolder:
    """A folder of features, of either trainer."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: A file of it cannot be opened.
            ValueError: It is damaged.
        """
        self.path = path
        self._is_store = is_file(path / _STORE)
        if self._is_store:
            self._data = _mapped(path / _STORE, "<f4")
            starts, lengths = (_mapped(path / _STORE.replace("data", part), "<i8") for part in ("offsets", "lengths"))
            count = min(len(starts), len(lengths))  # left by a writer that was stopped
            self._starts, self._ends = starts[:count], lengths[:count]
            return
        self._data = _read_ninja(path)
        self._starts, self._ends = (_read_ninja(path / part) for part in ("starts", "ends"))
        if len(self._starts) != len(self._ends) or self._starts.dtype.kind + self._ends.dtype.kind not in _WHOLE:
            raise ValueError("starts and ends of its clips do not belong together")

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._starts)

    def clip(self, index: int) -> npt.NDArray[np.generic]:
        """A clip `[slices, 40]`, as it lies on disk.

        Raises:
            ValueError: It lies outside the data, or has no whole slices.
        """
        start, end = int(self._starts[index]), int(self._ends[index])
        if self._is_store:  # bytes, and a length
            if (start | end) % self._data.itemsize:
                raise ValueError(f"it has a clip of {end} bytes from byte {start}, which are no whole values")
            start, end = start // self._data.itemsize, (start + end) // self._data.itemsize
        if not 0 <= start <= end <= len(self._data) or (end - start) % FEATURES:
            raise ValueError(f"it has a clip from {start} to {end} of {len(self._data)} values")
        return self._data[start:end].reshape(-1, FEATURES)


def as_int8(features: npt.NDArray[np.generic], where: str) -> Slices:
    """Features as the trainer stores them, as the model sees them: uint16 of the front-end, floats 0..26, or int8.

    Raises:
        FeatureError: Another type, or floats on another scale.
    """
    if features.dtype == np.int8:
        return np.asarray(features, np.int8)
    if features.dtype == np.uint16:
        return quantize_features(features)
    if features.dtype.kind != "f":
        raise FeatureError(
            f"{where} is {features.dtype}, a type without a known scale", hint="generate the features again as uint16"
        )
    values = np.asarray(features, np.float64)
    if not np.isfinite(values).all() or (values.size and not 0 <= values.min() <= values.max() <= _LARGEST):
        raise FeatureError(
            f"{where} goes beyond 0 to {_LARGEST:g}", hint="front-end features as floats go from 0 to about 26"
        )
    return quantize_features(np.rint(values * FEATURE_FLOAT_SCALE).astype(np.uint16))


def _read_ninja(folder: Path) -> npt.NDArray[np.generic]:
    with open_regular(folder / "dtype.ninja") as file:
        name = file.read(_MAX_NAME).decode("ascii").strip()
    if name not in _TYPES:
        raise ValueError(f"data of type {name[:20]!r}")
    return _mapped(folder / _DATA, name)


def _mapped(path: Path, dtype: str) -> npt.NDArray[np.generic]:
    with open_regular(path) as file:
        return np.memmap(file, dtype=dtype, mode="r")
