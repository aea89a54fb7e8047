"""Archives of arrays (`.npz`): a strict reader, block by block, and a writer that writes completely or not at all.

The reader refuses pickles, zip bombs and members with a false size. `harness.clips.clip` and `harness.clips.golden`
define what the arrays mean.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mww.core.closing import Closing
from mww.core.errors import FeatureError
from mww.core.files import replacing
from mww.core.npy import read_npy_header
from mww.core.readable import Readable, open_regular

MAX_MEMBERS: Final = 100_000
MAX_BYTES: Final = 8 * 1024**3
"""Unpacked bytes of all members together: 150 hours of clips as int8."""

_MAX_TEXT: Final = 64 * 1024**2
_SUFFIX: Final = ".npy"
_format: Final[Any] = np.lib.format  # without types before numpy 2
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the same content gives the same file
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, tokenize.TokenError, RuntimeError)
"""RuntimeError: an encrypted member; TokenError: a header that numpy tries to repair as a Python 2 header."""


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """The header of a member, checked against the member's size."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran_order: bool


class Archive(Closing):
    """An `.npz` opened for reading; an array's header is checked at its first use."""

    def __init__(self, path: Readable) -> None:
        """Open an archive and check its directory.

        Raises:
            FeatureError: The file cannot be read, is not an `.npz`, or is too large.
        """
        self.path = path
        with ExitStack() as stack:
            self._zip = self._opened(path, stack)
            self._members = self._directory()
            self._open_files = stack.pop_all()

    @staticmethod
    def _opened(path: Readable, stack: ExitStack) -> zipfile.ZipFile:
        try:
            return stack.enter_context(zipfile.ZipFile(stack.enter_context(open_regular(path))))
        except OSError as error:
            raise FeatureError(
                f"cannot read {path}: {error.strerror or error}",
                hint="give an .npz archive that mww features or mww record wrote",
            ) from error
        except _DAMAGE as error:
            raise FeatureError(f"{path} is not an .npz file", hint="mww features writes one") from error

    def _directory(self) -> dict[str, zipfile.ZipInfo]:
        members = {info.filename: info for info in self._zip.infolist()}
        if len(members) != len(self._zip.infolist()):
            raise FeatureError(
                f"{self.path} holds two members with the same name",
                hint="make the archive again: mww features, mww record, or numpy.savez",
            )
        if any(info.compress_type not in _METHODS for info in members.values()):
            raise FeatureError(
                f"{self.path} uses a compression that numpy never uses", hint="numpy.savez_compressed writes one"
            )
        total = sum(info.file_size for info in members.values())
        if len(members) > MAX_MEMBERS or total > MAX_BYTES:
            message = f"{self.path} holds {len(members)} arrays of {total} bytes"
            raise FeatureError(message, hint=f"at most {MAX_MEMBERS} arrays and {MAX_BYTES >> 30} GB; split it")
        return members

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays, in the file's order."""
        return tuple(name[: -len(_SUFFIX)] for name in self._members if name.endswith(_SUFFIX))

    @property
    def note(self) -> str:
        """The comment of the zip file, 64 kB at most."""
        return self._zip.comment.decode(errors="replace")

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def text(self, member: str) -> str:
        """A member that is not an array, as text.

        Raises:
            FeatureError: It is absent, damaged, or too large.
        """
        info = self._info(member)
        if info.file_size > _MAX_TEXT:
            raise FeatureError(f"{self.path}: {member} has {info.file_size} bytes", hint=f"at most {_MAX_TEXT}")
        try:
            return self._zip.read(info).decode()
        except (*_DAMAGE, OSError) as error:
            raise self._damaged(member, error) from error

    def info(self, name: str) -> ArrayInfo:
        """Type and shape of an array.

        Raises:
            FeatureError: It is absent or damaged, holds Python objects, or has another size than its header gives.
        """
        with self._open(name) as (_, info):
            return info

    def blocks(self, name: str, rows: int) -> Iterator[npt.NDArray[np.generic]]:
        """Yield an array in blocks of `rows` rows.

        Raises:
            FeatureError: As for `info`.
        """
        with self._open(name) as (stream, info):
            if info.fortran_order and len(info.shape) > 1:
                rows = max(1, info.shape[0])  # in column order, where a part cannot be read alone
            width = prod(info.shape[1:])
            for start in range(0, info.shape[0], rows):
                count = min(rows, info.shape[0] - start)
                data = stream.read(count * width * info.dtype.itemsize)
                order: Literal["F", "C"] = "F" if info.fortran_order else "C"
                yield np.frombuffer(data, info.dtype).reshape((count, *info.shape[1:]), order=order)
            stream.read(1)  # the end of the stream compares the checksum

    def array(self, name: str) -> npt.NDArray[np.generic]:
        """A whole array.

        Raises:
            FeatureError: As for `info`.
        """
        info = self.info(name)
        blocks = list(self.blocks(name, max(1, info.shape[0])))
        return blocks[0] if blocks else np.empty(info.shape, info.dtype)

    def close(self) -> None:
        """Close the file."""
        self._open_files.close()

    def _info(self, member: str) -> zipfile.ZipInfo:
        if member not in self._members:
            raise FeatureError(
                f"{self.path} does not have {member}", hint="make the archive again: mww features or mww record"
            )
        return self._members[member]

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], ArrayInfo]]:
        """An array's stream, after its header; damage anywhere in the block raises the same error."""
        member = self._info(name + _SUFFIX)
        try:
            with self._zip.open(member) as stream:
                yield stream, self._header(name, stream, member.file_size)
        except (*_DAMAGE, OSError) as error:
            raise self._damaged(name, error) from error

    def _header(self, name: str, stream: IO[bytes], size: int) -> ArrayInfo:
        where = f"{self.path}: {name}"
        try:
            header = read_npy_header(stream)
        except ValueError as error:
            if "'|O'" not in str(error):
                raise
            raise FeatureError(
                f"{where} holds Python objects, which are never loaded", hint="save arrays of numbers only: numpy.savez"
            ) from error
        if not header.shape:
            raise FeatureError(
                f"{where} has the shape []", hint="one array [slices, 40] a clip, as mww features writes it"
            )
        says, has = header.size, size - stream.tell()
        if says != has:
            raise FeatureError(f"{where} declares {says} bytes and has {has}", hint="was the file copied whole?")
        return ArrayInfo(name, header.dtype, header.shape, header.fortran_order)

    def _damaged(self, name: str, error: BaseException) -> FeatureError:
        return FeatureError(f"{self.path}: {name} cannot be read: {error}", hint="was the file copied whole?")


def write_archive(
    path: Path,
    arrays: Iterable[tuple[str, npt.NDArray[np.generic]]],
    texts: Mapping[str, str] | None = None,
    *,
    note: str = "",
) -> None:
    """Write a compressed `.npz`, completely or not at all; the same content gives the same bytes.

    Args:
        path: The file to write; an existing file is replaced.
        arrays: Names and arrays, as numpy's `load` gives them back; each is written before the next is taken.
        texts: Member names to texts, put first.
        note: The comment of the zip file, which numpy does not read.

    Raises:
        OutputError: It cannot be written.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = note.encode()
        for member, text in (texts or {}).items():
            archive.writestr(_entry(member), text)
        for name, array in arrays:
            with archive.open(_entry(name + _SUFFIX), "w", force_zip64=True) as stream:
                _format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def _entry(member: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(member, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
