"""What esptool can tell one ESP32 from another by: registers, eFuses, identifiers and memory addresses, as a table.

Addresses and bit positions are esptool's (`esptool/targets/*.py`); values are those of one common part of each chip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mww.core.errors import UsageError

MAC_PREFIX: Final = bytes.fromhex("024d5757")
"""Locally administered, so no real chip has it: how `mww flash` knows a virtual board."""

SECTOR: Final = 0x1000
"""Bytes; the smallest part of the flash that can be erased."""


@dataclass(frozen=True, slots=True)
class SpiPeripheral:
    """Where the SPI flash controller's "user command" registers are, as offsets from `base`."""

    base: int
    usr: int
    usr1: int
    usr2: int
    miso_length: int
    w0: int
    address_in_msb: bool


@dataclass(frozen=True, slots=True)
class Efuses:
    """Where a chip keeps the fuses that esptool reads.

    Attributes:
        mac: Addresses of the words with the lower four and upper two bytes of the MAC.
        crypt_count: Address and mask of SPI_BOOT_CRYPT_CNT; flash is encrypted where an odd number of bits is set.
        secure_boot: Address and mask of the secure boot bits.
    """

    mac: tuple[int, int]
    crypt_count: tuple[int, int]
    secure_boot: tuple[int, int]


