"""A chip's registers as esptool reads and writes them: constants, eFuses, and the SPI controller's user commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.virtual.chips import VirtualChip
from mww.core.errors import UsageError

_WATCHDOG_ENABLED: Final = 1 << 31
_SPI_START: Final = 1 << 18
_MAX_WRITTEN: Final = 4096  # distinct addresses; esptool writes a dozen

_READ_ID: Final = 0x9F
_READ_SFDP: Final = 0x5A
_SFDP_HEADER: Final = b"SFDP" + bytes([6, 1, 0, 0xFF, 0, 6, 1, 16, 0x80, 0, 0, 0xFF])
"""Revision 1.6 and one parameter header: enough to see that a flash is there, and not of XMC's making."""


@dataclass(frozen=True, slots=True)
class Security:
    """Which of a chip's security features are burnt."""

    secure_boot: bool = False
    flash_encryption: bool = False
    secure_download: bool = False

    @property
    def flags(self) -> int:
        """The flags of GET_SECURITY_INFO."""
        return self.secure_boot << 0 | self.secure_download << 2


UNSECURED: Final = Security()
SECURITY_FEATURES: Final = ("secure-boot", "flash-encryption", "secure-download")


def security_of(features: tuple[str, ...]) -> Security:
    """Read feature names, as the command line gives them.

    Raises:
        UsageError: One of them is not in `SECURITY_FEATURES`.
    """
    for feature in features:
        if feature not in SECURITY_FEATURES:
            raise UsageError(f"no eFuse {feature}", hint=f"eFuses: {', '.join(SECURITY_FEATURES)}")
    return Security(**{feature.replace("-", "_"): True for feature in features})


class Registers:
    """The register file of one chip; addresses that nothing is known of read as what was last written, else 0."""

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
            self._fixed[high] |= 0xFFFE << 16  # the extension that makes an EUI-64 of a MAC
        if security.flash_encryption:
            address, mask = fuses.crypt_count
            self._burn(address, mask & -mask)
        if security.secure_boot:
            self._burn(*fuses.secure_boot)

    def set_baud(self, baud: int) -> None:
        """Follow the UART's rate, from which esptool works out the crystal."""
        self._baud = baud

    def read(self, address: int) -> int:
        """Return a register's 32 bits."""
        if address == self._chip.uart_divider:
            return self._chip.crystal_hz // self._baud
        if address in self._fixed:
            return self._fixed[address]
        return self._written.get(address, 0)

    def write(self, address: int, value: int, mask: int) -> bool:
        """Write the bits in `mask`; True if that armed the watchdog, which then resets the chip."""
        if address not in self._written and len(self._written) >= _MAX_WRITTEN:
            return False
        self._written[address] = self._written.get(address, 0) & ~mask | value & mask
        if address == self._chip.spi.base and value & _SPI_START:
            self._run_spi_command()
        return address == self._chip.watchdog and bool(value & _WATCHDOG_ENABLED)

    def _burn(self, address: int, bits: int) -> None:
        self._fixed[address] = self._fixed.get(address, 0) | bits

    def _run_spi_command(self) -> None:
        """Do the flash command in USR2 and put the answer into W0: identity, SFDP and a status of 0."""
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
