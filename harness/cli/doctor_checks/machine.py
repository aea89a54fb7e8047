"""What this machine can do beside Python: compilers, ports, folders, QEMU. Prints nothing, changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata, util
from typing import Final

from harness.boards.file_locks import lease_dir
from harness.boards.labgrid.client import LabgridMissingError, find_client
from harness.cli.doctor_checks.finding import Finding
from harness.cli.doctor_checks.installation import look_at_installation
from harness.serial import ports
from harness.targets.machine import MACHINES as BARE_MACHINES
from harness.targets.qemu.machine import MACHINES, QemuMissingError, find_program, version_of

COMPILERS: Final = ("c++", "g++", "clang++")
_FREE_MB: Final = 200
_ANSWER_SECONDS: Final = 10.0


def examine() -> tuple[Finding, ...]:
    """Look at everything, in the order in which one would repair it."""
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
    )


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
        hint = f"make {parent} writable, or let XDG_CACHE_HOME name a folder that is"
        return Finding("cache", "missing", f"{folder} cannot be written: the virtual board cannot be built", hint)
    free = shutil.disk_usage(parent).free >> 20
    if free < _FREE_MB:
        return Finding("cache", "warn", f"{folder} has {free} MB left", f"the virtual board takes up to {_FREE_MB} MB")
    return Finding("cache", "ok", f"{folder}, {free} MB free")


def _leases() -> Finding:
    folder = lease_dir()
    if not os.access(folder, os.W_OK | os.X_OK):
        hint = "let MWW_LEASE_DIR name another folder, the same for every user of the boards"
        return Finding("leases", "missing", f"{folder} cannot be written: no board can be leased", hint)
    return Finding("leases", "ok", f"leases of boards are in {folder}")


def _serial() -> Iterator[Finding]:
    result = ports.scan()
    if not result:
        yield Finding("ports", "missing", "no serial port on USB", "plug a board in, by a data cable")
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
    """Espressif's QEMU, one finding a program."""
    for machine in {machine.program: machine for machine in MACHINES}.values():
        name = machine.program.removeprefix("qemu-system-")
        try:
            program = find_program(machine)
        except QemuMissingError as error:
            yield Finding(f"qemu.{name}", "missing", f"{error.message}: no --target qemu", error.hint)
        else:
            yield Finding(f"qemu.{name}", "ok", f"{program}: {version_of(program)}")


def _bare_machines() -> Iterator[Finding]:
    """What makes and runs the firmware's machine code without a chip, one finding an instruction set."""
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
    return Finding("labgrid", "ok", f"boards of a lab are asked for with {program}")


def _version(path: str) -> str:
    """The first line of what a program says of its version; empty where it says nothing."""
    return next(iter(_output(path, "--version").splitlines()), "")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
