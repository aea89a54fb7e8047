"""`mww doctor`: what this computer can do, and the command that installs or repairs each missing thing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Final, Literal

import click

from harness.boards.file_locks import lease_dir
from harness.boards.labgrid.client import LabgridMissingError, find_client
from harness.cli.output import emit_json, json_option, say
from harness.serial import ports
from harness.targets.machine import MACHINES as BARE_MACHINES
from harness.targets.qemu.machine import MACHINES, QemuMissingError, find_program, version_of
from mww.core.resources import DISTRIBUTION, IMPORT_ROOT, distribution_version, missing_wheel

Status = Literal["ok", "missing", "warn", "fail"]
"""`missing`: an optional feature cannot be used; `warn`: it works but may surprise; `fail`: the base cannot work."""

COMPILERS: Final = ("c++", "g++", "clang++")
_FREE_MB: Final = 200
_ANSWER_SECONDS: Final = 10.0

NAMES: Final = ("mww", "exporter", "harness")
PYTHONS: Final = ((3, 10), (3, 14))
"""The oldest and newest supported version, as `requires-python` in pyproject.toml."""

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
    "packaging",
)

_MARKS = {
    "ok": ("ok     ", "green"),
    "missing": ("missing", "yellow"),
    "warn": ("warn   ", "yellow"),
    "fail": ("FAIL   ", "red"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check; the hint says what repairs it."""

    id: str
    status: Status
    message: str
    hint: str | None = None


def examine() -> tuple[Finding, ...]:
    """Check everything, in the order in which a user would repair it."""
    return (
        *look_at_installation(),
        _compiler(),
        *_build_tools(),
        _cache(),
        _leases(),
        *_serial(),
        *_emulators(),
        *_bare_machines(),
        _labgrid(),
        *_speech(),
    )


def _speech() -> Iterator[Finding]:
    from harness.synth.voices import ENGINES

    for name, engine in ENGINES.items():
        version, missing = engine.version(), engine.missing()
        if version is None:
            yield Finding(f"speech.{name}", "missing", f"to speak in mww synth: {missing.message}", missing.hint)
        else:
            yield Finding(f"speech.{name}", "ok", f"{name} {version}")


def _compiler() -> Finding:
    for name in COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return Finding("compiler", "ok", f"{path}: {_version(path)}")
    if util.find_spec("ziglang") is not None:
        return Finding("compiler", "ok", f"ziglang {metadata.version('ziglang')} stands in for a system compiler")
    hint = "sudo apt-get install g++, or the extra virtual"
    return Finding("compiler", "missing", "no C++ compiler: the virtual board cannot be built", hint)


def _build_tools() -> Iterator[Finding]:
    for name in ("cmake", "ninja"):
        path = shutil.which(name)
        if path is not None:
            yield Finding(name, "ok", f"{path}: {_version(path)}")
        elif util.find_spec(name) is not None:
            yield Finding(name, "ok", f"{name} {metadata.version(name)} of this Python")
        else:
            yield Finding(name, "missing", f"no {name}: the virtual board cannot be built", "the extra virtual")


def _cache() -> Finding:
    from platformdirs import user_cache_path

    folder = user_cache_path("mww-harness")
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        hint = "set XDG_CACHE_HOME to a folder that is writable"
        hint = f"make {parent} writable, or {hint}" if parent.parent != parent else hint
        return Finding("cache", "missing", f"{folder} cannot be written: the virtual board cannot be built", hint)
    free = shutil.disk_usage(parent).free >> 20
    if free < _FREE_MB:
        return Finding("cache", "warn", f"{folder} has {free} MB left", f"the virtual board needs up to {_FREE_MB} MB")
    return Finding("cache", "ok", f"{folder}, {free} MB free")


