"""Writing results: beside their place, then renamed, and several files all or none; pipes and devices as streams."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from mww.core.errors import OutputError
from mww.core.readable import is_folder, is_there, read_regular
from mww.core.scratch import ScratchFile

_OWN: Final = re.compile(
    r"/(?:dev|proc/(?:self|thread-self)|proc/(?P<process>\d+))/(?:fd/(?P<number>\d{1,9})|(?P<name>std\w+))"
)
"""Names of files that this process has open."""

_STANDARD: Final = {"stdout": 1, "stderr": 2}
_LONGEST_PART, _LONGEST_PATH = 255, 4000
"""Bytes of a name and of a path that Linux takes, with room for the files of a folder."""
_MAX_LINKS: Final = 40
LARGEST_FORMER: Final = 256 << 20
_FLAGS: Final = os.O_WRONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY"))
_HINT: Final = "choose another place; the disk may be full, or the folder write-protected"


class _Stream(io.BufferedWriter):
    """A stream, which cannot seek; a device such as /dev/null claims that it can."""

    def seekable(self) -> bool:
        return False

    def seek(self, target: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("a stream cannot seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("a stream has no position")


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write all files, or leave everything as it was; folders are made where they are missing.

    A pipe, a terminal or another device is written as a stream once all files are ready, and never replaced.

    Raises:
        OutputError: A file cannot be written.
    """
    waiting: dict[Path, ScratchFile] = {}
    former: dict[Path, bytes | None] = {}
    at = None
    try:
        streams = [path for path in contents if _is_stream(path)]
        files = [path for path in contents if path not in streams]
        for at in files:
            waiting[at] = _beside(at)
            waiting[at].stream.write(contents[at])
            waiting[at].stream.flush()
        for at in streams:
            with _open_stream(at) as stream:
                stream.write(contents[at])
        for at in files:
            if len(files) > 1:  # otherwise nothing can be left incomplete
                former[at] = _former(at)
            waiting[at].keep()
            del waiting[at]
    except BaseException as error:  # an interrupt also leaves nothing incomplete
        for path, content_before in former.items():
            if path not in waiting:
                _restore(path, content_before)
        if isinstance(error, OSError):
            raise _cannot_write(at, error) from error
        raise
    finally:
        for beside in waiting.values():
            beside.discard()


def _former(path: Path) -> bytes | None:
    """The content of a file that is about to be replaced; None where it does not exist.

    Raises:
        OSError: It cannot be read, or it is larger than any result.
    """
    return read_regular(path, LARGEST_FORMER) if is_there(path) else None


def _beside(path: Path) -> ScratchFile:
    """The file that is written before it takes the place of another; folders are made where they are missing.

    Raises:
        OSError: It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return ScratchFile(path)
    except ValueError as error:
        raise OSError(errno.EINVAL, "the name holds a zero byte", str(path)) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write beside its place, and rename it at the end of the block; after an error nothing is left.

    A pipe, a terminal or another device is written as a stream, which may not be able to seek.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        if _is_stream(path):
            with _open_stream(path) as stream:
                yield stream
            return
        beside = _beside(path)
        try:
            yield beside.stream
            beside.keep()
        finally:
            beside.discard()
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_folder(folder: Path) -> None:
    """Find out early, not after minutes of work, that nothing can be written into a folder.

    Raises:
        OutputError: It cannot be made, or cannot be written to.
    """
    existing = next((parent for parent in (folder, *folder.absolute().parents) if is_there(parent)), Path("/"))
    if not is_folder(existing) or not os.access(existing, os.W_OK | os.X_OK):
        reason = "is not a folder" if not is_folder(existing) else "cannot be written to"
        raise OutputError(f"{existing} {reason}", hint="choose another --output")
    too_long = max((len(os.fsencode(part)) for part in folder.parts), default=0) > _LONGEST_PART
    if too_long or len(os.fsencode(folder.absolute())) > _LONGEST_PATH:
        raise OutputError("the name of the folder is too long", hint="choose another --output")


@contextmanager
def appending(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write at its end; a pipe or device as a stream, which waits for no reader.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        with _open_stream(path) if _is_stream(path) else path.open("ab") as stream:
            yield stream
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error if isinstance(error, OSError) else OSError(str(error))) from error


def _cannot_write(path: Path | None, error: OSError) -> OutputError:
    where = path or error.filename or "the result"
    if error.errno == errno.ENXIO:
        return OutputError(f"cannot write {where}: nobody reads from it", hint="start the reader first, or give a file")
    return OutputError(f"cannot write {where}: {error.strerror or error}", hint=_HINT)


def _is_stream(path: Path) -> bool:
    """Whether a path is written in place, not replaced: it is already open, or neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return _own_descriptor(path) is not None
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or _own_descriptor(path) is not None


def _own_descriptor(path: Path) -> int | None:
    """The descriptor that a name such as /dev/stdout, or a link to it, stands for; None for other names."""
    name = os.path.abspath(path)  # noqa: PTH100 -- resolve() would go on to the file behind the descriptor
    for _ in range(_MAX_LINKS):
        match = _OWN.fullmatch(name)
        if match and match["process"] in (None, str(os.getpid())):
            return int(match["number"]) if match["number"] else _STANDARD.get(match["name"])
        try:
            name = os.path.join(os.path.dirname(name), os.readlink(name))  # noqa: PTH115, PTH118, PTH120
        except (OSError, ValueError):
            return None
        name = os.path.normpath(name)
    return None


def _open_stream(path: Path) -> BinaryIO:
    """Open a pipe or device; a stream that this process has open continues at its position.

    Raises:
        OSError: It cannot be opened, nobody reads from it, or it is a disk.
    """
    descriptor = _own_descriptor(path)
    if descriptor is not None:
        sys.stdout.flush()
        return _Stream(io.FileIO(os.dup(descriptor), "wb"))
    if stat.S_ISBLK(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is a disk, which no result replaces", str(path))
    handle = os.open(path, _FLAGS)  # without waiting for a reader
    os.set_blocking(handle, True)
    return _Stream(io.FileIO(handle, "wb"))


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
        return
    beside = ScratchFile(path)
    try:
        beside.stream.write(content)
        beside.keep()
    finally:
        beside.discard()
