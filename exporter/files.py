"""Writing results: beside their place, then renamed, and several files all or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from exporter.errors import OutputError


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write all files, or leave everything as it was; folders are made where they are missing.

    Raises:
        OutputError: A file cannot be written.
    """
    waiting: dict[Path, Path] = {}
    former: dict[Path, bytes | None] = {}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting[path] = _write_beside(path, content)
        for path in contents:
            former[path] = path.read_bytes() if path.exists() else None
            waiting[path].replace(path)
            del waiting[path]
    except BaseException as error:  # an interrupt too leaves nothing half done
        for path, content_before in former.items():
            if path in waiting:
                continue
            if content_before is None:
                path.unlink(missing_ok=True)
            else:
                _write_beside(path, content_before).replace(path)
        if isinstance(error, OSError):
            where = error.filename or "the result"
            raise OutputError(f"cannot write {where}: {error.strerror}") from error
        raise
    finally:
        for beside in waiting.values():
            beside.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write beside its place, and put it there once the block is through; nothing is left otherwise.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        beside = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
            beside.chmod(0o666 & ~_umask())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _write_beside(path: Path, content: bytes) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        beside.chmod(0o666 & ~_umask())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return beside


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
