"""What a benchmark was measured on: the sort of machine and the versions, nothing that says whose it is."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mww import __version__
from mww.core.versions import distribution_version

_PACKAGES: Final = (
    "numpy",
    "tflite-micro",
    "pymicro-features",
    "pymicro-wakeword",
    "tensorflow",
    "keras",
    "h5py",
    "flatbuffers",
    "esptool",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and with what.

    Attributes:
        cpu: The processor's model.
        cores: That this process may use.
        memory_gb: Of the machine.
        system: Kernel and architecture.
        python: Version of the interpreter.
        versions: Of this project and of the packages that have a part in a figure, as far as they are installed.
    """

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    versions: tuple[tuple[str, str], ...]


def describe_machine() -> Machine:
    """Look at this one."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        system=f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=(
            ("mww-harness", __version__),
            *((name, version) for name in _PACKAGES if (version := distribution_version(name))),
        ),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()
