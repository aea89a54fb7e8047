"""Sound files of any common format, as the 16 kHz mono 16-bit samples that the front-end takes.

A WAV that already has this form is passed on bit for bit. libsndfile (package `soundfile`) decodes all others; they are
mixed to one channel and resampled by `soxr`, and the caller learns what they were.
"""

from __future__ import annotations

import os
import shlex
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from mww.core.errors import AudioError, MissingPackageError
from mww.core.file_kinds import HEAD, WAV, recognise
from mww.core.readable import Readable, files_below, is_file, is_folder, open_regular, reading
from mww.esphome.contract import MAX_SECONDS, SAMPLE_RATE

if TYPE_CHECKING:
    from soundfile import SoundFile


_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_CODEC_NAMES: Final = {_FLOAT: "float", 0x0006: "A-law", 0x0007: "mu-law", 0x0002: "ADPCM", 0x0055: "MP3"}
_MAX_CHUNKS: Final = 1024
_BLOCK_SAMPLES: Final = 10 * SAMPLE_RATE

SUFFIXES: Final = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd"}
    | {".caf", ".w64", ".rf64", ".sph", ".voc"}
)
"""Suffixes of files that libsndfile reads, lower case; these files are taken from a folder."""

_NOT_SOUND: Final = frozenset(
    {".csv", ".tsv", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".md", ".npz", ".npy", ".tflite", ".textgrid", ".lab"}
    | {
        ".zip",
        ".gz",
        ".tar",
        ".db",
        ".docx",
        ".xlsx",
        ".html",
        ".xml",
        ".pdf",
        ".png",
        ".jpg",
        ".svg",
        ".py",
        ".sh",
        ".toml",
        ".log",
        ".ini",
        ".cfg",
        ".ninja",
    }
)
"""Suffixes of files that lie beside clips on purpose, without a warning."""

_RATES: Final = range(1_000, 768_001)
_BLOCK_SECONDS: Final = 10
_FULL_SCALE: Final = 32768.0
_LOSSY: Final = ("MP3", "OGG")
"""Formats whose header only estimates the length."""


class WavFormatError(AudioError):
    """A file that is not a WAV, or a WAV with another rate, channel count or sample format; it may be valid sound."""


@dataclass(frozen=True, slots=True)
class _Format:
    codec: int
    channels: int
    rate: int
    bits: int


def read_samples(path: Readable) -> Iterator[bytes]:
    """Yield a clip's samples, little-endian int16, some seconds at a time.

    Raises:
        WavFormatError: The file is not a WAV, or is of another rate, channel count or sample format.
        AudioError: The file cannot be read, or its header says more than the file holds. Everything but a file that
            shrinks meanwhile is found before the first block.
    """
    with reading(path, hint="give a .wav file that you may read", error=AudioError), open_regular(path) as file:
        left = _find_samples(path, file)
        while left:
            block = file.read(min(left, _BLOCK_SAMPLES * 2))
            if not block:
                raise AudioError(
                    f"{path} became shorter while it was read", hint="wait until the file is written, then run again"
                )
            left -= len(block)
            yield block


