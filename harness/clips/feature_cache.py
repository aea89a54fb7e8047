"""Caches features and measures of sound for the user: computing them costs more than running a model.

Entries are named by the sha256 of the samples and of everything else that decides the values. A file is written beside
its place and renamed, so that processes see it whole or not at all; a digest at its end says whether it still is. The
oldest go when there is more than `MWW_FEATURE_CACHE_MB`; 0 turns the cache off.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from harness.clips.sound import SOUND_VERSION, Sound, SoundMeter
from mww.core.errors import OutputError
from mww.core.files import replacing
from mww.esphome.contract import FEATURES
from mww.esphome.frontend import frontend_version, iterate_features

SIZE_VARIABLE: Final = "MWW_FEATURE_CACHE_MB"
DEFAULT_SIZE: Final = 2048
"""MB: some 70 hours of sound."""
_BLOCK: Final = 12_000  # slices
_ROW: Final = FEATURES * 2
_DIGEST: Final = 32
_MOST_FACTS: Final = 4096
"""Bytes of a sound's measures in an entry."""
SHORTEST: Final = 16_000
"""Bytes of samples, half a second, below which computing is as fast as reading."""
SWEEP: Final = 64_000_000
"""Bytes that a process writes between two checks of the cache's size."""
_READ: Final = 1 << 20


def features_of(
    read: Callable[[], Iterator[bytes]], lead_in: float, step_ms: int, meter: SoundMeter | None = None
) -> Iterator[npt.NDArray[np.uint16]]:
    """The features of `iterate_features` for samples, from the cache where possible.

    Args:
        read: Reads the samples, the same each time; called three times at most.
        lead_in: Seconds of digital silence in front.
        step_ms: Milliseconds a slice.
        meter: Receives the sound; it is complete once all features have come.

    Raises:
        MwwError: They cannot be read.
        UsageError: As for `iterate_features`.
    """
    digest, length, room = hashlib.sha256(), 0, limit()
    for block in read() if room else ():
        digest.update(block)
        length += len(block)
    if not room or length < SHORTEST:
        yield from iterate_features(_heard(read(), meter), lead_in=lead_in, step_ms=step_ms)
        return
    folder, samples = user_cache_path("mww-harness") / "features", digest.hexdigest()
    settings = "/".join(("2", *frontend_version(step_ms), repr(lead_in), str(step_ms), samples))
    place, facts = folder / hashlib.sha256(settings.encode()).hexdigest(), folder / f"{samples}-{SOUND_VERSION}.json"
    if meter is not None and _recall(facts, meter):
        meter = None
    again = hashlib.sha256()

    def is_unchanged() -> bool:  # the file may change between two readings
        return again.hexdigest() == samples

    size = _whole(place)
    if size is None:
        blocks = _heard(read(), meter, again)
        yield from _kept(place, iterate_features(blocks, lead_in=lead_in, step_ms=step_ms), is_unchanged)
    else:
        if meter is not None:
            deque(_heard(read(), meter, again), maxlen=0)
        yield from _read(place, size)
    if meter is not None and is_unchanged():
        _remember(facts, meter)


def _heard(blocks: Iterator[bytes], meter: SoundMeter | None, digest: hashlib._Hash | None = None) -> Iterator[bytes]:
    for block in blocks:
        if meter is not None:
            meter.hear(block)
        if digest is not None:
            digest.update(block)
        yield block


def _recall(place: Path, meter: SoundMeter) -> bool:
    """Restore a meter from the cache; whether the cache has an undamaged entry."""
    try:
        with place.open("rb") as file:
            digest, content = file.read(_DIGEST), file.read(_MOST_FACTS)
        os.utime(place)
        if digest != hashlib.sha256(content).digest():
            return False
        meter.recall(Sound(**json.loads(content)))
    except (OSError, ValueError, TypeError):
        return False
    return True


def _remember(place: Path, meter: SoundMeter) -> None:
    """Store a meter's measures; where that fails, they are measured again."""
    sound = meter.result()
    if sound is not None:
        content = json.dumps(asdict(replace(sound, converted_from=None))).encode()
        with suppress(OutputError, OSError), replacing(place) as file:
            file.write(hashlib.sha256(content).digest() + content)


def limit() -> int:
    """Bytes that the cache may hold."""
    try:
        return max(0, int(os.environ.get(SIZE_VARIABLE, DEFAULT_SIZE))) * 1_000_000
    except ValueError:
        return DEFAULT_SIZE * 1_000_000


def _whole(place: Path) -> int | None:
    """The bytes of features in an undamaged entry; None without such an entry."""
    digest, last = hashlib.sha256(), b""
    try:
        with place.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - _DIGEST
            if size < 0 or size % _ROW:
                return None
            left = size
            while left and (block := file.read(min(_READ, left))):
                digest.update(block)
                left -= len(block)
            last = file.read()
        os.utime(place)
    except OSError:
        return None
    return size if last == digest.digest() else None


def _read(place: Path, size: int) -> Iterator[npt.NDArray[np.uint16]]:
    with place.open("rb") as file:
        for start in range(0, size, _BLOCK * _ROW):
            block = file.read(min(_BLOCK * _ROW, size - start))
            yield np.frombuffer(block, "<u2").reshape(-1, FEATURES)


def _kept(
    place: Path, blocks: Iterator[npt.NDArray[np.uint16]], is_unchanged: Callable[[], bool]
) -> Iterator[npt.NDArray[np.uint16]]:
    """Pass blocks on, and store them at the end if the samples are those of the entry's name.

    Where nothing can be written, they are only passed on.
    """
    digest, temporary = hashlib.sha256(), None
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = NamedTemporaryFile(dir=place.parent, prefix=".", delete=False)  # noqa: SIM115 -- closed below
    written = temporary is not None
    try:
        for block in blocks:
            if temporary is not None and written:
                content = block.astype("<u2").tobytes()
                digest.update(content)
                try:
                    temporary.write(content)
                except OSError:
                    written = False
            yield block
        if temporary is not None and written and is_unchanged():
            with suppress(OSError):
                temporary.write(digest.digest())
                temporary.close()
                os.replace(temporary.name, place)  # noqa: PTH105 -- a name, not a path
                temporary = None
                _evict_now_and_then(place)
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.close()
                os.unlink(temporary.name)  # noqa: PTH108


_since_sweep = SWEEP


def _evict_now_and_then(place: Path) -> None:
    """Limit the cache's size at the first file of a process, and then at fixed intervals of bytes."""
    global _since_sweep  # noqa: PLW0603 -- what this process has written
    _since_sweep += place.stat().st_size
    if _since_sweep >= SWEEP:
        _since_sweep = 0
        _evict(place.parent)


def _evict(folder: Path) -> None:
    """Remove the files that were not used for longest, until the rest fit; other processes may do the same."""
    entries = []
    with os.scandir(folder) as files:
        for file in files:
            with suppress(OSError):
                facts = file.stat()
                entries.append((facts.st_mtime, facts.st_size, file.path))
    total, room = sum(size for _, size, _ in entries), limit()
    for _, size, path in sorted(entries):
        if total <= room:
            return
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108
        total -= size
