"""The float arrays of an HDF5 file, by path, from a file that nobody vouches for.

Links out of the file are not followed, and no array is read before its size was looked at.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import count
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from exporter.network.architecture import MAX_WEIGHTS, FloatArray
from mww.core.errors import CheckpointError, MissingPackageError
from mww.core.readable import open_regular

if TYPE_CHECKING:
    from types import ModuleType

_MAX_DEPTH: Final = 16
_MAX_ENTRIES: Final = 20_000
_FAULTS: Final = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, AttributeError, MemoryError)
"""What h5py raises over files that are broken in one way or another."""


def h5py_module() -> ModuleType:
    """Import h5py.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        message = "h5py is needed for checkpoints and is not installed"
        raise MissingPackageError(message, hint="pip install h5py") from error
    module: ModuleType = h5py
    return module


def read_arrays(source: Path | bytes, name: str) -> Mapping[str, FloatArray]:
    """Read every float array.

    Args:
        source: The file, or its content.
        name: What to call it in errors.

    Raises:
        CheckpointError: It is not an HDF5 file, is broken, or holds more than any network that can be exported.
    """
    h5py = h5py_module()
    arrays: dict[str, FloatArray] = {}
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as stream,
            h5py.File(stream, "r") as file,
        ):
            _collect(h5py, file, "", arrays, count())
    except _FAULTS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "was it copied whole?"
        raise CheckpointError(f"{name} is not a readable checkpoint: {reason[:200]}", hint=hint) from error
    return arrays


def _collect(h5py: ModuleType, group: Any, path: str, arrays: dict[str, FloatArray], seen: count[int]) -> None:
    """Read what lies in the file itself; `seen` counts entries: links can make any number out of a few."""
    if path.count("/") > _MAX_DEPTH:
        raise ValueError("groups are nested too deeply")
    for key in group:
        if next(seen) > _MAX_ENTRIES:
            raise ValueError("it holds more entries than any network for an ESP32")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            continue
        entry = group[key]
        inner = f"{path}{key}"
        if isinstance(entry, h5py.Dataset):
            if entry.dtype.kind == "f" and not entry.external and not entry.is_virtual:
                _read(entry, inner, arrays)
        elif isinstance(entry, h5py.Group):
            _collect(h5py, entry, f"{inner}/", arrays, seen)


def _read(entry: Any, path: str, arrays: dict[str, FloatArray]) -> None:
    held = sum(array.size for array in arrays.values())
    if prod(entry.shape) + held > MAX_WEIGHTS * 4:  # optimisers keep copies
        raise ValueError("it holds more numbers than any network for an ESP32")
    arrays[path] = np.asarray(entry[()], np.float32)
