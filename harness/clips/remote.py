"""Files by URL, from every storage that fsspec reads: `s3://`, `https://`, `memory://` and others that are installed.

A URL may contain a password or token, so it is only used to open the file: names, results, errors and journals get it
without userinfo and query.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal
from urllib.parse import unquote

from mww.core.errors import AudioError, InputError, MissingPackageError, MwwError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_URL: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(?<=://)[^/]*@")
_WEB: Final = ("http://", "https://")
_BUFFER: Final = 256 * 1024
WHOLE: Final = 64 * 1024**2
_DEEPEST: Final = 16  # folders below the named folder: a page may link to itself
_ASKED_AT_ONCE: Final = 16
_NAMING: Final = ("name", "url", "Key")  # entries of `info` that do not depend on the file's content


def is_url(text: str) -> bool:
    """Whether a name of a file or folder is a URL, and not a path on this machine."""
    return _URL.match(text) is not None


def without_secrets(url: str) -> str:
    """A URL without userinfo and query, and without fragment for http; the same for each part of a chain `a::b`."""
    return "::".join(_clean(link) for link in url.split("::"))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file by URL; `str()` is its name without secrets.

    Attributes:
        shown: Its name in results and errors.
        base: The given URL: of the file, or of a folder that contains it.
        path: The file's path in the file system of `base`.
        size: Bytes; None where it is unknown.
        stamp: Changes when the file does, as far as its place says.
    """

    shown: str
    base: str = field(repr=False)
    path: str = field(repr=False)
    size: int | None = None
    stamp: str | None = None

    def __str__(self) -> str:
        return self.shown

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Open it for reading; up to 64 MB are fetched in one request.

        Raises:
            OSError: It cannot be read, here or later; its text holds no secrets.
            MissingPackageError: fsspec, or the package for this kind of URL, is not installed.
        """
        with _one_error():
            system, web = _file_system(self.base)[0], _is_web(self.base)
            if self.size is not None and self.size > WHOLE:
                return io.BufferedReader(_Guarded(system.open(self.path, mode)), _BUFFER)
            if web:  # without a HEAD request first, and without range requests, which not all servers support
                with system.open(self.path, mode, block_size=0, size=self.size) as stream:
                    return io.BytesIO(_read_whole(stream))
            return io.BytesIO(system.cat_file(self.path))

    @property
    def local_path(self) -> str | None:
        """The path on this machine, for a `file://` URL; else None."""
        from fsspec.implementations.local import LocalFileSystem

        return self.path if isinstance(_file_system(self.base)[0], LocalFileSystem) else None

    @property
    def in_memory(self) -> bool:
        """Whether it exists only in this process (`memory://`)."""
        from fsspec.implementations.memory import MemoryFileSystem

        return isinstance(_file_system(self.base)[0], MemoryFileSystem)


def remote_file(url: str) -> RemoteFile:
    """The file that a URL names.

    Raises:
        OSError: It does not exist or cannot be requested.
        MissingPackageError: As for `RemoteFile.open`.
    """
    with _one_error():
        system, path = _file_system(url)
        info = system.info(path)
    return RemoteFile(without_secrets(url), url, path, *_facts(info))


def remote_clips(url: str) -> tuple[RemoteFile, ...]:
    """The sound files of a URL, sorted like paths.

    That is the URL itself if it has the suffix of a sound file, else all files below it. With http, a folder is a URL
    that ends in a slash, and its page links to the files; other storages list their folders.

    Raises:
        AudioError: It does not exist or cannot be read.
        MissingPackageError: As for `RemoteFile.open`.
    """
    shown = without_secrets(url)
    try:
        if not _is_folder(url, shown):
            return (remote_file(url),)
        files = _below(url, shown)
    except FileNotFoundError as error:
        raise AudioError(
            f"{shown} does not exist, or cannot be reached",
            hint="check the address, the network, and the credentials of that storage",
        ) from error
    except OSError as error:
        raise AudioError(
            f"cannot read {shown}: {error.strerror}",
            hint="check the address, the network, and the credentials of that storage",
        ) from error
    if not files:
        raise AudioError(f"{shown} has no sound file", hint="put .wav or .flac files there, or name each file")
    return files


class _Guarded(io.RawIOBase):
    """A file of fsspec; every failure is an `OSError` without secrets."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with _one_error():
            data = self._file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _one_error():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        with _one_error():
            return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            with _one_error():
                self._file.close()
        super().close()


