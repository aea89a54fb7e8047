"""The engines, their packages, and why pip cannot install a package here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata, util
from typing import Final

from mww.core.errors import MissingPackageError, UsageError
from mww.core.readable import shown
from mww.core.resources import DISTRIBUTION, distribution_version, missing_wheel

DEFAULT_ENGINE: Final = "tflm"
"""TFLite Micro: the reference for all others, and the default where it has a wheel."""
EXACT_ENGINE: Final = "exact"
"""The same outputs from numpy, on every machine."""
EXACT_VERSION: Final = "1"
"""To be raised whenever an output of the exact engine could change."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An interpreter package.

    Attributes:
        name: Its name for `--engine`, and the extra of mww-harness that installs it.
        distribution: Its name on PyPI.
        module: The module to import.
        tolerance: How far its outputs may be from the device's runtime, in steps of the uint8 output.
        version: Where it is a part of mww-harness: its own version.
    """

    name: str
    distribution: str
    module: str
    tolerance: int
    version: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it is the device's own runtime, or proven to give the same bytes: then nothing is compared."""
        return self.tolerance == 0


ENGINES: Final = {
    spec.name: spec
    for spec in (
        EngineSpec("tflm", "tflite-micro", "tflite_micro", 0),
        EngineSpec(EXACT_ENGINE, "mww-exact", "numpy", 0, version=EXACT_VERSION),
        EngineSpec("tflite-runtime", "tflite-runtime", "tflite_runtime", 1),
        EngineSpec("litert", "ai-edge-litert", "ai_edge_litert", 1),
    )
}


def engine_spec(name: str) -> EngineSpec:
    """The engine with that name.

    Raises:
        UsageError: No engine has that name.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown engine {shown(name)}", hint=f"engines: {', '.join(ENGINES)}")
    return ENGINES[name]


def is_installed(name: str) -> bool:
    """Whether an engine's package is installed, without importing it."""
    return util.find_spec(engine_spec(name).module) is not None


def default_engine() -> str:
    """The default engine: TFLite Micro where it is installed, else the exact engine."""
    return DEFAULT_ENGINE if is_installed(DEFAULT_ENGINE) else EXACT_ENGINE


def installed_version(spec: EngineSpec) -> str:
    """The installed version of an engine's package, without importing it.

    Raises:
        MissingPackageError: It is not installed, or has no wheel for this Python or machine; the hint says what to do.
    """
    if spec.version is not None:
        return spec.version
    if util.find_spec(spec.module) is None:
        raise MissingPackageError(f"engine {spec.name} needs the package {spec.distribution}", hint=_hint(spec))
    _check_numpy(spec)
    return distribution_version(spec.distribution) or "unknown"


def _hint(spec: EngineSpec) -> str:
    reason = missing_wheel(spec.distribution, spec.name)
    if reason is None:
        return f"pip install '{DISTRIBUTION}[{spec.name}]'"
    return f"{reason}; --engine {EXACT_ENGINE} gives the device's outputs everywhere"


def _check_numpy(spec: EngineSpec) -> None:
    numpy = metadata.version("numpy")
    if spec.name == "tflite-runtime" and int(numpy.split(".")[0]) > 1:
        message = f"engine {spec.name} needs numpy below 2, and {numpy} is installed"
        raise MissingPackageError(message, hint="pip install 'numpy<2' in a separate environment")
