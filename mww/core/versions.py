"""Versions of what is installed."""

from __future__ import annotations

from importlib import metadata
from typing import Final

NOT_INSTALLED: Final = "not installed"


def distribution_version(distribution: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
