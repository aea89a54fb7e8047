"""A connection to a board's bootloader by esptool's public functions, without its output, and with our errors."""

from __future__ import annotations

import logging
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from harness.serial.connection import port_busy
from harness.serial.port_users import port_users
from harness.serial.ports import access
from mww.core.errors import FlashingError, PortMissingError
from mww.core.progress import Progress, no_progress

if TYPE_CHECKING:
    import serial

ROM_BAUD: Final = 115_200
"""What every bootloader starts at."""
_TIMEOUT: Final = 3.0
"""Seconds: esptool's own default. A port that has it is not set up anew at each command, which takes rfc2217 100 ms."""

_VANISHED: Final = (OSError, termios.error, TypeError, AttributeError, struct.error)
"""What pyserial and esptool raise when a port goes away under them: the last three over answers that make no sense."""

_log = logging.getLogger(__name__)

"""Takes what is being done, and how much of how much."""


class _Sink:
    """Where esptool's progress goes. It has one logger a process, and before version 5.4 takes only its class."""

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
    """Report the progress of what esptool does within as that of `what`."""
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
    """Turn esptool's failures into FlashingError."""
    from esptool.util import FatalError

    try:
        yield
    except FatalError as error:
        if port_users(port):
            raise port_busy(port) from error
        text = " ".join(str(error).split("\nFor troubleshooting")[0].split())
        raise FlashingError(f"{port}: {text}", hint=_hint_for(text)) from error
    except _VANISHED as error:
        raise FlashingError(f"{port} went away: {error}", hint="look at the cable and the board's power") from error


def _hint_for(text: str) -> str:
    if "connect" in text or "boot mode" in text:
        return "hold BOOT while you press and release RESET (EN), then run it again; look at the cable and the port"
    if "MD5" in text or "Verification" in text:
        return "run it again with a lower --baud; if it stays, the flash is worn"
    return "run it again with a lower --baud, such as 115200"


@cache
def _quieten() -> None:
    """Give esptool a logger that prints nothing, once: esptool keeps the first logger."""
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
