"""Writes firmware and models to a board with esptool: only what differs, verified afterwards."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.boards.flashing.bootloader import ROM_BAUD, connected, progress_of
from harness.serial.connection import DEFAULT_BAUD
from harness.virtual.chips import MAC_PREFIX
from harness.virtual.factory import PROJECT
from mww.core.errors import FlashingError, ImageError, UsageError
from mww.core.progress import Progress, no_progress
from mww.images.factory_image import (
    PARTITION_TABLE_OFFSET,
    FactoryImage,
    FlashPart,
    read_factory_image,
    whole_sectors,
)
from mww.images.partition_table import (
    ERASED_ENTRY,
    TABLE_SIZE,
    Partition,
    find_model_partition,
    parse_partition_table,
)

if TYPE_CHECKING:
    from harness.link.model_table import ModelRecord


_FIRST_ENTRIES: Final = 0x200
"""Bytes: room for 14 partitions, the digest, and the erased entry that ends a table."""


@dataclass(frozen=True, slots=True)
class FlashJob:
    """What to write where.

    Attributes:
        port: A device path or pyserial URL.
        chip: Which the board must have, as esptool spells it; "auto" for any.
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
    """One part of the flash, and whether it had to be written."""

    name: str
    offset: int
    size: int
    written: bool


@dataclass(frozen=True, slots=True)
class FlashReport:
    """What was done."""

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
    """The chip's name, once it is the chip asked for and plain images cannot break it."""
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
            hint="use a board without burnt security eFuses",
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
    """Start the stub and speed up."""
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
        raise FlashingError("the flash does not say how large it is", hint="look at the board's flash chip")
    return int(size)


def _model_part(
    esp: Any, image: FactoryImage | None, models: Sequence[ModelRecord], flash_size: int
) -> Iterator[FlashPart]:
    """The model partition's content, where the board's partition table, or the new one, says that it goes."""
    if not models:
        return
    partition = find_model_partition(image.partitions if image else _read_partitions(esp, flash_size))
    if partition is None:
        raise FlashingError(
            "the board's firmware has no model partition",
            hint="add --firmware FACTORY.bin, which mww firmware helps make",
        )
    from harness.link.model_table import partition_image

    yield FlashPart(partition.name, partition.offset, whole_sectors(partition_image(models, partition.size)))


def _read_partitions(esp: Any, flash_size: int) -> tuple[Partition, ...]:
    data = esp.read_flash(PARTITION_TABLE_OFFSET, _FIRST_ENTRIES)
    if ERASED_ENTRY not in data:  # a long table: the rest takes as long as half a model
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
    """Write what differs; esptool reads the digest of each part back and fails where it is another."""
    from esptool.cmds import write_flash

    differing = [part for part in parts if esp.flash_md5sum(part.offset, len(part.data)) != _md5(part.data)]
    for part in differing:
        with progress_of(f"writing {part.name}", progress):
            write_flash(esp, [(part.offset, part.data)])
    return tuple(PartResult(part.name, part.offset, len(part.data), part in differing) for part in parts)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
