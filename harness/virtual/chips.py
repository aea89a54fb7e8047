"""A virtual chip: its row in `mww.esphome.chips`, its registers, and the values that esptool reads from it.

Addresses come from esptool's chip definitions, which `chip_addresses` holds. The values at these addresses, and the
lines that the ROM prints, are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final

from harness.virtual.chip_addresses import CHIP_ADDRESSES
from mww.core.errors import UsageError
from mww.esphome.chips import VIRTUAL_CHIPS, Chip
from mww.esphome.chips import find_chip as find_row

_WATCHDOG_ENABLED: Final = 1 << 31
_SPI_START: Final = 1 << 18
_MAX_WRITTEN: Final = 4096  # distinct addresses; esptool writes a dozen

_READ_ID: Final = 0x9F
_READ_SFDP: Final = 0x5A
_SFDP_HEADER: Final = b"SFDP" + bytes([6, 1, 0, 0xFF, 0, 6, 1, 16, 0x80, 0, 0, 0xFF])
"""Revision 1.6 and one parameter header: enough to see a flash chip that is not XMC's."""

SECURITY_FEATURES: Final = ("secure-boot", "flash-encryption", "secure-download")

MAC_PREFIX: Final = bytes.fromhex("024d5757")
"""A locally administered MAC, which no real chip has; it identifies a virtual board for `mww flash`."""

SECTOR: Final = 0x1000
"""Bytes of the smallest part of the flash that can be erased."""

_ESP32_WATCHDOG: Final = 0x3FF4808C  # RTC_CNTL_WDTCONFIG0_REG, which esptool has for later chips only
_MEBIBYTE: Final = 1 << 20

_MAGIC: Final = "CHIP_DETECT_MAGIC_REG_ADDR"
_FUSES: Final = "EFUSE_RD_REG_BASE"
_BLOCK1: Final = "EFUSE_BLOCK1_ADDR"


@dataclass(frozen=True, slots=True)
class Security:
    """The security features of a chip whose eFuses are set."""

    secure_boot: bool = False
    flash_encryption: bool = False
    secure_download: bool = False

    @property
    def flags(self) -> int:
        """The flags of GET_SECURITY_INFO."""
        return self.secure_boot << 0 | self.secure_download << 2


UNSECURED: Final = Security()


def security_of(features: tuple[str, ...]) -> Security:
    """Read feature names from the command line.

    Raises:
        UsageError: One of them is not in `SECURITY_FEATURES`.
    """
    for feature in features:
        if feature not in SECURITY_FEATURES:
            raise UsageError(f"no eFuse {feature}", hint=f"eFuses: {', '.join(SECURITY_FEATURES)}")
    return Security(**{feature.replace("-", "_"): True for feature in features})


class Registers:
    """The registers of a chip; an unknown address reads as its last written value, else 0."""

    def __init__(self, chip: VirtualChip, mac: bytes, security: Security) -> None:
        self._chip = chip
        self._baud = 115200
        self._written: dict[int, int] = {}
        self._fixed = dict(chip.registers)
        fuses = chip.efuses
        low, high = fuses.mac
        self._fixed[low] = int.from_bytes(mac[2:], "big")
        self._fixed[high] = int.from_bytes(mac[:2], "big")
        if chip.eui64:
            self._fixed[high] |= 0xFFFE << 16  # the extension that turns a MAC into an EUI-64
        if security.flash_encryption:
            address, mask = fuses.crypt_count
            self._burn(address, mask & -mask)
        if security.secure_boot:
            self._burn(*fuses.secure_boot)

    def set_baud(self, baud: int) -> None:
        """Follow the UART's rate, from which esptool computes the crystal's frequency."""
        self._baud = baud

    def read(self, address: int) -> int:
        """Return a register's 32 bits."""
        if address == self._chip.uart_divider:
            return self._chip.crystal_hz // self._baud
        if address in self._fixed:
            return self._fixed[address]
        return self._written.get(address, 0)

    def write(self, address: int, value: int, mask: int) -> bool:
        """Write the bits in `mask`; True if this starts the watchdog, which then resets the chip."""
        if address not in self._written and len(self._written) >= _MAX_WRITTEN:
            return False
        self._written[address] = self._written.get(address, 0) & ~mask | value & mask
        if address == self._chip.spi.base and value & _SPI_START:
            self._run_spi_command()
        return address == self._chip.watchdog and bool(value & _WATCHDOG_ENABLED)

    def _burn(self, address: int, bits: int) -> None:
        self._fixed[address] = self._fixed.get(address, 0) | bits

    def _run_spi_command(self) -> None:
        """Run the flash command in USR2 and put the answer into W0: identity, SFDP and a status of 0."""
        spi = self._chip.spi
        get = self._written.get
        command = get(spi.base + spi.usr2, 0) & 0xFF
        bits = (get(spi.base + spi.miso_length, 0) & 0x3FF) + 1
        answer = 0
        if command == _READ_ID:
            answer = self._chip.flash_id
        elif command == _READ_SFDP:
            address = get(spi.base + 4, 0) >> (8 if spi.address_in_msb else 0)
            answer = int.from_bytes(_SFDP_HEADER[address : address + 4].ljust(4, b"\xff"), "little")
        self._written[spi.base + spi.w0] = answer & ((1 << min(bits, 32)) - 1)
        self._written[spi.base] = get(spi.base, 0) & ~_SPI_START


