"""The float arrays of an untrusted HDF5 file, by path.

Links out of the file are not followed, and an array's size is checked before it is read. Keras 2 wrote `.h5` files with
another layout than `.weights.h5`: their arrays get the paths of a `.weights.h5`.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from exporter.checkpoint.layouts import KERAS_ORDER
from exporter.network.architecture import MAX_WEIGHTS, FloatArray
from mww.core.errors import CheckpointError, MissingPackageError
from mww.core.readable import open_regular

if TYPE_CHECKING:
    from types import ModuleType

_MAX_DEPTH: Final = 16
_SIZE: Final = 8  # bytes of a size in the file
_MAX_ENTRIES: Final = 5_000
_FAULTS: Final = (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, AttributeError, MemoryError)
"""What h5py raises for damaged files."""


_LEGACY_GROUP: Final = "model_weights"
_NUMBER: Final = re.compile(r"_\d{1,4}$")
_INNER: Final = {"stream": "cell/", "sub_spectral_normalization": "batch_norm/"}
_MAX_TEXT: Final = 8 * 1024 * 1024
_MAX_FILE: Final = 256 * 1024 * 1024

_HEAP: Final = b"GCOL"
_HEAP_HEADER, _OBJECT_HEADER = struct.Struct("<4sB3xQ"), struct.Struct("<HH4xQ")
"""Of a global heap collection, and of each object in it: HDF5 file format specification 3.0, III.E."""


@dataclass(frozen=True, slots=True)
class Hdf5:
    """The content of a Keras file: arrays by the paths of a `.weights.h5`, and the model's JSON, if it exists."""

    arrays: Mapping[str, FloatArray]
    config: str | None = None


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


def read_hdf5(source: Path | bytes, name: str) -> Hdf5:
    """Read every float array.

    Args:
        source: The file, or its content.
        name: Its name in errors.

    Raises:
        CheckpointError: It is not an HDF5 file, is damaged, or holds more than any network that can be exported.
    """
    h5py = h5py_module()
    arrays: dict[str, FloatArray] = {}
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as stream,
            h5py.File(stream, "r") as file,
        ):
            if stream.seek(0, io.SEEK_END) > _MAX_FILE:
                raise ValueError("it is larger than any network for an ESP32")
            _collect(h5py, file, "", arrays, count())
            return _legacy(h5py, file, arrays, stream) or Hdf5(arrays)
    except _FAULTS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "the copy may be incomplete"
        raise CheckpointError(f"{name} is not a readable checkpoint: {reason[:200]}", hint=hint) from error


def _legacy(h5py: ModuleType, file: Any, arrays: Mapping[str, FloatArray], stream: BinaryIO) -> Hdf5 | None:
    """The weights of a file with Keras 2's layout; None for another layout."""
    is_whole_model = isinstance(file.get(_LEGACY_GROUP, getlink=True), h5py.HardLink)
    prefix = f"{_LEGACY_GROUP}/" if is_whole_model else ""
    group = file[_LEGACY_GROUP] if prefix else file
    if not any(name.startswith("layer_names") for name in group.attrs):
        return None
    if file.id.get_create_plist().get_sizes()[1] != _SIZE:
        raise ValueError("its sizes are not of 64 bits")
    longest = _longest_text(stream)
    layers = list(_texts(group, "layer_names", longest))
    if not layers:
        return None
    config = "".join(_texts(file, "model_config", longest)) or None
    return Hdf5(dict(_as_weights_file(layers, {k.removeprefix(prefix): v for k, v in arrays.items()})), config)


def _longest_text(stream: BinaryIO) -> int:
    """The bytes of the largest text of variable length that any attribute of a file can refer to.

    HDF5 keeps such texts in global heaps. An attribute of a few bytes may refer to the same text thousands of times.
    """
    if isinstance(stream, io.BytesIO):
        return _largest_object(stream.getvalue())
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _largest_object(content)


def _largest_object(content: bytes | mmap.mmap) -> int:
    largest, heap = 0, content.find(_HEAP)
    while 0 <= heap <= len(content) - _HEAP_HEADER.size:
        at, end = heap + _HEAP_HEADER.size, min(heap + _HEAP_HEADER.unpack_from(content, heap)[2], len(content))
        while at + _OBJECT_HEADER.size <= end:
            number, _, size = _OBJECT_HEADER.unpack_from(content, at)
            if number == 0:  # the free space, which is the rest
                break
            largest = max(largest, size)
            at += _OBJECT_HEADER.size + -(-size // 8) * 8
        heap = content.find(_HEAP, heap + 1)
    return largest


def _texts(group: Any, name: str, longest: int) -> Iterator[str]:
    """The texts of an attribute; Keras splits many texts over several numbered attributes."""
    keys = [name] if name in group.attrs else [f"{name}{number}" for number in range(len(group.attrs))]
    for key in keys:
        if key not in group.attrs:
            return
        attribute = group.attrs.get_id(key)
        texts = prod(attribute.shape) if attribute.dtype.kind == "O" else 0
        if attribute.get_storage_size() + texts * longest > _MAX_TEXT:
            raise ValueError(f"{name} is longer than any model's")
        value = group.attrs[key]
        for text in [value] if isinstance(value, (str, bytes)) else value:
            yield text.decode("utf-8") if isinstance(text, bytes) else str(text)


def _as_weights_file(layers: Iterable[str], arrays: Mapping[str, FloatArray]) -> Iterator[tuple[str, FloatArray]]:
    """Layers of a class in order, numbered as in a `.weights.h5`."""
    by_layer: dict[str, dict[str, FloatArray]] = {}
    for path, array in arrays.items():
        by_layer.setdefault(path.partition("/")[0], {})[path.rpartition("/")[2].partition(":")[0]] = array
    numbers: Counter[str] = Counter()
    for layer in layers:
        kind = _NUMBER.sub("", layer)
        folder = f"layers/{kind}_{numbers[kind]}" if numbers[kind] else f"layers/{kind}"
        numbers[kind] += 1
        parts = by_layer.get(layer, {})
        for place, part in enumerate(sorted(parts, key=lambda part: (*KERAS_ORDER, part).index(part))):
            yield f"{folder}/{_INNER.get(kind, '')}vars/{place}", parts[part]


def _collect(h5py: ModuleType, group: Any, path: str, arrays: dict[str, FloatArray], seen: count[int]) -> None:
    """Read objects of the file itself; `seen` counts entries, since links can multiply a few."""
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
