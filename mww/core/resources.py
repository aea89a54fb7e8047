"""Installed resources: versions of packages, firmware sources, fixtures and published models.

In a wheel they are package data; in a checkout they are at its top.
"""

from __future__ import annotations

import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from mww.core.errors import MissingPackageError

DISTRIBUTION: Final = "mww-harness"
"""The name of this product on PyPI."""
NOT_INSTALLED: Final = "not installed"

_PACKAGE = Path(__file__).resolve().parents[1]

IMPORT_ROOT = _PACKAGE.parent
"""The folder that the three roots are imported from: a checkout, or site-packages."""


def distribution_version(distribution: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def missing_wheel(distribution: str, extra: str) -> str | None:
    """Why pip cannot install a package of an extra here; None where it can, as far as is known.

    The markers of pyproject.toml, in the installed metadata, say where the package has wheels.
    """
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return None
    of_extra = f' and extra == "{extra}"'
    for requirement in map(Requirement, lines):
        marker, text = requirement.marker, str(requirement.marker)
        if requirement.name != distribution or marker is None or not text.endswith(of_extra):
            continue
        if not marker.evaluate({"extra": extra}):
            return f"{distribution} has no wheel here, only where {text.removesuffix(of_extra).strip('()')}"
    return None


def _directory(name: str) -> Path:
    packaged = _PACKAGE / "data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def firmware_dir() -> Path:
    """The folder with `components`, `boards` and `host`; read-only, since it may be in a system's site-packages."""
    return _directory("firmware")


def fixtures_dir() -> Path:
    """The folder with clips, calibration features and goldens; read-only."""
    return _directory("fixtures")


def published_models() -> Path:
    """The folder with the published models and their manifests, in a package of ESPHome's makers.

    Raises:
        MissingPackageError: It is not installed.
    """
    package = find_spec("pymicro_wakeword")
    if package is None or not package.submodule_search_locations:
        hint = "pip install 'mww-harness[demo]'"
        raise MissingPackageError("the published models come with pymicro-wakeword, which is missing", hint=hint)
    return Path(next(iter(package.submodule_search_locations))) / "models"


def read_toml(path: Path) -> dict[str, Any]:
    """A data file of the package, in TOML."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    return document
