"""Writing results: beside their place, then renamed, and several files all or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mww.core.errors import OutputError
from mww.core.scratch import ScratchFile


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write all files, or leave everything as it was; folders are made where they are missing.

    Raises:
        OutputError: A file cannot be written.
    """
    waiting: dict[Path, ScratchFile] = {}
    former: dict[Path, bytes | None] = {}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting[path] = ScratchFile(path)
            waiting[path].stream.write(content)
            waiting[path].stream.flush()
        for path in contents:
            former[path] = path.read_bytes() if path.exists() else None
            waiting[path].keep()
            del waiting[path]
    except BaseException as error:  # an interrupt too leaves nothing half done
        for path, content_before in former.items():
            if path not in waiting:
                _restore(path, content_before)
        if isinstance(error, OSError):
            where = error.filename or "the result"
            raise OutputError(
                f"cannot write {where}: {error.strerror}",
                hint="choose another place: is the disk full, or the folder write-protected?",
            ) from error
        raise
    finally:
        for beside in waiting.values():
            beside.discard()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write beside its place, and put it there once the block is through; nothing is left otherwise.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = ScratchFile(path)
        try:
            yield beside.stream
            beside.keep()
        finally:
            beside.discard()
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}",
            hint="choose another place: is the disk full, or the folder write-protected?",
        ) from error


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
