"""Builds the executables of `firmware/host` that only tests need."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.virtual import hostlib
from mww.core.resources import firmware_dir


def build_host(build: Path, target: str, *definitions: str) -> Path:
    """Build one target, with the compiler that CXX names or the system's; the test fails with the compiler's output."""
    commands = (
        hostlib.configure_command(firmware_dir() / "host", build, *definitions),
        hostlib.build_command(build, target),
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / target
