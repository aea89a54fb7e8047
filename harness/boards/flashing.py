"""Writes firmware and models to a board with esptool's public functions.

Only what differs is written, and then verified. esptool prints nothing here, and its errors become `FlashingError`.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from harness.serial.connection import DEFAULT_BAUD, port_busy
from harness.serial.ports import access, port_users
from harness.virtual.chips import MAC_PREFIX
from harness.virtual.factory import PROJECT
from mww.core.errors import FlashingError, ImageError, PortMissingError, UsageError
from mww.core.progress import Progress, no_progress
from mww.images.partition_table import (
    ERASED_ENTRY,
    PARTITION_TABLE_OFFSET,
    TABLE_SIZE,
    FactoryImage,
    FlashPart,
    Partition,
    find_model_partition,
    parse_partition_table,
    read_factory_image,
    whole_sectors,
)

if TYPE_CHECKING:
    import serial

    from harness.link.model_table import ModelRecord


ROM_BAUD: Final = 115_200
"""Every bootloader starts at this baud rate."""
_TIMEOUT: Final = 3.0
"""Seconds: esptool's own default. A port with this timeout is not set up again at each command, which takes rfc2217 100
ms.
"""

_VANISHED: Final = (OSError, termios.error, TypeError, AttributeError, struct.error)
"""What pyserial and esptool raise when a port disappears; the last three come from an answer that makes no sense."""

_log = logging.getLogger(__name__)

_FIRST_ENTRIES: Final = 0x200
"""Bytes: room for 14 partitions, the digest, and the erased entry that ends a table."""


class _Sink:
    """Receives esptool's progress.

    esptool has one logger for each process, and before version 5.4 accepts only its class.
    """

    report: Progress = staticmethod(no_progress)
    what = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """A chip's bootloader as esptool's `ESPLoader`, and whether the port has the lines that reset a board."""

    rom: Any
    has_lines: bool


@contextmanager
def connected(url: str, before: str) -> Iterator[Connection]:
    """Connect to a chip's bootloader, resetting the board as `before` says where the port can.

    Raises:
        PortMissingError: The port cannot be opened.
        PortBusyError: Another process has it.
        FlashingError: The bootloader does not answer, or a step of esptool fails.
    """
    from esptool.cmds import detect_chip

    _quieten()
    with _failures(url), _open(url) as port:
        has_lines = _has_lines(port)
        yield Connection(detect_chip(port, ROM_BAUD, before if has_lines else "no-reset"), has_lines)


@contextmanager
def progress_of(what: str, report: Progress) -> Iterator[None]:
    """Report esptool's progress inside the block as the progress of `what`."""
    _Sink.what, _Sink.report = what, staticmethod(report)
    try:
        yield
    finally:
        _Sink.report = staticmethod(no_progress)


@contextmanager
def _open(url: str) -> Iterator[serial.SerialBase]:
    import serial

    exclusive = None if "://" in url else True
    try:
        port = serial.serial_for_url(url, ROM_BAUD, timeout=_TIMEOUT, exclusive=exclusive)
    except (OSError, ValueError, termios.error) as error:
        if "exclusively lock" in str(error):
            raise port_busy(url) from error
        allowed = access(url)
        hint = "give a device path, socket://HOST:PORT or rfc2217://HOST:PORT" if allowed.allowed else allowed.hint
        raise PortMissingError(
            f"cannot open {url}: {error}" if allowed.allowed else allowed.message, hint=hint
        ) from error
    try:
        yield port
    finally:
        with suppress(OSError):
            port.close()


def _has_lines(port: serial.SerialBase) -> bool:
    """Whether a port has modem lines; a pseudo terminal does not."""
    try:
        return getattr(port, "cts", None) is not None
    except OSError:
        return False


@contextmanager
def _failures(port: str) -> Iterator[None]:
    """Raise esptool's failures as FlashingError."""
    from esptool.util import FatalError

    try:
        yield
    except FatalError as error:
        if port_users(port):
            raise port_busy(port) from error
        text = " ".join(str(error).split("\nFor troubleshooting")[0].split())
        raise FlashingError(f"{port}: {text}", hint=_hint_for(text)) from error
    except _VANISHED as error:
        raise FlashingError(f"{port} went away: {error}", hint="check the cable and the board's power") from error


