"""Feature folders as the trainers keep them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt


def write_feature_folder(folder: Path, clips: Sequence[npt.NDArray[np.generic]]) -> None:
    """A folder as the `mmap_ninja` package writes it, with which microWakeWord keeps its features."""

    def array(where: Path, values: npt.NDArray[np.generic]) -> None:
        where.mkdir(parents=True, exist_ok=True)
        (where / "data.ninja").write_bytes(values.tobytes())
        (where / "type.ninja").write_text("numpy")
        (where / "dtype.ninja").write_text(values.dtype.name)
        (where / "order.ninja").write_text("C")
        (where / "shape.ninja").write_bytes(struct.pack(f"<{values.ndim}Q", *values.shape))

    ends = np.cumsum([clip.size for clip in clips])
    array(folder, np.concatenate([clip.ravel() for clip in clips]))
    array(folder / "ends", ends)
    array(folder / "starts", ends - [clip.size for clip in clips])
    array(folder / "shapes", np.array([clip.shape for clip in clips]))
    array(folder / "flattened_shapes", np.array([clip.shape for clip in clips]).ravel())


def write_store(folder: Path, clips: Sequence[npt.NDArray[np.float32]]) -> None:
    """A store of sarpel's trainer."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.array([clip.nbytes for clip in clips], "<i8")
    (folder / "features.data").write_bytes(b"".join(clip.astype("<f4").tobytes() for clip in clips))
    (folder / "features.offsets").write_bytes((np.cumsum(lengths) - lengths).astype("<i8").tobytes())
    (folder / "features.lengths").write_bytes(lengths.tobytes())
    (folder / "labels.data").write_bytes(np.ones(len(clips), "<i4").tobytes())
