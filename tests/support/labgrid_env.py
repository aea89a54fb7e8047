"""The real labgrid, in an environment of its own: its pyserial takes the place of the one that we use.

Made once in the user's cache under a file lock. Its exporter needs Debian's ser2net.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import platformdirs
import pytest
from filelock import FileLock

VERSION: Final = "26.0.1"
_TIMEOUT: Final = 900


@cache
def labgrid_programs() -> Path:
    """The folder with labgrid's programs; skips the test where they cannot be had."""
    if shutil.which("ser2net") is None and not Path("/usr/sbin/ser2net").exists():
        pytest.skip("ser2net is not installed: apt-get install ser2net")
    if sys.platform != "linux":
        pytest.skip("labgrid needs Linux")
    series = f"py{sys.version_info.major}.{sys.version_info.minor}"
    folder = platformdirs.user_cache_path("mww-harness", ensure_exists=True) / f"labgrid-{VERSION}-{series}"
    with FileLock(f"{folder}.lock"):
        if not (folder / ".complete").exists():
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            installed = _run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", f"labgrid=={VERSION}"])
            if installed.returncode:
                pytest.skip(f"labgrid cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
            (folder / ".complete").touch()
    return folder / "bin"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=_TIMEOUT, env=environment)
