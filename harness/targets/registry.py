"""The targets by the names that users type, and what is known about each before it is opened.

A new target is an entry of `TARGETS` and the module that it names. Code elsewhere asks an entry for its target's
capabilities, never for its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from harness.boards.labgrid.address import in_lab
from mww.core.errors import UsageError
from mww.core.progress import Progress, no_progress
from mww.core.readable import shown
from mww.esphome.chips import DEFAULT_CHIP

if TYPE_CHECKING:
    from harness.targets.base import Target, TensorSource
    from mww.esphome.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """The options of a target; a target refuses options that have no meaning for it.

    Attributes:
        engine: The emulator's interpreter, or None for the default.
        chip: The chip; None for the default, or for the chip that a board reports.
        baud: Baud rate of a serial port; None for the default.
        flash: Whether a board may be given the model when it has another.
        faults: What goes wrong on a virtual board that is started; see `harness.virtual.faults`.
        timeout: Seconds from a request to a board to its answer; None for the default of the kind of board.
        misalignment: Bytes past a multiple of 16 at which a board opens a copy of the model; 0 where it is stored.
        machine_image: The program of a bare machine; see `harness.targets.machine`.
        purpose: What a lease of a board says about its holder.
    """

    engine: str | None = None
    chip: str | None = None
    baud: int | None = None
    flash: bool = True
    faults: tuple[str, ...] = ()
    timeout: float | None = None
    misalignment: int = 0
    machine_image: Path | None = None
    purpose: str = "mww run"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """A kind of target, and the facts about every target of that kind.

    Attributes:
        kind: Its name: in `run.json`, and on the command line but for a device, which is named by its port.
        module: It has `open_target(name: str, options: TargetOptions) -> Target`.
        place: Where the model runs, in words; `{chip}` stands for the chip.
        several: Whether several can be open at once, one for each of `--jobs`.
        takes_argument: Whether `KIND:ARGUMENT` names it too.
        takes_engine: Whether the user chooses its interpreter (`--engine`).
        takes_faults: Whether faults can be planted (`--fault`).
        default_chip: The chip where the user names none; None where the target itself says which it has.
        boards: Where pytest gets a board of it: `own` starts one for each worker, `leased` takes a board that no other
            test has. None where nothing is shared between tests.
        hears: Whether its firmware has an audio front-end of its own (`--from audio`).
        has_link: Whether there is firmware, and a link, between the frames and the model.
        kernels: Who wrote the kernels: `engine` (the interpreter), `host` (TFLite Micro built for this computer), or
            `chip` (as a device has them).
        measures_arena: Whether its arena is measured by the 32-bit firmware.
        is_hardware: Whether it is a real chip, so that its results hold for all chips with the same versions.
        firmware: A module with `factory_image_for(chip: str) -> bytes`, where the project has firmware to flash.
        bisects_unasked: Whether a run may load changed copies of the model there to find a wrong operator.
    """

    kind: str
    module: str
    place: str
    several: bool = True
    takes_argument: bool = False
    takes_engine: bool = False
    takes_faults: bool = False
    default_chip: str | None = None
    boards: Literal["own", "leased"] | None = None
    hears: bool = True
    has_link: bool = True
    kernels: Literal["engine", "host", "chip"] = "chip"
    measures_arena: bool = False
    is_hardware: bool = False
    firmware: str | None = None
    bisects_unasked: bool = False


TARGETS: Final = (
    TargetSpec(
        kind="emulator",
        module="harness.targets.emulator",
        place="on this computer, arena for {chip}",
        takes_engine=True,
        default_chip=DEFAULT_CHIP,
        hears=False,
        has_link=False,
        kernels="engine",
    ),
    TargetSpec(
        kind="virtual",
        module="harness.targets.virtual",
        place="on a virtual {chip}",
        takes_faults=True,
        default_chip=DEFAULT_CHIP,
        boards="own",
        firmware="harness.virtual.factory",
        kernels="host",
        bisects_unasked=True,
    ),
    TargetSpec(
        kind="qemu",
        module="harness.targets.qemu.target",
        place="on QEMU's {chip}",
        takes_argument=True,
        measures_arena=True,
    ),
    TargetSpec(
        kind="machine",
        module="harness.targets.machine",
        place="as {chip} machine code in QEMU, which is not silicon",
        takes_argument=True,
        takes_faults=True,
        hears=False,
        measures_arena=True,
    ),
    TargetSpec(
        kind="device",
        module="harness.targets.device",
        place="on a real {chip}",
        several=False,
        boards="leased",
        measures_arena=True,
        is_hardware=True,
    ),
)
DEFAULT_TARGET: Final = TARGETS[0].kind
_KINDS: Final = {spec.kind: spec for spec in TARGETS}
_PORT: Final = _KINDS["device"]
_NAMED: Final = {kind: spec for kind, spec in _KINDS.items() if spec is not _PORT}
_UNKNOWN: Final = TargetSpec(kind="unknown", module="", place="on {chip}")
TARGET_NAMES: Final = ", ".join(_NAMED)
"""The values of `--target` besides a port."""


def target_spec(name: str) -> TargetSpec:
    """The kind of target for a name: a kind with or without its argument, or a port.

    Raises:
        UsageError: It is neither.
    """
    kind, colon, _ = name.partition(":")
    spec = _NAMED.get(kind)
    if spec is not None and (not colon or spec.takes_argument):
        return spec
    if "/" in name or in_lab(name) or name.upper().startswith("COM"):
        return _PORT
    hint = f"{TARGET_NAMES}, or a port such as /dev/ttyUSB0, rfc2217://host:4000 or labgrid:board=esp32s3; "
    hint += "mww boards list shows the ports of an inventory's boards"
    raise UsageError(f"unknown target {shown(name)}", hint=hint)


def spec_of_kind(kind: str) -> TargetSpec:
    """The facts about a target whose kind is in a result; a result of a later version may have another kind."""
    return _KINDS.get(kind, _UNKNOWN)


def open_target(name: str, options: TargetOptions) -> Target:
    """Open a target.

    Raises:
        UsageError: No target has that name, or an option has no meaning for it.
        MwwError: It cannot be opened.
    """
    spec = target_spec(name)
    if options.faults and not spec.takes_faults:
        hint = "--target virtual and machine:NAME accept faults; a board of mww virtual gets its faults when it starts"
        raise UsageError(f"--fault for the target {name}", hint=hint)
    if options.misalignment and not spec.has_link:
        raise UsageError(
            f"--misalignment for the target {name}", hint="only a board can open a model in this way: --target PORT"
        )
    opener: Callable[[str, TargetOptions], Target] = import_module(spec.module).open_target
    return opener(name, options)


def firmware_of(name: str) -> Callable[[str], bytes] | None:
    """The function that makes a chip's factory image; None where the target has no firmware of this project."""
    spec = _KINDS.get(name)
    if spec is None or spec.firmware is None:
        return None
    make: Callable[[str], bytes] = import_module(spec.firmware).factory_image_for
    return make


@contextmanager
def open_tensors(
    name: str, options: TargetOptions, model: Model, progress: Progress = no_progress
) -> Iterator[TensorSource]:
    """Open a target to read the inner tensors of a model; a board's own model is restored at the end.

    Raises:
        UsageError: No target has that name, an option has no meaning for it, or its inner tensors cannot be read.
        MwwError: It cannot be opened.
    """
    with open_target(name, replace(options, purpose="mww bisect")) as target:
        source = target.tensors(model, progress)
        if source is None:
            raise UsageError(
                f"the inner tensors of the target {name} cannot be read", hint=f"--target {TARGET_NAMES}, or a port"
            )
        with source:
            yield source
