"""Input from outside: files opened safely, and their text made safe to print."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol

from mww.core.errors import InputError, MwwError

LONGEST: Final = 480
"""The longest line that is printed, in characters."""

LONGEST_NAME: Final = 160
"""The longest name within a line or table, in characters."""

_LONGEST_VALUE: Final = 60

_FLAGS: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))
_KINDS: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_KERNEL: Final = ("/proc", "/sys")
"""File systems whose regular files may have no end, or wait for an event."""

MAX_ENTRIES: Final = 1_000_000
"""The most files and folders below a folder that are examined."""


def printable(text: str, keep: str = "", longest: int | None = LONGEST) -> str:
    """Make text from outside safe to print: it cannot control a terminal or fill it.

    Args:
        text: Any text.
        keep: Control characters that stay.
        longest: Characters that are left of a longer text, without its middle: a reason often comes last. None: all.
    """
    if longest is not None and len(text) > longest:
        text = f"{text[: longest // 2]} \N{HORIZONTAL ELLIPSIS} {text[-(longest // 2) :]}"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else "\N{REPLACEMENT CHARACTER}" for letter in text)


def printable_name(text: str) -> str:
    """A name of a clip, model, board or program, made safe to print within a line or table."""
    return printable(text, longest=LONGEST_NAME)


def shown(value: object) -> str:
    """A value from outside as an error shows it: short, on one line, of numbers and lists of any size too."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # of a whole number: more digits than Python writes
        return f"{type(value).__name__} that is too long to show"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that the system refuses, as too long a name, names no file.

    `Path.is_file` raises for some of these names.
    """
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether a folder is there; see `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112


def is_there(path: Path) -> bool:
    """Whether anything of that name is there; see `is_file`."""
    return os.path.exists(path)  # noqa: PTH110


class Readable(Protocol):
    """A `Path`, or a file elsewhere that opens as one does; `str()` is what errors call it."""

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Open it for reading; the result can seek.

        Raises:
            OSError: It cannot be opened; so may reading it later.
        """
        ...


def open_regular(path: Readable) -> BinaryIO:
    """Open a regular file on a disk for reading; other kinds may wait forever, or never end.

    Raises:
        OSError: It cannot be opened, or is a folder, pipe, device, socket or file of the kernel, as `strerror` says.
    """
    if not isinstance(path, Path):
        return path.open("rb")
    try:
        _refuse_others(path, path.stat())  # before opening it, since opening changes the state of many devices
        handle = os.open(path, _FLAGS)
    except ValueError as error:
        raise OSError(errno.EINVAL, "the name holds a zero byte", str(path)) from error
    try:
        _refuse_others(path, os.fstat(handle))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Readable, most: int) -> bytes:
    """Read a regular file of `most` bytes at most; the size is looked at before anything is read.

    Raises:
        OSError: As for `open_regular`, or the file is larger.
    """
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        content = b"" if size > most else file.read(most + 1)
    if max(size, len(content)) > most:
        limit = f"{most >> 10} kB" if most >= 1 << 10 else f"{most} bytes"
        raise OSError(errno.EFBIG, f"it is larger than {limit}", str(path))
    return content


@contextmanager
def reading(path: object, *, hint: str, error: type[MwwError] = InputError) -> Iterator[None]:
    """Turn an `OSError` of the block into an error that says why `path` cannot be read."""
    try:
        yield
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror or problem}", hint=hint) from problem


def _refuse_others(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", str(path))
    if stat.S_ISREG(status.st_mode) and status.st_dev not in _kernel_devices():
        return
    kind = next((name for test, name in _KINDS if test(status.st_mode)), "a file of the kernel")
    raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


def _kernel_devices() -> set[int]:
    return {Path(folder).stat().st_dev for folder in _KERNEL if Path(folder).is_mount()}


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and all below it; links to folders are not followed, folders that cannot be read are empty.

    Raises:
        OSError: It is the root of the file system, or holds more than `MAX_ENTRIES`.
    """
    if folder.resolve() == Path(folder.resolve().anchor):
        raise OSError(errno.EINVAL, "it is the whole file system", str(folder))
    entries = 0
    for parent, folders, files in os.walk(folder):
        entries += len(folders) + len(files)
        if entries > MAX_ENTRIES:
            raise OSError(errno.EFBIG, f"it holds more than {MAX_ENTRIES} files", str(folder))
        yield from (Path(parent, name) for name in files)