@dataclass(frozen=True, slots=True)
class SpiPeripheral:
    """The SPI flash controller's "user command" registers, as offsets from `base`."""

    base: int
    usr2: int
    miso_length: int
    w0: int
    address_in_msb: bool


@dataclass(frozen=True, slots=True)
class Efuses:
    """The addresses of the fuses that esptool reads.

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
    """The ROM's output: its banner, boot modes, reset causes, and the lines before it loads segments."""

    banner: str
    flash_mode: str
    download_mode: str
    power_on: str = "0x1 (POWERON)"
    watchdog: str = "0x10 (RTCWDT_RTC_RST)"
    software: str = "0x3 (RTC_SW_SYS_RST)"
    loading: str = "SPIWP:0xee\r\nmode:DIO, clock div:1\r\n"


@dataclass(frozen=True, slots=True)
class VirtualChip(Chip):
    """A chip of a virtual board.

    Attributes:
        security_info: Whether the ROM answers GET_SECURITY_INFO.
        flash_size: Bytes of its flash.
        drom: Address where an application's constants are mapped, with its descriptor.
        iram: Address where code is loaded.
        uart_divider: Address of UART0's clock divider.
        crystal_hz: The clock that it divides.
        watchdog: Address of the RTC watchdog's first configuration register.
        registers: Address and value of all other registers that esptool reads.
    """

    security_info: bool
    flash_size: int
    spi: SpiPeripheral
    efuses: Efuses
    drom: int
    iram: int
    uart_divider: int
    crystal_hz: int
    watchdog: int
    boot: BootText
    registers: tuple[tuple[int, int], ...]

    @property
    def flash_id(self) -> int:
        """The flash's answer to command 9F, a Winbond W25Q: the maker in the lowest byte, log2 of its bytes above."""
        return (self.flash_size.bit_length() - 1) << 16 | 0x4000 | 0xEF


@dataclass(frozen=True, slots=True)
class Part:
    """A part number of a chip.

    Attributes:
        flash: MiB of flash.
        boot: The output of its ROM.
        values: The values that esptool reads at the names of its definition, plus an offset in bytes.
        crystal_mhz: Frequency of its crystal.
    """

    flash: int
    boot: BootText
    values: tuple[tuple[str, int, int], ...]
    crystal_mhz: int = 40


