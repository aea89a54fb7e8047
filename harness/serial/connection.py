"""Opens a port: a device path, `socket://`, `rfc2217://` or any other pyserial URL.

A board is identified by its USB serial number, not by its path, so that it is recognised again after it re-enumerates.
"""

from __future__ import annotations

import errno
import re
import socket
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from harness.serial.ports import access, port_users
from mww.core.errors import PortBusyError, PortMissingError
from mww.core.readable import is_there

if TYPE_CHECKING:
    import serial

DEFAULT_BAUD: Final = 921_600
"""From this baud rate on, the device limits the frames a second, not the link."""

_READ_TIMEOUT: Final = 0.1  # seconds that a read may block, and so also closing
_WRITE_TIMEOUT: Final = 2.0  # seconds for a window's bytes, which take a fraction of a second even at 115200 baud
_CONNECT_TIMEOUT: Final = 3.0
_SEARCH_INTERVAL: Final = 0.1
_RESET_PULSE: Final = 0.1  # seconds, as in esptool
_REFUSAL: Final = 128  # bytes at the start of a connection that may contain the reason of its end


class Port(Protocol):
    """A byte stream to a board. `read` and `write` may run in two threads."""

    def read(self) -> bytes:
        """The bytes that have arrived, or none after a short time.

        Raises:
            PortMissingError: The port is gone.
        """
        ...

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            PortMissingError: The port is gone, or no longer accepts bytes.
        """
        ...

    def reset_chip(self) -> bool:
        """Pulse the board's reset with the port's control lines; False where the port has none."""
        ...

    def close(self) -> None:
        """Close the port; harmless a second time."""
        ...


@dataclass(frozen=True, slots=True)
class PortIdentity:
    """A port's place, and its USB device; `serial_number` is empty without one."""

    url: str
    serial_number: str = ""
    vid: int = 0
    pid: int = 0


def identify(url: str) -> PortIdentity:
    """The identity of the port that `url` names at this moment."""
    from serial.tools.list_ports import comports

    if "://" in url:
        return PortIdentity(url)
    path = str(Path(url).resolve())
    for port in comports():
        if path == str(Path(port.device).resolve()) and port.serial_number:
            return PortIdentity(url, port.serial_number, port.vid or 0, port.pid or 0)
    return PortIdentity(url)


def locate(identity: PortIdentity) -> str | None:
    """The current port of the device with that identity; None while it is away."""
    from serial.tools.list_ports import comports

    if "://" in identity.url:
        return identity.url
    if not identity.serial_number:
        return identity.url if is_there(Path(identity.url)) else None
    wanted = (identity.serial_number, identity.vid, identity.pid)
    results = [port.device for port in comports() if (port.serial_number, port.vid or 0, port.pid or 0) == wanted]
    return None if not results else identity.url if identity.url in results else str(results[0])


def open_port(url: str, baud: int = DEFAULT_BAUD) -> Port:
    """Open a port for this process alone.

    Raises:
        PortBusyError: Another process holds it.
        PortMissingError: It does not exist or cannot be opened.
    """
    if url.startswith("socket://"):
        return SocketPort(url)
    return PyserialPort(url, baud)


def reopen_port(identity: PortIdentity, baud: int, *, timeout: float) -> Port:
    """Open the device of that identity at its current port; a device with a serial number may take `timeout` seconds.

    Raises:
        PortBusyError: Another process holds it.
        PortMissingError: It did not appear again.
    """
    deadline = time.monotonic() + (timeout if identity.serial_number else 0)
    while True:
        url = locate(identity)
        try:
            if url is not None:
                return open_port(url, baud)
        except (PortMissingError, PortBusyError):
            if time.monotonic() >= deadline:
                raise
        if time.monotonic() >= deadline:
            raise _gone(identity.url)
        time.sleep(_SEARCH_INTERVAL)