def _read_whole(stream: Any) -> bytes:
    blocks, size = [], 0
    while block := stream.read(1 << 20):
        blocks.append(block)
        size += len(block)
        if size > WHOLE:
            raise OSError(errno.EFBIG, "larger than the size that the server gave")
    return b"".join(blocks)


@contextmanager
def _one_error() -> Iterator[None]:
    """Replace any exception of a file system by an `OSError` without its text, which may contain tokens."""
    try:
        yield
    except MwwError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, os.strerror(number)) from None
    except Exception as error:  # noqa: BLE001 -- packages of others, each with its own errors
        status = getattr(error, "status", None)
        message = f"HTTP status {status}" if isinstance(status, int) else type(error).__name__
        raise OSError(errno.EIO, message) from None


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, always the same object, and the path of the file in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        message = f"{without_secrets(url)} is a URL: reading it needs the package fsspec"
        raise MissingPackageError(message, hint="pip install 'mww-harness[cluster]'") from error
    try:
        system, path = url_to_fs(url)
    except ImportError as error:  # s3fs, gcsfs, ...: fsspec names the missing package
        message = f"{without_secrets(url)} cannot be read: {error}"
        raise MissingPackageError(message, hint="pip install the package that it names") from None
    except ValueError:
        hint = "s3://, gs://, https:// and others: the protocols of fsspec"
        raise InputError(f"fsspec does not read the protocol of {without_secrets(url)}", hint=hint) from None
    return system, str(path)


def _is_folder(url: str, shown: str) -> bool:
    if _is_sound(shown):
        return False
    if _is_web(url):
        if shown.endswith("/") and "?" in url:
            hint = "give each file, with its query"
            raise AudioError(f"{shown} is a folder with a query, which would be lost for its files", hint=hint)
        return shown.endswith("/")
    with _one_error():
        system, path = _file_system(url)
        return bool(system.isdir(path))


def _below(url: str, shown: str) -> tuple[RemoteFile, ...]:
    with _one_error():
        system, root = _file_system(url)
        web = _is_web(url)
        listing = system.find(root, maxdepth=_DEEPEST if web else None, detail=True)
        names = {path: _inside(path, root, web) for path in listing}
        result = {path: name for path, name in names.items() if name is not None and _is_sound(name)}
        chosen = sorted(result, key=lambda path: result[path].split("/"))

        def facts(path: str) -> tuple[int | None, str | None]:
            return _facts(listing[path] if listing[path].get("size") is not None else system.info(path))

        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            results = list(pool.map(facts, chosen))
    base = shown.rstrip("/")
    return tuple(
        RemoteFile(f"{base}/{result[path]}", url, path, *facts) for path, facts in zip(chosen, results, strict=True)
    )


def _is_sound(name: str) -> bool:
    from mww.esphome.audio import SUFFIXES  # imports numpy, which --help does not need

    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")  # as in a folder of this machine


def _is_web(url: str) -> bool:
    return url.lower().startswith(_WEB)


def _inside(path: str, root: str, web: bool) -> str | None:
    """A file's name relative to its folder; None for a listed file outside the folder."""
    folder = f"{(root.partition('?')[0] if web else root).rstrip('/')}/"
    if not path.startswith(folder):
        return None
    name = path[len(folder) :]
    if web:
        name = name.partition("?")[0].partition("#")[0]
    if any(part in ("", ".", "..") for part in unquote(name).split("/")):
        return None
    return name


def _facts(info: dict[str, Any]) -> tuple[int | None, str | None]:
    size = info.get("size")
    results = sorted((key, str(value)) for key, value in info.items() if key not in _NAMING)
    stamp = hashlib.sha256(repr(results).encode(errors="replace")).hexdigest()
    return (size if isinstance(size, int) else None), stamp


def _clean(link: str) -> str:
    link = _USERINFO.sub("", link).partition("?")[0]
    return link.partition("#")[0] if link.lower().startswith(_WEB) else link
