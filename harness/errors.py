"""Errors of the harness: what can go wrong between host and board, each kept apart from the others."""

from __future__ import annotations

from typing import Final

from exporter.errors import InputError, MwwError


class GoldenError(InputError):
    """A golden that cannot be read, or was recorded from another model."""

    code = "golden"


class LinkError(MwwError):
    """The link to a board failed; the subclass says how."""

    code = "link"


class WireFormatError(LinkError):
    """Bytes that are no message of the protocol, or values that no message can carry."""

    code = "wire-format"


class ModelPartitionError(LinkError):
    """Models that no model partition of this size can hold."""

    code = "model-partition"


class NoReplyError(LinkError):
    """Nothing at all came back."""

    code = "no-reply"


class WrongFirmwareError(LinkError):
    """Something answers, but it is not this firmware."""

    code = "wrong-firmware"


class BootLoopError(WrongFirmwareError):
    """The board starts again and again, and never gets to its firmware's answer."""

    code = "boot-loop"


class ProtocolVersionError(LinkError):
    """Host and board share no protocol version."""

    code = "protocol-version"


class RebootedError(LinkError):
    """The board restarted in the middle of the work."""

    code = "rebooted"


class HungError(LinkError):
    """The board was there, and stopped answering."""

    code = "hung"


class NoisyLinkError(LinkError):
    """Frames come and go, but too many are damaged to get anything done."""

    code = "link-noise"


class PortBusyError(LinkError):
    """Another process holds the port."""

    code = "port-busy"


class PortMissingError(LinkError):
    """The port does not exist, cannot be opened, or went away and did not come back."""

    code = "port-missing"


GONE_CODES: Final = frozenset(
    kind.code for kind in (NoReplyError, WrongFirmwareError, BootLoopError, HungError, PortMissingError)
)
"""Of errors after which a board is not there, or not to be had."""


class DeviceError(LinkError):
    """The board refused or failed a request; `code` is the slug of the board's own error code."""

    def __init__(self, message: str, *, slug: str, detail: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = slug
        self.detail = detail


class ModelMissingError(MwwError):
    """A board has another model, and may not be given this one."""

    code = "model-missing"


class HostBuildError(MwwError):
    """The firmware's core cannot be built for this machine."""

    code = "host-build"


class ImageError(MwwError):
    """A firmware image or partition table that no chip would boot, or not this one; the message is the bootloader's."""

    code = "image"


class FlashingError(MwwError):
    """A board could not be flashed; the message is esptool's where the failure is its own."""

    code = "flashing"


class ClusterError(MwwError):
    """The cluster cannot be reached, lost its scheduler or workers, or has workers that cannot do the work."""

    code = "cluster"


class VirtualBoardError(MwwError):
    """A virtual board could not be started, or ended by itself."""

    code = "virtual-board"


class BenchmarkError(MwwError):
    """A side of a benchmark failed, or the two sides did not do the same."""

    code = "benchmark"


class QemuError(MwwError):
    """QEMU could not be started, or the firmware in it does not answer."""

    code = "qemu"


class EsphomeError(MwwError):
    """A release of ESPHome cannot be had, or does not answer."""

    code = "esphome"