class SocketPort:
    """`socket://HOST:PORT`; pyserial's own reads one byte at a time."""

    def __init__(self, url: str) -> None:
        try:
            address = urlsplit(url)
            host, port = address.hostname or "localhost", address.port
        except ValueError:
            host, port = "", None
        if port is None:
            raise PortMissingError(f"{url} has no TCP port", hint="write socket://HOST:PORT")
        self._url = url
        try:
            self._socket = socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT)
        except OSError as error:
            raise PortMissingError(
                f"cannot connect to {url}: {error}", hint="check that the board's server runs"
            ) from None
        except ValueError:  # UnicodeError: a part of the name is empty, too long, or not text
            raise PortMissingError(f"{url} has no host", hint="write socket://HOST:PORT") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(_READ_TIMEOUT)
        self._beginning = b""

    def read(self) -> bytes:
        """See `Port`; where the port is in use, its server sends that text and closes the connection."""
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return b""
        except OSError:
            raise self._ended() from None
        if not data:
            raise self._ended()
        if len(self._beginning) < _REFUSAL:
            self._beginning += data[:_REFUSAL]
        return data

    def write(self, data: bytes) -> None:
        """See `Port`."""
        deadline = time.monotonic() + _WRITE_TIMEOUT
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise _stuck(self._url) from None
            except OSError:
                raise self._ended() from None

    def _ended(self) -> PortBusyError | PortMissingError:
        return port_busy(self._url) if is_refusal(self._beginning) else _gone(self._url)

    def reset_chip(self) -> bool:
        """See `Port`."""
        return False

    def close(self) -> None:
        """See `Port`."""
        self._socket.close()


class PyserialPort:
    """Any other port, through pyserial."""

    def __init__(self, url: str, baud: int) -> None:
        import serial

        self._url = url
        exclusive = None if "://" in url else True
        write_timeout = None if url.startswith("rfc2217://") else _WRITE_TIMEOUT  # which pyserial does not have there
        try:
            self._serial: serial.Serial = serial.serial_for_url(
                url, baudrate=baud, timeout=_READ_TIMEOUT, write_timeout=write_timeout, exclusive=exclusive
            )
        except (OSError, ValueError, re.error, termios.error) as error:  # the last: the terminal disappeared
            raise _cannot_open(url, error) from None

    def read(self) -> bytes:
        """See `Port`."""
        try:
            return bytes(self._serial.read(self._serial.in_waiting or 1))
        except (OSError, TypeError, ValueError):  # pyserial raises these two when the port closes under a read
            raise _gone(self._url) from None

    def write(self, data: bytes) -> None:
        """See `Port`."""
        import serial

        try:
            self._serial.write(data)
        except serial.SerialTimeoutException:
            raise _stuck(self._url) from None
        except OSError:
            raise _gone(self._url) from None

    def reset_chip(self) -> bool:
        """See `Port`; the lines are set as esptool does for every development board."""
        try:
            self._serial.dtr = False
            self._serial.rts = True
            time.sleep(_RESET_PULSE)
            self._serial.rts = False
        except OSError:
            return False  # a pseudo terminal
        return True

    def close(self) -> None:
        """See `Port`."""
        self._serial.close()


def port_busy(url: str) -> PortBusyError:
    """The error for a port that another program uses; it names the program where possible."""
    users = " and ".join(port_users(url)) or "another program"
    return PortBusyError(f"{url} is in use by {users}", hint="close it, or wait for its lease")


def is_refusal(beginning: bytes) -> bool:
    """Whether the first bytes of a connection say that the port is in use, as ser2net and virtual boards do."""
    return b"in use" in beginning


def _cannot_open(url: str, error: Exception) -> PortBusyError | PortMissingError:
    allowed = access(url)
    if not allowed.allowed:
        return PortMissingError(allowed.message, hint=allowed.hint)
    text = str(error)
    if getattr(error, "errno", None) in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return port_busy(url)
    if url.startswith("rfc2217://") and _refuses(url):
        return port_busy(url)
    hint = "give a device path, socket://HOST:PORT or another pyserial URL"
    return PortMissingError(f"cannot open {url}: {text}", hint=hint)


def _refuses(url: str) -> bool:
    """Whether a server closes the connection with the text that its port is in use; pyserial does not report it."""
    try:
        address = urlsplit(url)
        with socket.create_connection((address.hostname or "", address.port or 0), _CONNECT_TIMEOUT) as connection:
            return is_refusal(connection.recv(_REFUSAL))
    except (OSError, ValueError):
        return False


def _gone(url: str) -> PortMissingError:
    return PortMissingError(f"{url} went away", hint="check its cable and power; a crash loop looks the same")


def _stuck(url: str) -> PortMissingError:
    return PortMissingError(f"{url} no longer accepts bytes", hint="unplug the board and plug it in again")
