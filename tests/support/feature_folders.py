"""Feature folders as the official trainer keeps them."""

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
