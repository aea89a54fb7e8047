"""The real ESPHome, in an environment of its own: it pins packages that would clash with ours.

Made once in the user's cache under a file lock. MWW_ESPHOME_PYTHON names a Python that already has ESPHome;
MWW_ESPHOME_VERSION names a release, or `latest`; otherwise it is the newest known one that this Python runs.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from harness.matrix.esphome import esphome_python as harness_python
from mww.core.errors import EsphomeError
from mww.esphome.releases import newest_release

_TIMEOUT: Final = 900
_VERSION_SCRIPT: Final = "from esphome.const import __version__; print(__version__)"


@cache
def esphome_python() -> Path:
    """A Python that has ESPHome; skips the test where that cannot be had."""
    if named := os.environ.get("MWW_ESPHOME_PYTHON"):
        return Path(named)
    wanted = os.environ.get("MWW_ESPHOME_VERSION", newest_release(sys.version_info[:2]))
    try:
        return harness_python(wanted)
    except EsphomeError as error:
        pytest.skip(error.message)


@cache
def esphome_version() -> str:
    """The release that `esphome_python` has."""
    return _run([str(esphome_python()), "-c", _VERSION_SCRIPT]).stdout.strip()


def _run(command: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=_TIMEOUT, env=environment)