PARTS: Final = {
    "esp32": Part(  # ESP32-D0WD-V3, revision v3.1
        4,
        BootText(
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
        (
            (_MAGIC, 0, 0x00F01D83),
            (_FUSES, 0x0C, 1 << 15 | 1 << 13 | 1 << 9),  # package D0WD, 240 MHz, lowest bit of the major revision
            (_FUSES, 0x10, 128),  # CK8M_FREQ; with the calibration below the ROM finds a crystal of 40 MHz
            (_FUSES, 0x14, 1 << 24 | 1 << 20),  # revision x.1, second bit of the major revision
            ("APB_CTL_DATE_ADDR", 0, 1 << 31),  # third bit of the major revision
            ("RTCCALICFG1", 0, 800 << 7),
        ),
    ),
    "esp32s3": Part(  # ESP32-S3 (QFN56), revision v0.2, 8 MB of PSRAM
        8,
        BootText(
            "ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\n",
            "0x8 (SPI_FAST_FLASH_BOOT)",
            "0x0 (DOWNLOAD(USB/UART0))",
        ),
        (
            (_MAGIC, 0, 0x00000009),
            (_BLOCK1, 12, 2 << 18),  # minor revision
            (_BLOCK1, 16, 1 << 7 | 1 << 3),  # PSRAM: AP_3v3, 8 MB
            ("GPIO_STRAP_REG", 0, 1 << 3),
        ),
    ),
    "esp32c3": Part(  # ESP32-C3 (QFN32), revision v0.4
        4,
        BootText(
            "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n",
            "0xc (SPI_FAST_FLASH_BOOT)",
            "0x4 (DOWNLOAD(USB/UART0/1))",
        ),
        ((_MAGIC, 0, 0x1B31506F), (_BLOCK1, 12, 4 << 18)),
    ),
    "esp32c5": Part(  # ESP32-C5N, revision v1.0
        8,
        BootText(
            "ESP-ROM:esp32c5-eco2-20250121\r\nBuild:Jan 21 2025\r\n",
            "0x18 (SPI_FAST_FLASH_BOOT)",
            "0x8 (DOWNLOAD(USB/UART0))",  # GPIO28 is low: derived from the strapping bits, not from a log
            watchdog="0x10 (LP_WDT_SYS)",
            software="0xc (SW_CPU)",
            loading="SPI mode:DIO, clock div:1\r\n",
        ),
        ((_BLOCK1, 8, 1 << 4), ("PCR_SYSCLK_CONF_REG", 0, 48 << 24)),  # major revision; the ROM expects 48 MHz
        crystal_mhz=48,
    ),
    "esp32c6": Part(  # ESP32-C6 (QFN40), revision v0.1
        8,
        BootText(
            "ESP-ROM:esp32c6-20220919\r\nBuild:Sep 19 2022\r\n",
            "0xc (SPI_FAST_FLASH_BOOT)",
            "0x4 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))",
        ),
        ((_MAGIC, 0, 0x2CE0806F), (_BLOCK1, 12, 1 << 18)),
    ),
}


@cache
def find_chip(name: str) -> VirtualChip:
    """The virtual chip with a name.

    Raises:
        UsageError: The chip does not have a virtual board.
    """
    if name not in VIRTUAL_CHIPS:
        raise UsageError(f"{name} does not have a virtual board", hint=f"chips: {', '.join(VIRTUAL_CHIPS)}")
    return _virtual(find_row(name), PARTS[name], CHIP_ADDRESSES[name])


def _virtual(chip: Chip, part: Part, rom: Mapping[str, int]) -> VirtualChip:
    row: dict[str, Any] = {item.name: getattr(chip, item.name) for item in fields(chip)}
    return VirtualChip(
        **row,
        security_info=bool(rom["SECURITY_INFO_SUPPORTED"]),
        flash_size=part.flash * _MEBIBYTE,
        spi=SpiPeripheral(
            rom["SPI_REG_BASE"],
            usr2=rom["SPI_USR2_OFFS"],
            miso_length=rom["SPI_MISO_DLEN_OFFS"],
            w0=rom["SPI_W0_OFFS"],
            address_in_msb=bool(rom["SPI_ADDR_REG_MSB"]),
        ),
        efuses=_efuses(rom),
        drom=rom["DROM_MAP_START"],
        iram=rom["IRAM"],
        uart_divider=rom["UART_CLKDIV_REG"],
        crystal_hz=part.crystal_mhz * 1_000_000,
        watchdog=rom.get("RTC_CNTL_WDTCONFIG0_REG", _ESP32_WATCHDOG),
        boot=part.boot,
        registers=tuple((rom[name] + offset, value) for name, offset, value in part.values),
    )


def _efuses(rom: Mapping[str, int]) -> Efuses:
    """The addresses of the fuses; the ESP32's layout differs from all later chips'."""
    crypt_count = (rom["EFUSE_SPI_BOOT_CRYPT_CNT_REG"], rom["EFUSE_SPI_BOOT_CRYPT_CNT_MASK"])
    if "MAC_EFUSE_REG" not in rom:
        mac = rom["EFUSE_RD_REG_BASE"] + 4
        abs_done = (rom["EFUSE_RD_ABS_DONE_REG"], rom["EFUSE_RD_ABS_DONE_1_MASK"])  # secure boot version 2
        return Efuses((mac, mac + 4), crypt_count, abs_done)
    secure_boot = (rom["EFUSE_SECURE_BOOT_EN_REG"], rom["EFUSE_SECURE_BOOT_EN_MASK"])
    return Efuses((rom["MAC_EFUSE_REG"], rom["MAC_EFUSE_REG"] + 4), crypt_count, secure_boot)
