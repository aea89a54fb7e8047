"""From reset to firmware: how the ROM and the second stage bootloader read the flash, and their output."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from harness.virtual.chips import VirtualChip
from harness.virtual.factory import PROJECT
from harness.virtual.flash import Flash
from mww.core.errors import ImageError
from mww.images import partition_table as table
from mww.images.esp_image import AppDescriptor, EspImage, is_image, parse_image
from mww.images.partition_table import PARTITION_TABLE_OFFSET, Partition, find_model_partition, parse_partition_table

_INVALID_HEADERS: Final = 3  # lines that the ROM prints before its watchdog resets the chip
_KINDS: Final = {
    (table.APP, table.APP_FACTORY): "factory app",
    (table.DATA, table.DATA_OTA): "OTA data",
    (table.DATA, table.DATA_NVS): "WiFi data",
}


class ResetCause(Enum):
    """Why a chip starts; the value is the firmware's name of the reason."""

    POWER_ON = "power-on"
    WATCHDOG = "watchdog"
    SOFTWARE = "software"


@dataclass(frozen=True, slots=True)
class Application:
    """A valid application, and the partition of its models."""

    app: AppDescriptor | None
    models: Partition | None

    @property
    def is_virtual_firmware(self) -> bool:
        """Whether this is the virtual firmware."""
        return self.app is not None and self.app.project == PROJECT


@dataclass(frozen=True, slots=True)
class BootResult:
    """The console's output, and the application; None without an application: then the chip starts again."""

    log: bytes
    application: Application | None


def download_log(chip: VirtualChip, cause: ResetCause) -> bytes:
    """The ROM's output when it starts as bootloader."""
    return (_banner(chip, cause, chip.boot.download_mode) + "waiting for download\r\n").encode()


def boot(chip: VirtualChip, flash: Flash, cause: ResetCause) -> BootResult:
    """Start from flash."""
    log = [_banner(chip, cause, chip.boot.flash_mode)]
    first_stage = _load_bootloader(chip, flash, log)
    application = _second_stage(chip, flash, log) if first_stage is not None else None
    return BootResult("".join(log).encode(), application)


def _banner(chip: VirtualChip, cause: ResetCause, mode: str) -> str:
    text = chip.boot
    reason = {
        ResetCause.POWER_ON: text.power_on,
        ResetCause.WATCHDOG: text.watchdog,
        ResetCause.SOFTWARE: text.software,
    }
    return f"{text.banner}rst:{reason[cause]},boot:{mode}\r\n"


def _load_bootloader(chip: VirtualChip, flash: Flash, log: list[str]) -> EspImage | None:
    """Do the ROM's work: check and load the second stage."""
    data = flash.read(chip.bootloader_offset, PARTITION_TABLE_OFFSET - chip.bootloader_offset)
    if not is_image(data):
        log.append(f"invalid header: {int.from_bytes(data[:4], 'little'):#010x}\r\n" * _INVALID_HEADERS)
        return None
    log.append(chip.boot.loading)
    try:
        image = parse_image(data, chip.bootloader_offset)
        if image.chip_id != chip.image_id:
            raise ImageError(
                f"mismatch chip ID, expected {chip.image_id}, found {image.chip_id}",
                hint="flash an image that was built for this chip",
            )
    except ImageError as error:
        log.append(f"{error.message}\r\nets_main.c 371 \r\n")
        return None
    log += [f"load:{segment.address:#010x},len:{len(segment.data):#x}\r\n" for segment in image.segments]
    log.append(f"entry {image.entry:#010x}\r\n")
    return image


