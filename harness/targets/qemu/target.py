"""Espressif's QEMU as a target: the firmware's machine code on an emulated chip, its arena measured, its time not."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from harness.boards.firmware_project import find_image
from harness.link.model_table import ModelRecord
from harness.link.session import Timing
from harness.targets.base import ArenaUse, Inference, TargetInfo
from harness.targets.device import DeviceTarget, check_engine
from harness.targets.qemu.flash_image import SIZES, merge_flash
from harness.targets.qemu.machine import MACHINES, Machine, find_machine, find_program, version_of
from harness.targets.qemu.process import QemuProcess
from harness.targets.registry import QEMU, TargetOptions
from mww.core.errors import InputError, LinkError, PortMissingError, QemuError, UsageError
from mww.esphome.chips import DEFAULT_CHIP
from mww.esphome.model import Model
from mww.images.factory_image import read_factory_image

if TYPE_CHECKING:
    from typing_extensions import Self

_START_SECONDS: Final = 30.0
_BOOT: Final = Timing(hello=60.0, silence=20.0, stall=60.0)
"""An emulated chip boots in seconds, and slower the busier the computer is."""
_LOG_LINES: Final = 12
_OWN_LINES: Final = 3


class QemuTarget:
    """A `DeviceTarget` together with its emulator; the first model is in the flash, later ones come over the link."""

    def __init__(self, firmware: Path, options: TargetOptions) -> None:
        """Read the firmware, a factory image; QEMU starts when it is first needed.

        Raises:
            UsageError: An option has no meaning for QEMU, or QEMU has no such chip.
            QemuMissingError: There is no QEMU for the firmware's chip.
            ImageError: It is not firmware, or for another chip.
        """
        self._factory = _read(firmware)
        self._image = read_factory_image(self._factory)
        self._machine = _machine_for(self._image.chip_id, options.chip)
        self._program = find_program(self._machine)
        self._version = version_of(self._program)
        self._options = replace(options, baud=None)
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._process: QemuProcess | None = None
        self._device: DeviceTarget | None = None
        self._failed: QemuError | None = None

    def info(self) -> TargetInfo:
        """What the firmware says of itself, and QEMU's version, whose instructions could change an output."""
        info = self._connected().info()
        versions = (*info.versions, (QEMU, self._version)) if self._version else info.versions
        return replace(info, kind="qemu", versions=versions)

    def load(self, model: Model) -> ArenaUse:
        """Boot with the model in flash, or upload it where the firmware already runs; then open it."""
        record = ModelRecord(model.content, model.tensor_arena_size or 0)
        return self._connected(record).load(model)

    def reset(self) -> None:
        """Put the streaming state back."""
        self._connected().reset()

    def infer(self, frames: npt.NDArray[np.int8]) -> Inference:
        """Stream frames `[n, stride, 40]`; an emulated chip's clock says nothing of a chip's time, so none is told."""
        return replace(self._connected().infer(frames), microseconds=None)

    def inferences(self) -> int | None:
        """What the firmware has counted."""
        return self._connected().inferences()

    @contextmanager
    def lend_port(self) -> Iterator[str]:
        """The port of the booted firmware, for a client other than this one."""
        device, self._device = self._connected(), None
        device.close()
        assert self._process is not None
        yield self._process.port

    def close(self) -> None:
        """End QEMU and remove its flash."""
        device, self._device = self._device, None
        process, self._process = self._process, None
        if device is not None:
            device.close()
        if process is not None:
            process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self, *models: ModelRecord) -> DeviceTarget:
        """The firmware, booted with these models where it does not run yet; what did not boot is not tried again."""
        if self._failed is not None:
            raise self._failed
        if self._process is None:
            self._process = QemuProcess(self._machine, self._program, merge_flash(self._factory, self._image, models))
        if self._device is None:
            try:
                self._device = self._boot(self._process)
            except BaseException as error:
                self._failed = error if isinstance(error, QemuError) else None
                self.close()
                raise
        return self._device

    def _boot(self, process: QemuProcess) -> DeviceTarget:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                return DeviceTarget(process.port, self._options, timing=_BOOT, on_log=self._log.append)
            except PortMissingError as error:  # it does not listen yet, or has ended
                if process.ended or time.monotonic() > deadline:
                    raise self._failure("QEMU does not start", process) from error
            except LinkError as error:
                said = f"the firmware in QEMU does not answer in {_BOOT.hello:g} s: {error.message}"
                raise self._failure(said, process) from error
            time.sleep(0.1)

    def _failure(self, message: str, process: QemuProcess) -> QemuError:
        """The error with QEMU's own last words, and the end of the boot log as its hint."""
        own = " | ".join(process.log()[-_OWN_LINES:])
        if self._log:
            hint = "the boot log ends: " + " | ".join(line.strip() for line in self._log)
        else:
            hint = f"is it Espressif's QEMU? python $IDF_PATH/tools/idf_tools.py install {self._machine.package}"
        return QemuError(f"{message}: {own}" if own else message, hint=hint)


def open_target(name: str, options: TargetOptions) -> QemuTarget:
    """Open `qemu:FACTORY.bin`, or `qemu` with the firmware that `MWW_QEMU_FIRMWARE` names.

    Raises:
        UsageError: No firmware is named, or an option has no meaning.
        QemuMissingError: There is no QEMU.
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
        hint = f"mww firmware {machine.board} --output DIR, build it, then --target {QEMU}:FACTORY.bin"
        raise UsageError("QEMU has no firmware to run", hint=hint)
    return QemuTarget(Path(firmware), options)


def _read(path: Path) -> bytes:
    path = find_image(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(SIZES[-1] + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="give a factory image") from error
    if len(content) > SIZES[-1]:
        raise InputError(f"{path} is larger than QEMU's largest flash", hint="give a factory image")
    return content


def _machine_for(image_id: int, chip: str | None) -> Machine:
    """The machine that a firmware is for, which must be the one asked for."""
    machine = next((machine for machine in MACHINES if machine.image_id == image_id), None)
    if machine is None:
        names = ", ".join(machine.chip for machine in MACHINES)
        raise UsageError("Espressif's QEMU has no chip that this firmware is for", hint=f"chips: {names}")
    if chip not in (None, machine.chip):
        find_machine(str(chip))
        raise UsageError(f"the firmware is for an {machine.chip}, not {chip}", hint=f"--chip {machine.chip}")
    return machine
