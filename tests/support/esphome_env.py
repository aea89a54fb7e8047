"""The real ESPHome, in an environment of its own: it pins packages that would clash with ours.

Made once in the user's cache under a file lock. MWW_ESPHOME_PYTHON names a Python that already has ESPHome;
MWW_ESPHOME_VERSION another release than the one that `exporter.contract` was read from, or `latest`.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import platformdirs
import pytest
from filelock import FileLock

from exporter import contract

_TIMEOUT: Final = 900
_VERSION_SCRIPT: Final = "from esphome.const import __version__; print(__version__)"


@cache
def esphome_python() -> Path:
    """A Python that has ESPHome; skips the test where that cannot be had."""
    if named := os.environ.get("MWW_ESPHOME_PYTHON"):
        return Path(named)
    if sys.version_info < (3, 11):
        pytest.skip("ESPHome needs Python 3.11")
    wanted = os.environ.get("MWW_ESPHOME_VERSION", contract.ESPHOME_VERSION)
    series = f"py{sys.version_info.major}.{sys.version_info.minor}"
    folder = platformdirs.user_cache_path("mww-harness", ensure_exists=True) / f"esphome-{wanted}-{series}"
    python = folder / "bin" / "python"
    with FileLock(f"{folder}.lock"):
        if wanted == "latest" or not (folder / ".complete").exists():
            _install(folder, python, "esphome" if wanted == "latest" else f"esphome=={wanted}")
    return python


@cache
def esphome_version() -> str:
    """The release that `esphome_python` has."""
    return _run([str(esphome_python()), "-c", _VERSION_SCRIPT]).stdout.strip()


def _install(folder: Path, python: Path, requirement: str) -> None:
    _run([sys.executable, "-m", "venv", str(folder)])
    installed = _run([str(python), "-m", "pip", "install", "--quiet", "--upgrade", requirement], check=False)
    if installed.returncode:
        pytest.skip(f"{requirement} cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
    (folder / ".complete").touch()


def _run(command: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=_TIMEOUT, env=environment)