def _find_samples(path: Readable, file: BinaryIO) -> int:
    """Check the header, seek to the first sample and return the number of bytes of samples."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(12)
    if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise WavFormatError(f"{path} is not a WAV file", hint=conversion_command(path))
    result: _Format | None = None
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = head[:4], int.from_bytes(head[4:], "little")
        left = size - file.tell()
        if length > left:
            message = f"{path} is cut short or its header is wrong: chunk {name!r} says {length} bytes, {left} follow"
            raise AudioError(message, hint=conversion_command(path))
        if name == b"data":
            if left and not length:  # the header of a recorder that was killed before it wrote the size
                raise AudioError(
                    f"the header of {path} gives no samples, but {left} bytes follow", hint=conversion_command(path)
                )
            return _check(path, result, length)
        body = file.read(min(length, 64)) if name == b"fmt " else b""
        if name == b"fmt ":
            result = _format(path, body)
        file.seek(length + length % 2 - len(body), 1)
    raise AudioError(f"{path} has no samples: the WAV file ends without a data chunk", hint=conversion_command(path))


def _format(path: Readable, body: bytes) -> _Format:
    if len(body) < 16:
        raise AudioError(
            f"{path} has a format chunk of {len(body)} bytes, not 16 or more", hint=conversion_command(path)
        )
    codec, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if codec == _EXTENSIBLE and len(body) >= 26:  # the real codec is the first field of the sub-format's GUID
        codec = int.from_bytes(body[24:26], "little")
    return _Format(codec, channels, rate, bits)


def _check(path: Readable, result: _Format | None, length: int) -> int:
    if result is None:
        raise AudioError(f"{path} has samples before it says in which format", hint=conversion_command(path))
    if result != _Format(_PCM, 1, SAMPLE_RATE, 16):
        codec = "PCM" if result.codec == _PCM else _CODEC_NAMES.get(result.codec, f"codec 0x{result.codec:04x}")
        channels = {1: "mono", 2: "stereo"}.get(result.channels, f"{result.channels} channels")
        message = (
            f"{path} is {result.rate} Hz {channels} {result.bits}-bit {codec}, not {SAMPLE_RATE} Hz mono 16-bit PCM"
        )
        raise WavFormatError(message, hint=conversion_command(path))
    if length % 2:
        raise AudioError(f"{path} ends in the middle of a sample", hint=conversion_command(path))
    if length > MAX_SECONDS * SAMPLE_RATE * 2:
        raise AudioError(f"{path} is longer than {MAX_SECONDS // 3600} hours", hint="cut it into several clips")
    return length


def conversion_command(path: Readable) -> str:
    """The commands that convert a file, for a hint."""
    name = PurePosixPath(str(path))
    here = name.name if "://" in str(path) else name
    source, target = shlex.quote(str(path)), shlex.quote(f"{PurePosixPath(here).with_suffix('')}-16k.wav")
    return (
        f"convert it: sox {source} -r {SAMPLE_RATE} -c 1 -b 16 {target}, "
        f"or ffmpeg -i {source} -ar {SAMPLE_RATE} -ac 1 -c:a pcm_s16le {target}"
    )


def read_audio(path: Readable, converted: Callable[[str], None] = lambda source: None) -> Iterator[bytes]:
    """Yield a clip's samples as little-endian int16, 16 kHz mono, some seconds at a time.

    Args:
        path: A sound file.
        converted: Called with what the file was, such as `44100 Hz stereo FLAC`, where it had to be converted.

    Raises:
        AudioError: The file cannot be read, is damaged, or is not sound.
        MissingPackageError: It must be converted, and `soundfile` or `soxr` is not installed.
    """
    blocks = read_samples(path)
    try:
        first = next(blocks, b"")
    except WavFormatError as error:
        yield from _convert(path, error, converted)
        return
    yield first
    yield from blocks


def sound_files(folder: Path) -> list[Path]:
    """The sound files of a folder and all below it, sorted; without hidden files, such as macOS adds beside sounds.

    Raises:
        AudioError: The folder is the whole file system, or as large.
    """
    with reading(folder, hint="give the folder that holds the clips alone", error=AudioError):
        return sorted(
            file
            for file in files_below(folder)
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and is_file(file)
        )


def left_out(folder: Path) -> str | None:
    """A sentence about files that `sound_files` leaves out unexpectedly; None without such files.

    Raises:
        OSError: As `files_below`.
    """
    others = Counter(
        file.suffix.lower() or "without an ending"
        for file in files_below(folder)
        if not file.name.startswith(".") and file.suffix.lower() not in SUFFIXES | _NOT_SOUND and is_file(file)
    )
    if not others:
        return None
    counted = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    return (
        f"{folder}: {others.total()} files are left out, because libsndfile does not read them ({counted}); "
        f"convert them: ffmpeg -i FILE -ar {SAMPLE_RATE} -ac 1 FILE.wav"
    )


def _convert(path: Readable, reason: WavFormatError, converted: Callable[[str], None]) -> Iterator[bytes]:
    soundfile, soxr = _packages(reason)
    with _reading(path, soundfile) as sound:
        if sound.samplerate not in _RATES or sound.frames > MAX_SECONDS * sound.samplerate:
            raise AudioError(
                f"{path} has {sound.samplerate} Hz and {sound.frames} samples",
                hint=f"{_RATES[0]} to {_RATES[-1]} Hz and at most {MAX_SECONDS // 3600} hours are read",
            )
        converted(_described(sound))
        resampler = soxr.ResampleStream(sound.samplerate, SAMPLE_RATE, 1, dtype="float32")
        native = sound.samplerate == SAMPLE_RATE
        for block in _mono(path, sound):
            yield _as_int16(block if native else resampler.resample_chunk(block))
        if not native:
            yield _as_int16(resampler.resample_chunk(np.empty(0, np.float32), last=True))


def _packages(reason: WavFormatError) -> tuple[Any, Any]:
    try:
        import soundfile
        import soxr
    except (ImportError, OSError) as error:  # OSError: the package is there, libsndfile is not
        hint = f"pip install 'mww-harness[audio]' reads it as it is; or {reason.hint}"
        raise MissingPackageError(reason.message, hint=hint) from error
    return soundfile, soxr


@contextmanager
def _reading(path: Readable, soundfile: Any) -> Iterator[SoundFile]:
    try:
        with open_regular(path) as file, soundfile.SoundFile(file) as sound:
            yield sound
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror}", hint="give a sound file that you may read") from error
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:  # TypeError: headerless samples
        _refuse_other_kinds(path)
        detail = str(getattr(error, "error_string", "") or "unknown format").rstrip(".")
        raise AudioError(
            f"{path} is not a sound file that libsndfile reads: {detail}", hint=conversion_command(path)
        ) from error


def _refuse_other_kinds(path: Readable) -> None:
    with open_regular(path) as file:
        kind = recognise(file.read(HEAD))
    if kind not in (None, WAV):
        raise AudioError(f"{path} is not sound but is {kind.name}", hint=kind.advice)


def _mono(path: Readable, sound: SoundFile) -> Iterator[npt.NDArray[np.float32]]:
    """The mean of all channels, float32 `[samples]`, full scale is 1."""
    left = sound.frames
    while len(block := sound.read(_BLOCK_SECONDS * sound.samplerate, dtype="float32", always_2d=True)):
        left -= len(block)
        if not np.isfinite(block).all():
            raise AudioError(f"{path} has samples that are not numbers", hint="write the file again")
        yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
    if left > 0 and sound.format not in _LOSSY:
        raise AudioError(f"{path} is cut short: {left} samples of {sound.frames} are missing", hint="copy it again")


def _as_int16(samples: npt.NDArray[np.float32]) -> bytes:
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    limited: npt.NDArray[np.int16] = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
    return limited.tobytes()


def _described(sound: SoundFile) -> str:
    channels = {1: "mono", 2: "stereo"}.get(sound.channels, f"{sound.channels} channels")
    return f"{sound.samplerate} Hz {channels} {sound.subtype} {sound.format}"


def left_out_of(folders: Iterable[Path | str]) -> tuple[str, ...]:
    """`left_out` of each path that is a folder on this machine; `sound_files` says why it cannot read a folder."""
    sentences = []
    for folder in folders:
        with suppress(OSError):
            sentences.append(left_out(Path(folder)) if is_folder(Path(folder)) else None)
    return tuple(sentence for sentence in sentences if sentence is not None)
