"""Checkpoints that nobody vouches for: nothing outside the file is read, and nothing in it takes for ever."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest

from exporter.checkpoint.hdf5 import read_hdf5
from mww.core.errors import CheckpointError

h5py = pytest.importorskip("h5py")


def test_arrays_of_other_files_are_left_out(tmp_path: Path) -> None:
    values = np.arange(10, dtype=np.float32)
    (tmp_path / "raw").write_bytes(values.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = values
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "secret", (10,))
    with h5py.File(tmp_path / "checkpoint.h5", "w") as file:
        file["own"] = values
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", (10,), "f4", external=[(str(tmp_path / "raw"), 0, 40)])
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
        file["soft"] = h5py.SoftLink("/own")
    assert list(read_hdf5(tmp_path / "checkpoint.h5", "it").arrays) == ["own"]


def test_the_layers_of_another_file_are_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        layer = file.create_group("inside/conv2d")
        layer["kernel:0"] = np.ones(3, np.float32)
        file["inside"].attrs["layer_names"] = ["conv2d"]
        file["model_weights"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/inside")
    assert set(read_hdf5(tmp_path / "weights.h5", "it").arrays) == {"inside/conv2d/kernel:0"}


def test_thousands_of_names_that_are_one_long_text_are_refused_before_they_are_read(tmp_path: Path) -> None:
    text, names = 100_000, 3_000
    with h5py.File(tmp_path / "it.h5", "w") as file:
        group = file.create_group("model_weights")
        group.attrs.create("layer_names", np.array(["y" * text] + ["z"] * names, object), dtype=h5py.string_dtype())
    content = bytearray((tmp_path / "it.h5").read_bytes())
    first = content.find(struct.pack("<I", text))  # a length, the heap's place, a number in it
    content[first : first + 16 * (names + 1)] = content[first : first + 16] * (names + 1)
    (tmp_path / "it.h5").write_bytes(content)
    for source in (tmp_path / "it.h5", bytes(content)):
        with pytest.raises(CheckpointError, match="layer_names is longer than any model's"):
            read_hdf5(source, "it")


def test_a_few_groups_under_many_names_do_not_take_for_ever(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "braid.h5", "w") as file:
        groups = [file, *(file.create_group(f"group{number}") for number in range(14))]
        for outer, inner in itertools.pairwise(groups):
            for number in range(10):
                outer[f"strand{number}"] = inner
    with pytest.raises(CheckpointError, match="more entries than any network"):
        read_hdf5(tmp_path / "braid.h5", "it")
