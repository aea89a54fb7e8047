"""Where the firmware sources and fixtures are: in the wheel as package data, in a checkout at its top level."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _directory(name: str) -> Path:
    packaged = _PACKAGE / "data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def firmware_dir() -> Path:
    """The folder with `components`, `boards` and `host`; read-only, since it may be in a system's site-packages."""
    return _directory("firmware")


def fixtures_dir() -> Path:
    """The folder with clips, calibration features and goldens; read-only."""
    return _directory("fixtures")