def _leases() -> Finding:
    folder = lease_dir()
    if not os.access(folder, os.W_OK | os.X_OK):
        hint = "set MWW_LEASE_DIR to another folder, the same for every user of the boards"
        return Finding("leases", "missing", f"{folder} cannot be written: no board can be leased", hint)
    return Finding("leases", "ok", f"leases of boards are in {folder}")


def _serial() -> Iterator[Finding]:
    result = ports.scan()
    if not result:
        yield Finding("ports", "missing", "no serial port on USB", "plug a board in with a data cable")
    access = [ports.access(port.device) for port in result]
    for port, may in zip(result, access, strict=True):
        name = f"{port.device}: {port.product or port.usb_id}, serial number {port.serial or 'none'}"
        yield Finding("ports", "ok" if may.allowed else "missing", name if may.allowed else may.message, may.hint)
    user = ports.current_user()
    if ports.in_serial_group() or (access and all(may.allowed for may in access)):
        yield Finding("serial-access", "ok", f"{user} may open serial ports")
    else:
        message = f"{user} is not in the group that may open serial ports"
        yield Finding("serial-access", "missing", message, ports.permission_hint("dialout"))


def _emulators() -> Iterator[Finding]:
    """Espressif's QEMU, with a result for each program."""
    for machine in {machine.program: machine for machine in MACHINES}.values():
        name = machine.program.removeprefix("qemu-system-")
        try:
            program = find_program(machine)
        except QemuMissingError as error:
            yield Finding(f"qemu.{name}", "missing", f"{error.message}: no --target qemu", error.hint)
        else:
            yield Finding(f"qemu.{name}", "ok", f"{program}: {version_of(program)}")


def _bare_machines() -> Iterator[Finding]:
    """What builds and runs the firmware's machine code without a chip: a result for each instruction set."""
    for machine in BARE_MACHINES:
        missing = machine.missing()
        if missing:
            message = f"no {', '.join(missing)}: no firmware for --target machine:{machine.name}, or nothing to run it"
            yield Finding(f"machine.{machine.name}", "missing", message, machine.apt_line)
        else:
            yield Finding(f"machine.{machine.name}", "ok", f"{machine.compiler} and {machine.program}")


def _labgrid() -> Finding:
    try:
        program = find_client()
    except LabgridMissingError as error:
        return Finding("labgrid", "missing", f"{error.message}: no boards of a lab", error.hint)
    return Finding("labgrid", "ok", f"{program} leases boards of a lab")


def _version(path: str) -> str:
    """The first line that a program prints about its version; empty where it prints nothing."""
    return next(iter(_output(path, "--version").splitlines()), "")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


@dataclass(frozen=True, slots=True)
class Extra:
    """An extra of mww-harness.

    Attributes:
        name: Its name, as pip takes it in brackets.
        purpose: The feature that needs it.
        distributions: The packages that it installs.
    """

    name: str
    purpose: str
    distributions: tuple[str, ...]


EXTRAS: Final = (
    Extra("export", "convert by TensorFlow, and Keras models in memory", ("tensorflow", "keras")),
    Extra("tflm", "run models as the device does", ("tflite-micro",)),
    Extra("virtual", "build the virtual board", ("cmake", "ninja", "ziglang")),
    Extra("tflite-runtime", "run models in tflite-runtime", ("tflite-runtime",)),
    Extra("litert", "run models in LiteRT", ("ai-edge-litert",)),
    Extra("demo", "run mww demo on a published model", ("pymicro-wakeword",)),
    Extra("cluster", "spread clips over Dask and read URLs", ("distributed", "fsspec", "aiohttp")),
    Extra("audio", "read sound that is not 16 kHz mono 16-bit WAV", ("soundfile", "soxr")),
    Extra("listen", "listen to this machine's microphone", ("sounddevice",)),
    Extra("pytest", "test wake words under pytest", ("pytest", "pytest-xdist")),
)


