"""The sound format that the front-end takes, 16 kHz mono 16-bit PCM WAV, read in blocks and trusted in nothing."""

from __future__ import annotations

import os
import shlex
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from mww.core.errors import AudioError
from mww.core.readable import Readable, open_regular
from mww.esphome.contract import SAMPLE_RATE

MAX_SECONDS: Final = 24 * 3600
"""Longest clip that is read."""

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_CODEC_NAMES: Final = {_FLOAT: "float", 0x0006: "A-law", 0x0007: "mu-law", 0x0002: "ADPCM", 0x0055: "MP3"}
_MAX_CHUNKS: Final = 1024
_BLOCK_SAMPLES: Final = 10 * SAMPLE_RATE


class WavFormatError(AudioError):
    """A file that is not a WAV, or a WAV of another rate, channel count or sample format; perhaps good sound."""


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
    try:
        with open_regular(path) as file:
            left = _find_samples(path, file)
            while left:
                block = file.read(min(left, _BLOCK_SAMPLES * 2))
                if not block:
                    raise AudioError(
                        f"{path} became shorter while it was read",
                        hint="wait until the file is written, then run again",
                    )
                left -= len(block)
                yield block
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror}", hint="give a .wav file that you may read") from error


def _find_samples(path: Readable, file: BinaryIO) -> int:
    """Check the header, go to the first sample and return the bytes of samples that follow."""
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
            if left and not length:  # what a recorder leaves that was killed before it wrote the size
                raise AudioError(
                    f"{path} says that it holds no samples, but {left} bytes follow", hint=conversion_command(path)
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
    """The lines that convert a file, for a hint."""
    name = PurePosixPath(str(path))
    here = name.name if "://" in str(path) else name
    source, target = shlex.quote(str(path)), shlex.quote(f"{PurePosixPath(here).with_suffix('')}-16k.wav")
    return (
        f"convert it: sox {source} -r {SAMPLE_RATE} -c 1 -b 16 {target}, "
        f"or ffmpeg -i {source} -ar {SAMPLE_RATE} -ac 1 -c:a pcm_s16le {target}"
    )
