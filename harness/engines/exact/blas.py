"""numpy's matrix products: the choice of OpenBLAS's kernels, and a check that they are exact.

OpenBLAS reads its environment once, when numpy is imported, so this module must not import numpy before.
"""

from __future__ import annotations

import os
import platform
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

from mww.core.errors import EngineError

CPU_INFO: Final = Path("/proc/cpuinfo")
_FIRST: Final = 8192
"""Bytes of /proc/cpuinfo that describe the first processor."""
_KERNELS: Final = (
    ("SkylakeX", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("Haswell", {"avx2", "fma"}),
)
"""OpenBLAS's names, and the instructions that they need."""


def set_up_blas() -> None:
    """Before numpy is imported: choose kernels, and one thread.

    Threads slow small products down, and starting them takes half of numpy's import.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    choose_kernels()


def choose_kernels() -> None:
    """Before numpy is imported: choose kernels for the processor, unless the environment already does.

    OpenBLAS takes its slowest kernels, a quarter as fast, for an Intel processor that is newer than itself: numpy 1.26
    does for those since Sapphire Rapids.
    """
    if "numpy" not in sys.modules and "OPENBLAS_CORETYPE" not in os.environ and (name := _kernels()) is not None:
        os.environ["OPENBLAS_CORETYPE"] = name


def _kernels() -> str | None:
    """The kernels for an Intel processor, by its instructions; None where OpenBLAS chooses."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return None
    try:
        with CPU_INFO.open("rb") as file:
            lines = file.read(_FIRST).decode("ascii", "replace").splitlines()
    except OSError:
        return None
    facts = {name.strip(): value for name, _, value in (line.partition(":") for line in lines)}
    if facts.get("vendor_id", "").strip() != "GenuineIntel":
        return None
    instructions = set(facts.get("flags", "").split())
    return next((name for name, needed in _KERNELS if needed <= instructions), None)


@lru_cache(maxsize=1)
def check_products() -> None:
    """Multiply two matrices whose product is known, with sums up to the largest that the engine takes in float32.

    Raises:
        EngineError: They are not exact: the BLAS adds with less precision than float32.
    """
    import numpy as np

    inputs = np.full((32, 1040), 127, np.int64)
    inputs[:, ::7] = np.arange(32)[:, None]
    weights = np.full((1040, 24), 127, np.int64)
    weights[::5] = np.arange(24)
    for dtype in (np.float32, np.float64):
        if not np.array_equal(inputs.astype(dtype) @ weights.astype(dtype), inputs @ weights):
            raise EngineError(
                "numpy's matrix products are not exact on this computer",
                hint="install another numpy, or use --engine tflm",
            )
