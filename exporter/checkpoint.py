"""Trained weights by role, from and to the checkpoints that trainers leave."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from exporter.errors import MissingPackageError
from exporter.layouts import official_names, official_paths

if TYPE_CHECKING:
    from types import ModuleType

    from exporter.architecture import Architecture, Weights


def weights_file(architecture: Architecture, weights: Weights) -> bytes:
    """The weights as a `.weights.h5` file in the official trainer's layout."""
    h5py = _h5py()
    names = official_names(architecture)
    paths = official_paths(architecture)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for role, path in paths.items():
            group = file.create_group(path)
            group.attrs["name"] = names[role]
            for number, array in enumerate(weights[role]):
                group.create_dataset(str(number), data=array)
    return content.getvalue()


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise MissingPackageError(
            "h5py is needed for checkpoints and is not installed", hint="pip install 'mww-harness[export]'"
        ) from error
    module: ModuleType = h5py
    return module