def _second_stage(chip: VirtualChip, flash: Flash, log: list[str]) -> Application | None:
    """Do the bootloader's work: read the partition table, choose an application, check it, start it."""
    report = _Report(log)
    report.info("boot", "2nd stage bootloader")
    report.info("boot", f"chip: {chip.title}, SPI flash: {flash.size >> 20}MB")
    try:
        partitions = parse_partition_table(flash.read(PARTITION_TABLE_OFFSET, table.TABLE_SIZE), flash.size)
    except ImageError as error:
        report.error("flash_parts", error.message)
        report.error("boot", "Failed to verify partition table")
        report.error("boot", "load partition table error!")
        return None
    report.partitions(partitions)
    for partition in _candidates(flash, partitions):
        try:
            image = parse_image(flash.read(partition.offset, partition.size), partition.offset)
        except ImageError as error:
            report.error("esp_image", error.message)
            continue
        if image.chip_id != chip.image_id:
            report.error("boot_comm", f"mismatch chip ID, expected {chip.image_id}, found {image.chip_id}")
            continue
        report.info("boot", f"Loaded app from partition at offset {partition.offset:#x}")
        application = Application(image.app, find_model_partition(partitions))
        report.application(application)
        return application
    report.error("boot", "No bootable app partitions in the partition table")
    return None


def _candidates(flash: Flash, partitions: tuple[Partition, ...]) -> list[Partition]:
    """Application partitions in the order of attempts: the partition that OTA data chooses, then the others."""
    slots = sorted(
        (part for part in partitions if part.type == table.APP and part.subtype >= table.APP_OTA_0),
        key=lambda part: part.subtype,
    )
    factory = [part for part in partitions if (part.type, part.subtype) == (table.APP, table.APP_FACTORY)]
    ota = next((part for part in partitions if (part.type, part.subtype) == (table.DATA, table.DATA_OTA)), None)
    sequence = _ota_sequence(flash, ota) if ota is not None and slots else 0
    if sequence == 0:
        return factory + slots
    chosen = (sequence - 1) % len(slots)
    return [*slots[chosen:], *slots[:chosen], *factory]


def _ota_sequence(flash: Flash, partition: Partition) -> int:
    """The highest sequence number in the two sectors of OTA data; 0 if neither has a number."""
    sequences = [0]
    for sector in range(partition.offset, partition.offset + partition.size - 31, 0x1000):
        number = int.from_bytes(flash.read(sector, 4), "little")
        if number not in (0, 0xFFFFFFFF):
            sequences.append(number)
    return max(sequences)


class _Report:
    """Log lines with plausible milliseconds since reset."""

    def __init__(self, log: list[str]) -> None:
        self._log = log
        self._milliseconds = 24

    def info(self, tag: str, text: str) -> None:
        self._line("I", tag, text)

    def error(self, tag: str, text: str) -> None:
        self._line("E", tag, text)

    def partitions(self, partitions: tuple[Partition, ...]) -> None:
        """Print the table as the bootloader does."""
        self.info("boot", "Partition Table:")
        self.info("boot", "## Label            Usage          Type ST Offset   Length")
        for number, part in enumerate(partitions):
            kind = _KINDS.get((part.type, part.subtype), "Unknown data" if part.type else "OTA app")
            where = f"{part.type:02x} {part.subtype:02x} {part.offset:08x} {part.size:08x}"
            self.info("boot", f"{number:2d} {part.name:<16} {kind:<16} {where}")
        self.info("boot", "End of partition table")

    def application(self, application: Application) -> None:
        """Print the application's first lines."""
        app = application.app
        if app is not None:
            self.info("app_init", f"Project name:     {app.project}")
            self.info("app_init", f"App version:      {app.version}")
            self.info("app_init", f"ESP-IDF:          {app.idf_version}")
        if not application.is_virtual_firmware:
            self.error("virtual", "this application is code for a chip; a virtual board runs only its own firmware")
        elif application.models is None:
            self.error("mww", f"no partition {table.MODEL_PARTITION_NAME}")

    def _line(self, level: str, tag: str, text: str) -> None:
        self._log.append(f"{level} ({self._milliseconds}) {tag}: {text}\r\n")
        self._milliseconds += 3