def _hint_for(text: str) -> str:
    if "connect" in text or "boot mode" in text:
        return "hold BOOT while you press and release RESET (EN), then run it again; check the cable and the port"
    if "MD5" in text or "Verification" in text:
        return "run it again with a lower --baud; if the error stays, the flash is worn out"
    return "run it again with a lower --baud, such as 115200"


@cache
def _quieten() -> None:
    """Give esptool a logger that prints nothing; once, because esptool keeps its first logger."""
    from esptool.logger import TemplateLogger, log

    class Quiet(TemplateLogger):  # type: ignore[misc]
        def print(self, *args: object, **options: object) -> None:
            _log.debug("esptool: %s", " ".join(map(str, args)).strip())

        def note(self, message: str) -> None:
            _log.debug("esptool: %s", message)

        warning = error = note

        def stage(self, finish: bool = False) -> None:
            pass

        def progress_bar(self, cur_iter: int, total_iters: int, *_: object, **__: object) -> None:
            _Sink.report(_Sink.what, cur_iter, total_iters)

        def set_verbosity(self, verbosity: str) -> None:
            pass

    log.set_logger(Quiet())


@dataclass(frozen=True, slots=True)
class FlashJob:
    """What to write, and to which board.

    Attributes:
        port: A device path or pyserial URL.
        chip: The chip that the board must have, as esptool spells it; "auto" for any.
        firmware: Gives the factory image for a chip's name; None to leave the firmware as it is.
        models: Records for the model partition, or what reads them, which is then called while the chip gets ready;
            none to leave it as it is.
        baud: Rate for the transfer.
        before: How to reset into the bootloader, as esptool names it.
        after: How to leave it, likewise.
    """

    port: str
    chip: str = "auto"
    firmware: Callable[[str], bytes] | None = None
    models: tuple[ModelRecord, ...] | Callable[[], tuple[ModelRecord, ...]] = ()
    baud: int = DEFAULT_BAUD
    before: str = "default-reset"
    after: str = "hard-reset"


@dataclass(frozen=True, slots=True)
class PartResult:
    """A part of the flash, and whether it had to be written."""

    name: str
    offset: int
    size: int
    written: bool


@dataclass(frozen=True, slots=True)
class FlashReport:
    """The result of flashing."""

    chip: str
    mac: str
    parts: tuple[PartResult, ...]
    seconds: float


def flash(job: FlashJob, progress: Progress = no_progress) -> FlashReport:
    """Write firmware and models.

    Raises:
        UsageError: Nothing is to be written.
        PortMissingError: The port cannot be opened.
        PortBusyError: Another process has it.
        ImageError: The firmware is not a factory image, or for another chip.
        ModelPartitionError: The models do not fit into the partition.
        FlashingError: No board answers, its security features forbid it, or writing failed.
    """
    from esptool.cmds import reset_chip

    if job.firmware is None and not job.models:
        raise UsageError("nothing to flash", hint="give --firmware FACTORY.bin, --model MANIFEST.json, or both")
    started = time.monotonic()
    with connected(job.port, job.before) as connection, ThreadPoolExecutor(1) as aside:
        models = aside.submit(_models, job)
        rom = connection.rom
        chip = _checked_chip(rom, job)
        mac = bytes(rom.read_mac())
        image = _firmware_for(rom, chip, mac, job.firmware)
        esp = _prepare(rom, job)
        size = _flash_size(esp)
        parts = (*(image.parts if image else ()), *_model_part(esp, image, models.result(), size))
        _check_fit(image, parts, size)
        results = _write(esp, parts, progress)
        if connection.has_lines:
            reset_chip(esp, job.after)
    return FlashReport(chip, mac.hex(":"), results, time.monotonic() - started)


def _models(job: FlashJob) -> tuple[ModelRecord, ...]:
    return job.models() if callable(job.models) else job.models