@dataclass(frozen=True, slots=True)
class BootText:
    """What the ROM prints: its banner, boot modes, reset causes, and what it says before it loads segments."""

    banner: str
    flash_mode: str
    download_mode: str
    power_on: str
    watchdog: str
    software: str
    loading: str


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip.

    Attributes:
        name: As `mww.esphome.contract.CHIPS` spells it.
        title: As Espressif does.
        image_id: `chip_id` of an image's extended header.
        security_info: Whether the ROM answers GET_SECURITY_INFO.
        bootloader_offset: Where the second stage bootloader is in flash.
        flash_size: Bytes.
        flash_id: The flash's answer to command 9F: manufacturer in the lowest byte, log2 of its bytes in the third.
        drom: Where constants of an application are mapped; app descriptors go there.
        iram: Where code is loaded.
        uart_divider: Address of UART0's clock divider.
        watchdog: Address of the RTC watchdog's first configuration register.
        registers: Address and value of all else that esptool reads.
    """

    name: str
    title: str
    image_id: int
    security_info: bool
    bootloader_offset: int
    flash_size: int
    flash_id: int
    spi: SpiPeripheral
    efuses: Efuses
    drom: int
    iram: int
    uart_divider: int
    watchdog: int
    boot: BootText
    registers: tuple[tuple[int, int], ...]


def _flash_id(size: int) -> int:
    """A Winbond W25Q of `size` bytes."""
    return (size.bit_length() - 1) << 16 | 0x4000 | 0xEF


_MEBIBYTE = 1 << 20
_MAGIC = 0x40001000  # CHIP_DETECT_MAGIC_REG_ADDR


def _recent(efuse: int) -> Efuses:
    """The eFuse layout that all chips after the ESP32 share."""
    return Efuses(
        mac=(efuse + 0x44, efuse + 0x48),
        crypt_count=(efuse + 0x34, 0x7 << 18),
        secure_boot=(efuse + 0x38, 1 << 20),
    )


def _recent_text(banner: str, fast: str, download: str) -> BootText:
    return BootText(
        banner=banner,
        flash_mode=fast,
        download_mode=download,
        power_on="0x1 (POWERON)",
        watchdog="0x10 (RTCWDT_RTC_RST)",
        software="0x3 (RTC_SW_SYS_RST)",
        loading="SPIWP:0xee\r\nmode:DIO, clock div:1\r\n",
    )


_RECENT_SPI = SpiPeripheral(0x60002000, usr=0x18, usr1=0x1C, usr2=0x20, miso_length=0x28, w0=0x58, address_in_msb=False)

CHIPS: Final = (
    Chip(  # ESP32-D0WD-V3, revision v3.1
        name="esp32",
        title="ESP32",
        image_id=0,
        security_info=False,
        bootloader_offset=0x1000,
        flash_size=4 * _MEBIBYTE,
        flash_id=_flash_id(4 * _MEBIBYTE),
        spi=SpiPeripheral(0x3FF42000, usr=0x1C, usr1=0x20, usr2=0x24, miso_length=0x2C, w0=0x80, address_in_msb=True),
        efuses=Efuses(
            mac=(0x3FF5A004, 0x3FF5A008),
            crypt_count=(0x3FF5A000, 0x7F << 20),
            secure_boot=(0x3FF5A018, 1 << 5),  # ABS_DONE_1: secure boot version 2
        ),
        drom=0x3F400000,
        iram=0x40080000,
        uart_divider=0x3FF40014,
        watchdog=0x3FF4808C,
        boot=BootText(
            banner="ets Jul 29 2019 12:21:46\r\n\r\n",
            flash_mode="0x13 (SPI_FAST_FLASH_BOOT)",
            download_mode="0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))",
            power_on="0x1 (POWERON_RESET)",
            watchdog="0x10 (RTCWDT_RTC_RESET)",
            software="0x3 (SW_RESET)",
            loading="configsip: 0, SPIWP:0xee\r\n"
            "clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\r\n"
            "mode:DIO, clock div:2\r\n",
        ),
        registers=(
            (_MAGIC, 0x00F01D83),
            (0x3FF5A00C, 1 << 15 | 1 << 13 | 1 << 9),  # package D0WD, 240 MHz, lowest bit of the major revision
            (0x3FF5A010, 128),  # CK8M_FREQ; with the calibration below the ROM finds a crystal of 40 MHz
            (0x3FF5A014, 1 << 24 | 1 << 20),  # revision x.1, second bit of the major revision
            (0x3FF6607C, 1 << 31),  # APB_CTL_DATE: third bit of the major revision
            (0x3FF5F06C, 800 << 7),  # RTCCALICFG1
        ),
    ),
    Chip(  # ESP32-S3 (QFN56), revision v0.2, 8 MB of PSRAM
        name="esp32s3",
        title="ESP32-S3",
        image_id=9,
        security_info=True,
        bootloader_offset=0,
        flash_size=8 * _MEBIBYTE,
        flash_id=_flash_id(8 * _MEBIBYTE),
        spi=_RECENT_SPI,
        efuses=_recent(0x60007000),
        drom=0x3C000000,
        iram=0x40374000,
        uart_divider=0x60000014,
        watchdog=0x60008098,
        boot=_recent_text(
            "ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\n",
            "0x8 (SPI_FAST_FLASH_BOOT)",
            "0x0 (DOWNLOAD(USB/UART0))",
        ),
        registers=(
            (_MAGIC, 0x00000009),
            (0x60007050, 2 << 18),  # minor revision
            (0x60007054, 1 << 7 | 1 << 3),  # PSRAM: AP_3v3, 8 MB
            (0x60004038, 1 << 3),  # GPIO_STRAP
        ),
    ),
    Chip(  # ESP32-C3 (QFN32), revision v0.4
        name="esp32c3",
        title="ESP32-C3",
        image_id=5,
        security_info=True,
        bootloader_offset=0,
        flash_size=4 * _MEBIBYTE,
        flash_id=_flash_id(4 * _MEBIBYTE),
        spi=_RECENT_SPI,
        efuses=_recent(0x60008800),
        drom=0x3C000000,
        iram=0x4037C000,
        uart_divider=0x60000014,
        watchdog=0x60008090,
        boot=_recent_text(
            "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n",
            "0xc (SPI_FAST_FLASH_BOOT)",
            "0x4 (DOWNLOAD(USB/UART0/1))",
        ),
        registers=((_MAGIC, 0x1B31506F), (0x60008850, 4 << 18)),
    ),
    Chip(  # ESP32-C6 (QFN40), revision v0.1
        name="esp32c6",
        title="ESP32-C6",
        image_id=13,
        security_info=True,
        bootloader_offset=0,
        flash_size=8 * _MEBIBYTE,
        flash_id=_flash_id(8 * _MEBIBYTE),
        spi=SpiPeripheral(0x60003000, usr=0x18, usr1=0x1C, usr2=0x20, miso_length=0x28, w0=0x58, address_in_msb=False),
        efuses=_recent(0x600B0800),
        drom=0x42800000,
        iram=0x40800000,
        uart_divider=0x60000014,
        watchdog=0x600B1C00,
        boot=_recent_text(
            "ESP-ROM:esp32c6-20220919\r\nBuild:Sep 19 2022\r\n",
            "0xc (SPI_FAST_FLASH_BOOT)",
            "0x4 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))",
        ),
        registers=((_MAGIC, 0x2CE0806F), (0x600B0850, 1 << 18)),
    ),
)
"""The chips that can be had as virtual boards."""

CHIP_NAMES: Final = tuple(chip.name for chip in CHIPS)


def find_chip(name: str) -> Chip:
    """Look a chip up by its name.

    Raises:
        UsageError: There is no virtual board of that chip.
    """
    for chip in CHIPS:
        if chip.name == name:
            return chip
    raise UsageError(f"there is no virtual {name}", hint=f"chips: {', '.join(CHIP_NAMES)}")
