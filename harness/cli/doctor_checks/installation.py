"""How mww-harness is installed in this Python: base packages, extras, and what else calls itself `exporter`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from harness.cli.doctor_checks.finding import Finding
from mww.core.resources import IMPORT_ROOT
from mww.core.versions import distribution_version

DISTRIBUTION: Final = "mww-harness"
NAMES: Final = ("mww", "exporter", "harness")
PYTHONS: Final = ((3, 10), (3, 14))
"""Oldest and newest supported version; pyproject.toml's requires-python."""

BASE: Final = (
    "numpy",
    "click",
    "rich",
    "PyYAML",
    "jinja2",
    "cobs",
    "pyserial",
    "esptool",
    "platformdirs",
    "filelock",
    "pymicro-features",
    "flatbuffers",
    "h5py",
)


@dataclass(frozen=True, slots=True)
class Extra:
    """An extra of mww-harness.

    Attributes:
        name: As pip takes it in brackets.
        purpose: What it makes possible.
        distributions: What it installs.
        newest_python: The last minor version of Python 3 with wheels, None without an upper limit.
        linux: Machines that it has wheels for, on Linux alone; empty without such a limit.
    """

    name: str
    purpose: str
    distributions: tuple[str, ...]
    newest_python: int | None = None
    linux: tuple[str, ...] = ()


EXTRAS: Final = (
    Extra("export", "convert by TensorFlow, and Keras models in memory", ("tensorflow", "keras"), newest_python=13),
    Extra("tflm", "run models as the device does", ("tflite-micro",), linux=("x86_64",)),
    Extra("virtual", "build the virtual board", ("cmake", "ninja", "ziglang")),
    Extra(
        "tflite-runtime",
        "run models in tflite-runtime",
        ("tflite-runtime",),
        newest_python=11,
        linux=("x86_64", "aarch64", "armv7l"),
    ),
    Extra("litert", "run models in LiteRT", ("ai-edge-litert",)),
    Extra("demo", "run mww demo on a published model", ("pymicro-wakeword",)),
    Extra("cluster", "spread clips over Dask and read URLs", ("distributed", "fsspec", "aiohttp")),
    Extra("audio", "read sound that is not 16 kHz mono 16-bit WAV", ("soundfile", "soxr")),
    Extra("listen", "listen to this machine's microphone", ("sounddevice",)),
    Extra("pytest", "test wake words under pytest", ("pytest", "pytest-xdist")),
)


def look_at_installation() -> Iterator[Finding]:
    """Look at Python, the base packages, what shadows our packages, and the extras."""
    yield _python()
    yield _base()
    yield _shadowing()
    for extra in EXTRAS:
        yield _extra(extra)


def _python() -> Finding:
    oldest, newest = PYTHONS
    here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if not oldest <= sys.version_info[:2] <= newest:
        hint = f"use Python {'.'.join(map(str, oldest))} to {'.'.join(map(str, newest))}"
        return Finding("python", "fail", f"{here} is not supported", hint)
    return Finding("python", "ok", here)


def _base() -> Finding:
    absent = [name for name in BASE if distribution_version(name) is None]
    if absent:
        return Finding("base", "fail", f"not installed: {', '.join(absent)}", _pip_line(""))
    version = distribution_version(DISTRIBUTION)
    return Finding("base", "ok", f"{DISTRIBUTION} {version or 'from a checkout'} with all {len(BASE)} base packages")


def _extra(extra: Extra) -> Finding:
    versions = {name: distribution_version(name) for name in extra.distributions}
    absent = [name for name, version in versions.items() if version is None]
    key = f"extra.{extra.name}"
    if not absent:
        return Finding(key, "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))
    message = f"to {extra.purpose}: {', '.join(absent)} not installed"
    return Finding(key, "missing", message, _unobtainable(extra) or _pip_line(f"[{extra.name}]"))


def _unobtainable(extra: Extra) -> str | None:
    """Why no wheel of the extra fits this Python or machine; None where one does."""
    names = ", ".join(extra.distributions)
    if extra.newest_python is not None and sys.version_info[:2] > (3, extra.newest_python):
        return f"{names} has no wheel for Python 3.{sys.version_info.minor}; 3.{extra.newest_python} is the newest"
    if extra.linux and (sys.platform != "linux" or platform.machine() not in extra.linux):
        return f"{names} has no wheel for {platform.system()} {platform.machine()}, only for Linux {extra.linux[0]}"
    return None


def _pip_line(extra: str) -> str:
    """What installs an extra: by name where this distribution is installed, else from this checkout."""
    if distribution_version(DISTRIBUTION) is not None:
        return f"{sys.executable} -m pip install '{DISTRIBUTION}{extra}'"
    return f"{sys.executable} -m pip install -e '{IMPORT_ROOT}{extra}'"


def _shadowing() -> Finding:
    """Find other packages of our two generic names: those found before ours break us, the others surprise."""
    before, after = _others_on_path()
    installed = list(_others_installed())
    here = [path for path in _modules_in(Path.cwd()) if path not in before + after]
    hint = "rename it, or use an environment of its own: mww, exporter and harness belong to mww-harness"
    if before or installed:
        results = [f"{path} is imported in place of mww-harness" for path in before]
        return Finding("shadowing", "fail", "; ".join(results + installed), hint)
    if after or here:
        results = [f"{path} is hidden by mww-harness" for path in after]
        results += [f"{path} is imported in place of mww-harness by `python -m` in this folder" for path in here]
        return Finding("shadowing", "warn", "; ".join(results), hint)
    return Finding("shadowing", "ok", f"mww, exporter and harness come from {IMPORT_ROOT}")


def _others_on_path() -> tuple[list[Path], list[Path]]:
    """Modules of our names on the import path: those before ours, and those after."""
    folders = list(dict.fromkeys(Path(entry or ".").resolve() for entry in sys.path))
    own = folders.index(IMPORT_ROOT) if IMPORT_ROOT in folders else len(folders)
    before = [path for folder in folders[:own] for path in _modules_in(folder)]
    return before, [path for folder in folders[own:] for path in _modules_in(folder)]


def _modules_in(folder: Path) -> list[Path]:
    if folder == IMPORT_ROOT:
        return []
    candidates = [folder / tail for name in NAMES for tail in (f"{name}/__init__.py", f"{name}.py")]
    return [path for path in candidates if path.is_file()]


def _others_installed() -> Iterator[str]:
    owners = metadata.packages_distributions()
    for name in NAMES:
        for owner in sorted(set(owners.get(name, [])) - {DISTRIBUTION}):
            yield f"the installed package {owner} has a module {name}, too"
