"""TensorFlow Lite Micro as a library that somebody has built, by what the environment says of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOLDERS = "MWW_TFLM_INCLUDE_DIRS"


def library_definitions(target: str = "") -> tuple[str, ...]:
    """What cmake is given to build against the library for a target: this machine, `32` bits of it, or a bare machine.

    The test is skipped where the environment names no library for it.
    """
    name = "MWW_TFLM_LIBRARY" + (f"_{target.upper()}" if target else "")
    library, folders = os.environ.get(name, ""), os.environ.get(_FOLDERS, "")
    if not library or not folders:
        pytest.skip(f"{name} and {_FOLDERS} name no TensorFlow Lite Micro; see docs/machine-code.md")
    return f"MWW_TFLM_LIBRARY={Path(library).resolve()}", f"{_FOLDERS}={folders}"


def include_folders() -> list[str]:
    """The folders of the library's headers."""
    library_definitions()
    return os.environ[_FOLDERS].split(";")