def look_at_installation() -> Iterator[Finding]:
    """Check Python, the base packages, packages that shadow those of mww-harness, and the extras."""
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
    reasons = [reason for name in absent if (reason := missing_wheel(name, extra.name))]
    return Finding(key, "missing", message, "; ".join(reasons) or _pip_line(f"[{extra.name}]"))


def _pip_line(extra: str) -> str:
    """The command that installs an extra: by name where this distribution is installed, else from this checkout."""
    if distribution_version(DISTRIBUTION) is not None:
        return f"{sys.executable} -m pip install '{DISTRIBUTION}{extra}'"
    return f"{sys.executable} -m pip install -e '{IMPORT_ROOT}{extra}'"


def _shadowing() -> Finding:
    """Find other packages with the names of the three roots.

    Earlier ones on the import path break mww-harness; it hides later ones.
    """
    before, after = _others_on_path()
    installed = _others_installed()
    here = [path for path in _modules_in(Path.cwd()) if path not in before + after]
    hint = "rename it, or use a separate environment: mww, exporter and harness belong to mww-harness"
    if before or installed:
        results = [f"{path} is imported instead of mww-harness" for path in before]
        return Finding("shadowing", "fail", "; ".join(results + installed), hint)
    if after or here:
        results = [f"{path} is hidden by mww-harness" for path in after]
        results += [f"{path} is imported instead of mww-harness by `python -m` in this folder" for path in here]
        return Finding("shadowing", "warn", "; ".join(results), hint)
    return Finding("shadowing", "ok", f"mww, exporter and harness come from {IMPORT_ROOT}")


def _others_on_path() -> tuple[list[Path], list[Path]]:
    """Modules with the roots' names on the import path: those before the roots of mww-harness, and those after."""
    folders = list(dict.fromkeys(Path(entry or ".").resolve() for entry in sys.path))
    own = folders.index(IMPORT_ROOT) if IMPORT_ROOT in folders else len(folders)
    before = [path for folder in folders[:own] for path in _modules_in(folder)]
    return before, [path for folder in folders[own:] for path in _modules_in(folder)]


def _modules_in(folder: Path) -> list[Path]:
    if folder == IMPORT_ROOT:
        return []
    candidates = [folder / tail for name in NAMES for tail in (f"{name}/__init__.py", f"{name}.py")]
    return [path for path in candidates if path.is_file()]


def _others_installed() -> list[str]:
    """Other packages with such a module, by the files that they list.

    `importlib.metadata.packages_distributions` makes an object of each of their files, which takes half a second.
    """
    results: dict[str, None] = {}
    for distribution in metadata.distributions():
        modules = (distribution.read_text("top_level.txt") or "").split()
        files = distribution.read_text("RECORD") or distribution.read_text("installed-files.txt") or ""
        for name in NAMES:
            if name in modules or re.search(rf"^(\.\./)*{name}(/|\.py(,|$))", files, re.MULTILINE):
                owner = distribution.metadata["Name"]
                if owner != DISTRIBUTION:
                    results[f"the installed package {owner} also has a module {name}"] = None
    return list(results)


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Show what works on this machine, what is missing, and the command that installs it.

    Exits with 0 when the base works, even if optional features are missing, and with 1 when it does not.
    """
    findings = examine()
    works = all(finding.status != "fail" for finding in findings)
    if as_json:
        emit_json("mww.doctor/1", {"ok": works, "checks": [asdict(finding) for finding in findings]})
        return 0 if works else 1
    for finding in findings:
        _print(finding)
    missing = sum(finding.status == "missing" for finding in findings)
    verdict, colour = ("the base works", "green") if works else ("the base does not work", "red")
    say(verdict, fg=colour, nl=False)
    say(f", {missing} optional features are missing" if missing else ", nothing is missing")
    return 0 if works else 1


def _print(finding: Finding) -> None:
    mark, colour = _MARKS[finding.status]
    say(mark, fg=colour, nl=False)
    say(f"  {finding.id}: {finding.message}")
    if finding.hint:
        say(f"         {finding.hint}")
