"""Espressif's QEMU as a target: the firmware's machine code on an emulated chip.

The arena is measured; inference times are not, because the emulator has no clock of the chip.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.boards.firmware_project import find_image
from harness.targets.device import DeviceTarget, Housing, check_engine
from harness.targets.qemu.machine import MACHINES, Machine, find_machine, find_program, version_of
from harness.targets.qemu.process import QemuProcess
from harness.targets.registry import TargetOptions
from mww.core.errors import ImageError, InputError, LinkError, PortMissingError, QemuError, UsageError
from mww.core.readable import open_regular, reading
from mww.esphome.chips import DEFAULT_CHIP
from mww.images.partition_table import FactoryImage, find_model_partition, read_factory_image

_START_SECONDS: Final = 30.0
_TIMEOUT: Final = 300.0
"""Seconds, ten times a board's: a busy computer makes an emulated chip slow."""
_LOG_LINES: Final = 12
_OWN_LINES: Final = 3

SIZES: Final = tuple(megabytes << 20 for megabytes in (2, 4, 8, 16))
"""Bytes; an image of any other size is refused by QEMU (esp-toolchain-docs, qemu/esp32s3/README.md)."""

_SIZE_BYTE: Final = 3  # of an image's header; its upper four bits are log2 of the megabytes

_KIND: Final = "qemu"
_FLASH: Final = "flash.bin"
_EFUSES: Final = "efuse.bin"


def greet(
    process: QemuProcess, options: TargetOptions, housing: Housing, hint: str, port: str | None = None
) -> DeviceTarget:
    """Open the firmware's port as soon as QEMU listens there.

    `hint` is the remedy where QEMU and the firmware print nothing; `port` replaces QEMU's own port.

    Raises:
        QemuError: It does not boot.
    """
    log: deque[str] = deque(maxlen=_LOG_LINES)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return DeviceTarget(port or process.port, options, housing=housing, timeout=_TIMEOUT, on_log=log.append)
        except PortMissingError as error:  # it does not listen yet, or has ended
            if process.ended or time.monotonic() > deadline:
                raise _failure("QEMU does not start", process, log, hint) from error
        except LinkError as error:
            message = f"the firmware in QEMU does not answer: {error.message}"
            raise _failure(message, process, log, hint) from error
        time.sleep(0.1)


def _failure(message: str, process: QemuProcess, log: Collection[str], hint: str) -> QemuError:
    """The error with QEMU's last output; the end of the boot log, if any, becomes the hint."""
    own = " | ".join(process.log()[-_OWN_LINES:])
    if log:
        hint = "the boot log ends: " + " | ".join(line.strip() for line in log)
    return QemuError(f"{message}: {own}" if own else message, hint=hint)


def merge_flash(factory: bytes, image: FactoryImage) -> bytes:
    """The whole flash; `image` is the result of `read_factory_image` for `factory`.

    Raises:
        ImageError: The firmware has no model partition, or needs more flash than QEMU has.
    """
    partition = find_model_partition(image.partitions)
    if partition is None:
        raise ImageError(
            "the firmware has no model partition",
            hint="mww firmware makes a project for a firmware with this partition",
        )
    stated = 1 << 20 << (factory[image.parts[0].offset + _SIZE_BYTE] >> 4)
    needed = max(stated, len(factory), *(part.offset + part.size for part in image.partitions))
    size = next((size for size in SIZES if size >= needed), None)
    if size is None:
        raise ImageError(
            f"the firmware needs {needed >> 20} MB of flash, and QEMU has up to {SIZES[-1] >> 20} MB",
            hint="build a smaller image: a smaller model partition, or fewer components",
        )
    flash = bytearray(factory.ljust(size, b"\xff"))
    flash[partition.offset : partition.offset + partition.size] = b"\xff" * partition.size
    return bytes(flash)


def open_target(name: str, options: TargetOptions) -> DeviceTarget:
    """Boot `qemu:FACTORY.bin`, or `qemu` with the firmware that `MWW_QEMU_FIRMWARE` names.

    Raises:
        UsageError: No firmware is given, an option has no meaning for QEMU, or QEMU does not have the chip.
        QemuMissingError: QEMU is not installed for the firmware's chip.
        ImageError: It is not a firmware, or it is for another chip.
        QemuError: It does not boot.
    """
    check_engine(options)
    if options.baud is not None:
        raise UsageError("an emulated chip has no baud rate", hint="leave --baud out")
    if not options.flash:
        raise UsageError("a new emulated chip has no model", hint="leave --no-flash out")
    firmware = name.partition(":")[2] or os.environ.get("MWW_QEMU_FIRMWARE", "")
    if not firmware:
        machine = find_machine(options.chip or DEFAULT_CHIP)
        find_program(machine)
        hint = f"mww firmware {machine.board} --output DIR, build it, then --target {_KIND}:FACTORY.bin"
        raise UsageError("QEMU has no firmware to run", hint=hint)
    return _boot(Path(firmware), options)


def _boot(firmware: Path, options: TargetOptions) -> DeviceTarget:
    factory = _read(firmware)
    image = read_factory_image(factory)
    machine = _machine_for(image.chip_id, options.chip)
    program = find_program(machine)
    version = version_of(program)
    housing = Housing(kind=_KIND, versions=((_KIND, version),) if version else (), has_clock=False)
    files = {_FLASH: merge_flash(factory, image), _EFUSES: machine.facts.efuse_file()}
    hint = f"check that it is Espressif's QEMU: python $IDF_PATH/tools/idf_tools.py install {machine.package}"

    def command(folder: Path, port: int) -> list[str]:
        return machine.command(program, folder / _FLASH, folder / _EFUSES, port)

    with ExitStack() as stack:
        process = stack.enter_context(QemuProcess(files, command))
        target = greet(process, replace(options, baud=None), housing, hint)
        target.own(stack.pop_all())
        return target


def _read(path: Path) -> bytes:
    path = find_image(path)
    with reading(path, hint="give a factory image"), open_regular(path) as stream:
        content = stream.read(SIZES[-1] + 1)
    if len(content) > SIZES[-1]:
        raise InputError(f"{path} is larger than QEMU's largest flash", hint="give a factory image")
    return content


def _machine_for(image_id: int, chip: str | None) -> Machine:
    """The machine of a firmware, which must be for the requested chip."""
    machine = next((machine for machine in MACHINES if machine.image_id == image_id), None)
    if machine is None:
        names = ", ".join(machine.chip for machine in MACHINES)
        raise UsageError("Espressif's QEMU does not have the chip of this firmware", hint=f"chips: {names}")
    if chip not in (None, machine.chip):
        find_machine(str(chip))
        raise UsageError(f"the firmware is for an {machine.chip}, not {chip}", hint=f"--chip {machine.chip}")
    return machine
