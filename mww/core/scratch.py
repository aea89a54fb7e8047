"""Temporary files and folders that do not accumulate: each has a lock, and the next process removes unlocked ones.

The lock is `flock`, which the kernel drops when the process ends in any way. A file is removed only if its name is one
of this module's, it belongs to the same user, and no process has locked it.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FOLDER_SUFFIX: Final = ".mww-scratch"
FILE_SUFFIX: Final = ".mww-part"

_NAME: Final = 100  # bytes of the result's name, which may be as long as the file system takes
_LOOK: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))


@contextmanager
def scratch_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a private folder in `parent` (the system's for temporary files), and remove it after the block.

    Folders of the same prefix that a killed process left are removed before.

    Raises:
        OSError: It cannot be made.
    """
    parent = parent or Path(tempfile.gettempdir())
    if sys.platform == "win32":  # without file locks nothing is swept, and a folder cannot be opened
        with tempfile.TemporaryDirectory(prefix=prefix, suffix=FOLDER_SUFFIX, dir=parent) as name:
            yield Path(name)
        return
    sweep(parent, prefix, FOLDER_SUFFIX)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=FOLDER_SUFFIX, dir=parent))
        with suppress(FileNotFoundError):  # another process removed it before it was locked
            handle = os.open(folder, _LOOK)
            if _own(handle, folder):
                break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


class ScratchFile:
    """A file beside the file that it is to replace, locked until `keep` or `discard`."""

    def __init__(self, path: Path) -> None:
        """Make it, empty, and remove what a killed process left in the same folder.

        Raises:
            OSError: It cannot be made.
        """
        sweep(path.parent, ".", FILE_SUFFIX)
        self._final = path
        short = os.fsdecode(os.fsencode(path.name)[:_NAME])
        while True:
            handle, name = tempfile.mkstemp(prefix=f".{short}.", suffix=FILE_SUFFIX, dir=path.parent)
            self._path = Path(name)
            if _own(handle, self._path):
                break
        self.stream = os.fdopen(handle, "wb")

    def keep(self) -> None:
        """Put the file into its place, readable as the umask has it.

        Raises:
            OSError: It cannot be put there.
        """
        self.stream.flush()
        self._path.chmod(0o666 & ~_umask())
        if sys.platform == "win32":  # an open file cannot be renamed there
            self.stream.close()
        self._path.replace(self._final)
        self.stream.close()

    def discard(self) -> None:
        """Remove the file unless it was kept; harmless a second time."""
        if not self.stream.closed:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # of a full disk: what was not written yet
                self.stream.close()


def sweep(parent: Path, prefix: str, suffix: str) -> None:
    """Remove unlocked files of this module in a folder; files that cannot be removed stay."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(prefix) and entry.name.endswith(suffix)]
    except OSError:
        return
    for name in names:
        _remove(parent / name)


def _remove(path: Path) -> None:
    try:
        handle = os.open(path, _LOOK)
    except OSError:
        return
    try:
        _lock(handle)
        status = os.fstat(handle)
        if status.st_uid == os.geteuid() and stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path, ignore_errors=True)
        elif status.st_uid == os.geteuid():
            path.unlink(missing_ok=True)
    except OSError:
        return  # its owner lives, or the file system does not support locks
    finally:
        os.close(handle)


def _own(handle: int, path: Path) -> bool:
    """Lock a new file; if that fails, close it, since another process is removing it."""
    try:
        _lock(handle)
    except BlockingIOError:
        os.close(handle)
        return False
    except OSError:
        return True  # without locks no process removes files either
    if path.exists():
        return True
    os.close(handle)
    return False


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        raise OSError("no file locks here")
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
