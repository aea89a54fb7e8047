"""Clips for another process: the place of a file, or its content where a worker does not see the file.

A file counts as the same on another machine when path, size and time of modification are equal, as in a shared folder.
Errors keep the name that the file has here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeAlias

import numpy as np

from harness.clips.clip import ArrayClip, AudioClip, Clip, FeatureClip
from harness.clips.npz import Archive
from harness.clips.remote import RemoteFile
from harness.run.judging import Observed, nothing_but
from mww.core.errors import ClusterError, FeatureError, MwwError
from mww.core.readable import Readable, open_regular
from mww.esphome.contract import FEATURES, SAMPLE_RATE
from mww.esphome.frontend import Slices

if TYPE_CHECKING:
    from harness.run.workbench import Bench

LARGEST_SENT: Final = 256 * 1024**2
"""Bytes of a clip that is sent to a worker which does not see its file: two hours."""

_UNKNOWN_SECONDS: Final = 10.0
_BYTES_A_SECOND: Final = SAMPLE_RATE * 2
_SLICES_A_SECOND: Final = 100


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file of this machine, which a worker may see too: `modified` is in nanoseconds."""

    shown: str
    path: str
    size: int
    modified: int

    def __str__(self) -> str:
        return self.shown

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Open the file."""
        return open_regular(Path(self.path))

    def is_same_file(self) -> bool:
        """Whether the calling process sees the same file."""
        return _status(self.path) == (self.size, self.modified)


@dataclass(frozen=True, slots=True)
class SentFile:
    """The content of a file, or the number and text of the error that prevents reading it."""

    shown: str
    content: bytes = field(repr=False)
    problem: tuple[int, str] | None = None

    def __str__(self) -> str:
        return self.shown

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Open the content as the original file opens."""
        if self.problem is not None:
            raise OSError(*self.problem)
        return io.BytesIO(self.content)


@dataclass(frozen=True, slots=True)
class SentClip:
    """A clip's slices, and the error where it could not be read to its end."""

    name: str
    slices: Slices = field(repr=False)
    lead_in: float
    problem: MwwError | None

    def blocks(self) -> Iterator[Slices]:
        """Yield all slices at once, then raise the error."""
        if len(self.slices):
            yield self.slices
        if self.problem is not None:
            raise self.problem


@dataclass(frozen=True, slots=True)
class MemberOf:
    """A clip in an archive that the worker opens."""

    name: str
    file: Readable
    member: str
    lead_in: float
    slices: int


Parcel: TypeAlias = "AudioClip | ArrayClip | SentClip | MemberOf"


def pack(clip: Clip) -> Parcel | None:
    """A clip by its place; None for a clip without a place that a worker can read."""
    if isinstance(clip, ArrayClip):
        return clip
    if isinstance(clip, AudioClip):
        file = _placed(clip.path)
        return None if file is None else replace(clip, path=file)
    if isinstance(clip, FeatureClip):
        file = _placed(clip.archive.path)
        return None if file is None else MemberOf(clip.name, file, clip.member, clip.lead_in, _slices(clip))
    return None


def pack_whole(clip: Clip) -> Parcel:
    """A clip with its content.

    Raises:
        ClusterError: It is too large.
    """
    if isinstance(clip, AudioClip):
        return replace(clip, path=_sent(clip.path))
    blocks: list[Slices] = [np.empty((0, FEATURES), np.int8)]
    size, problem = 0, None
    try:
        for block in clip.blocks():
            size += block.nbytes
            _check_size(clip.name, size)
            blocks.append(block)
    except ClusterError:
        raise
    except MwwError as error:
        problem = error
    return SentClip(clip.name, np.concatenate(blocks), clip.lead_in, problem)


def unpack(parcel: Parcel, archive: Callable[[Readable], Archive]) -> Clip | None:
    """The clip of a parcel, in the receiving process; None where it does not see the file. `archive` opens archives.

    Raises:
        MwwError: An archive cannot be opened.
    """
    file = parcel.path if isinstance(parcel, AudioClip) else parcel.file if isinstance(parcel, MemberOf) else None
    if isinstance(file, PlacedFile) and not file.is_same_file():
        return None
    if isinstance(parcel, MemberOf):
        return FeatureClip(parcel.name, archive(parcel.file), parcel.member, parcel.lead_in)
    return parcel


def run_parcels(
    bench: Bench, parcels: Sequence[Parcel], archive: Callable[[Readable], Archive], stopped: Callable[[], bool]
) -> Iterator[Observed | None]:
    """Run the clips of parcels where they arrived; None for each whose file is not to be seen there."""
    clips: list[Clip | MwwError | None] = []
    for parcel in parcels:
        try:
            clips.append(unpack(parcel, archive))
        except MwwError as error:
            clips.append(error)
    observed = bench.run([clip for clip in clips if clip is not None and not isinstance(clip, MwwError)], stopped)
    for clip in clips:
        if clip is None:
            yield None
        else:
            yield nothing_but(clip) if isinstance(clip, MwwError) else next(observed)


def seconds(parcel: Parcel) -> float:
    """A clip's length, as far as it is known without reading it."""
    if isinstance(parcel, ArrayClip):
        return len(parcel.features) / _SLICES_A_SECOND
    if isinstance(parcel, SentClip):
        return len(parcel.slices) / _SLICES_A_SECOND
    if isinstance(parcel, MemberOf):
        return parcel.slices / _SLICES_A_SECOND
    size = len(parcel.path.content) if isinstance(parcel.path, SentFile) else getattr(parcel.path, "size", None)
    return _UNKNOWN_SECONDS if size is None else size / _BYTES_A_SECOND


def _placed(file: Readable) -> Readable | None:
    """The place of a file for a worker; None where a worker cannot read it."""
    if isinstance(file, RemoteFile):
        if file.in_memory:
            return None
        if (path := file.local_path) is None:
            return file
    else:
        path = str(Path(str(file)).absolute())
    status = _status(path)
    return None if status is None else PlacedFile(str(file), path, *status)


def _slices(clip: FeatureClip) -> int:
    try:
        return clip.archive.info(clip.member).shape[0]
    except FeatureError:  # the worker will get the same error
        return 0


def _sent(file: Readable) -> SentFile:
    try:
        with open_regular(file) as stream:
            content = stream.read(LARGEST_SENT + 1)
    except OSError as error:
        return SentFile(str(file), b"", (error.errno or 0, error.strerror or str(error)))
    _check_size(str(file), len(content))
    return SentFile(str(file), content)


def _check_size(name: str, size: int) -> None:
    if size > LARGEST_SENT:
        hint = "put it where workers can read it: a shared folder or a URL"
        raise ClusterError(f"{name} is too large to be sent to a worker that cannot read it", hint=hint)


def _status(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