def _checked_chip(esp: Any, job: FlashJob) -> str:
    """The chip's name, after the checks that it is the requested chip and that it can run plain images."""
    chip = str(esp.CHIP_NAME).lower().replace("-", "")
    if job.chip not in ("auto", chip):
        raise FlashingError(f"the board at {job.port} has an {esp.CHIP_NAME}, not {job.chip}", hint=f"--chip {chip}")
    message = "secure download mode" if esp.secure_download_mode else None
    if message is None and esp.get_secure_boot_enabled():
        message = "secure boot"
    if message is None and esp.get_flash_encryption_enabled():
        message = "flash encryption"
    if message is not None:
        raise FlashingError(
            f"the chip at {job.port} has {message} enabled, so plain images would not run on it",
            hint="use a board whose security eFuses are not set",
        )
    return chip


def _firmware_for(esp: Any, chip: str, mac: bytes, firmware: Callable[[str], bytes] | None) -> FactoryImage | None:
    if firmware is None:
        return None
    image = read_factory_image(firmware(chip))
    if image.chip_id != esp.IMAGE_CHIP_ID:
        raise ImageError(f"the firmware is not for {esp.CHIP_NAME}", hint="build it for the board's chip")
    if image.app is not None and image.app.project == PROJECT and not mac.startswith(MAC_PREFIX):
        raise ImageError("this is the firmware of a virtual board", hint="mww firmware BOARD makes a real one")
    return image


def _prepare(esp: Any, job: FlashJob) -> Any:
    """Start esptool's stub and raise the baud rate."""
    from esptool.cmds import attach_flash, run_stub

    esp = run_stub(esp)
    if job.baud != ROM_BAUD:
        esp.change_baud(job.baud)
    attach_flash(esp)
    return esp


def _flash_size(esp: Any) -> int:
    from esptool.cmds import detect_flash_size
    from esptool.util import flash_size_bytes

    size = flash_size_bytes(detect_flash_size(esp))
    if size is None:
        raise FlashingError("the flash does not report its size", hint="check the board's flash chip")
    return int(size)


def _model_part(
    esp: Any, image: FactoryImage | None, models: Sequence[ModelRecord], flash_size: int
) -> Iterator[FlashPart]:
    """The model partition's content, at the offset from the new partition table, or from the board's."""
    if not models:
        return
    partition = find_model_partition(image.partitions if image else _read_partitions(esp, flash_size))
    if partition is None:
        raise FlashingError(
            "the board's firmware has no model partition",
            hint="add --firmware FACTORY.bin; mww firmware makes the project that builds it",
        )
    from harness.link.model_table import partition_image

    yield FlashPart(partition.name, partition.offset, whole_sectors(partition_image(models, partition.size)))


def _read_partitions(esp: Any, flash_size: int) -> tuple[Partition, ...]:
    data = esp.read_flash(PARTITION_TABLE_OFFSET, _FIRST_ENTRIES)
    if ERASED_ENTRY not in data:  # a long table: reading the rest takes as long as half a model
        data += esp.read_flash(PARTITION_TABLE_OFFSET + _FIRST_ENTRIES, TABLE_SIZE - _FIRST_ENTRIES)
    try:
        return parse_partition_table(data, flash_size)
    except ImageError as error:
        raise FlashingError(
            f"the board has no partition table: {error.message}", hint="add --firmware FACTORY.bin"
        ) from error


def _check_fit(image: FactoryImage | None, parts: Sequence[FlashPart], flash_size: int) -> None:
    ends = [(part.name, part.offset + len(part.data)) for part in parts]
    if image is not None:
        ends += [(partition.name, partition.offset + partition.size) for partition in image.partitions]
    for name, end in ends:
        if end > flash_size:
            raise FlashingError(
                f"{name} ends at {end:#x}, and the board's flash has {flash_size:#x} bytes",
                hint="use firmware for a smaller flash, or another board",
            )


def _write(esp: Any, parts: Sequence[FlashPart], progress: Progress) -> tuple[PartResult, ...]:
    """Write what differs; esptool reads back the digest of each part and fails where it differs."""
    from esptool.cmds import write_flash

    differing = [part for part in parts if esp.flash_md5sum(part.offset, len(part.data)) != _md5(part.data)]
    for part in differing:
        with progress_of(f"writing {part.name}", progress):
            write_flash(esp, [(part.offset, part.data)])
    return tuple(PartResult(part.name, part.offset, len(part.data), part in differing) for part in parts)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
