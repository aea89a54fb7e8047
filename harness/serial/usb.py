"""What stands between a USB port and an ESP32, by vendor and product number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_VENDORS: Final[Mapping[int, str]] = {
    0x303A: "Espressif",
    0x10C4: "Silicon Labs",
    0x1A86: "WCH",
    0x0403: "FTDI",
    0x067B: "Prolific",
}
"""USB vendors of the ports that ESP32 boards have."""

_PRODUCTS: Final[Mapping[tuple[int, int], str]] = {
    (0x303A, 0x1001): "USB-Serial-JTAG, in the chip",
    (0x303A, 0x1002): "ESP USB Bridge",
    (0x10C4, 0xEA60): "CP2102 or CP2104",
    (0x10C4, 0xEA70): "CP2105",
    (0x10C4, 0xEA71): "CP2108",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D3): "CH343",
    (0x1A86, 0x55D4): "CH9102",
    (0x0403, 0x6001): "FT232R",
    (0x0403, 0x6010): "FT2232",
    (0x0403, 0x6014): "FT232H",
    (0x0403, 0x6015): "FT230X or FT231X",
    (0x067B, 0x2303): "PL2303",
    (0x067B, 0x23A3): "PL2303GC",
}

UDEV_RULE: Final = (
    'SUBSYSTEM=="tty", '
    f'ATTRS{{idVendor}}=="{"|".join(f"{vendor:04x}" for vendor in _VENDORS)}", MODE="0660", TAG+="uaccess"'
)
"""What gives the user at the desk every such port, in /etc/udev/rules.d/60-esp32.rules."""


def bridge_name(vendor: int, product: int) -> str:
    """What a port's numbers say that it is; empty where they are those of no ESP32 board."""
    maker, kind = _VENDORS.get(vendor, ""), _PRODUCTS.get((vendor, product), "")
    return f"{maker} {kind}".strip() if kind else maker
