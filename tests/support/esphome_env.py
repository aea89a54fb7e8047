"""The real ESPHome, in an environment of its own: it pins packages that would clash with ours.

Made once in the user's cache under a file lock. MWW_ESPHOME_PYTHON names a Python that already has ESPHome;
MWW_ESPHOME_VERSION another release than the one that `mww.esphome.contract` was read from, or `latest`.
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
from mww.esphome import contract

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
