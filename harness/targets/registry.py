"""Which targets there are, by the names that users type, and how one is opened. Nothing else picks a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from harness.boards.labgrid.address import in_lab
from mww.core.errors import UsageError

if TYPE_CHECKING:
    from harness.targets.base import Target

EMULATOR: Final = "emulator"
VIRTUAL: Final = "virtual"
QEMU: Final = "qemu"
"""Also `qemu:FACTORY.bin`, the firmware to run."""


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What may be said about a target; a target refuses what has no meaning for it.

    Attributes:
        engine: The emulator's interpreter; None for the default.
        chip: The chip; None for the default, or for whatever a board says that it is.
        baud: Of a serial port; None for the default.
        flash: Whether a board may be given the model when it has another.
        faults: What goes wrong on a virtual board that is started; see `harness.virtual.faults`.
    """

    engine: str | None = None
    chip: str | None = None
    baud: int | None = None
    flash: bool = True
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """Where a kind of target is implemented, and whether several can be open at once.

    Attributes:
        module: It has `open_target(name: str, options: TargetOptions) -> Target`.
        several: Whether each of `--jobs` can have one of its own.
    """

    module: str
    several: bool


_NAMED: Final = {
    EMULATOR: TargetSpec("harness.targets.emulator", several=True),
    VIRTUAL: TargetSpec("harness.targets.virtual", several=True),
    QEMU: TargetSpec("harness.targets.qemu.target", several=True),
}
_PORT: Final = TargetSpec("harness.targets.device", several=False)


def is_qemu(name: str) -> bool:
    """Whether a name is QEMU's, with or without the firmware."""
    return name == QEMU or name.startswith(f"{QEMU}:")


def target_spec(name: str) -> TargetSpec:
    """The kind of target that a name stands for: one of the named ones, or a pyserial URL or device path.

    Raises:
        UsageError: It is neither.
    """
    if name in _NAMED:
        return _NAMED[name]
    if is_qemu(name):
        return _NAMED[QEMU]
    if "/" in name or in_lab(name) or name.upper().startswith("COM"):
        return _PORT
    hint = f"{', '.join(_NAMED)}, or a port such as /dev/ttyUSB0, rfc2217://host:4000 or labgrid:board=esp32s3"
    raise UsageError(f"there is no target {name!r}", hint=hint)


def open_target(name: str, options: TargetOptions) -> Target:
    """Open a target.

    Raises:
        UsageError: There is none of that name, or an option has no meaning for it.
        MwwError: It cannot be opened.
    """
    check_faults(name, options)
    opener: Callable[[str, TargetOptions], Target] = import_module(target_spec(name).module).open_target
    return opener(name, options)


def check_faults(name: str, options: TargetOptions) -> None:
    """Refuse faults for any target but a virtual board that is started for it.

    Raises:
        UsageError: The target cannot have them.
    """
    if options.faults and name != VIRTUAL:
        hint = "only --target virtual takes faults; a board of mww virtual is given its own when it starts"
        raise UsageError(f"--fault for the target {name}", hint=hint)
