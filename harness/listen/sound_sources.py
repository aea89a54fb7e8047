"""Sources of live sound: a microphone, a file at its own pace, or raw samples on standard input."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from mww.core.errors import AudioError, MissingPackageError
from mww.core.readable import is_file, is_there
from mww.esphome.audio import SUFFIXES, read_audio
from mww.esphome.contract import SAMPLE_RATE

BLOCK_SAMPLES: Final = SAMPLE_RATE // 10
"""A tenth of a second: the interval of the display."""

_LONGEST_QUEUE: Final = 100
"""The most blocks that may wait before sound is lost: ten seconds."""

Lost = Callable[[float], None]
"""Called with the seconds of sound that were lost."""


def open_sound(name: str | None, lost: Lost) -> Iterator[bytes]:
    """Yield little-endian int16 samples, 16 kHz mono, as they arrive.

    Args:
        name: `-` for raw samples on standard input, a file, or a microphone's name or number; None: the default one.
        lost: Called when sound arrives faster than it is taken.

    Raises:
        AudioError: The file or microphone does not exist, or it fails.
        MissingPackageError: A microphone, and `sounddevice` is not installed.
    """
    if name == "-":
        return _raw(sys.stdin.buffer)
    if name is not None and is_file(Path(name)):
        return _paced(Path(name))
    if name is not None and (is_there(Path(name)) or Path(name).suffix.lower() in SUFFIXES):
        state = "is not a file" if is_there(Path(name)) else "does not exist"
        raise AudioError(f"{name} {state}", hint="give a sound file; mww run --wav takes folders")
    return _microphone(_sounddevice(), name, lost)


def _raw(stream: BinaryIO) -> Iterator[bytes]:
    """All complete samples of a pipe until its end; half a sample at the end is dropped."""
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while block := read(BLOCK_SAMPLES * 2):
        block = rest + block
        whole = len(block) // 2 * 2
        rest = block[whole:]
        if whole:
            yield block[:whole]


def _paced(path: Path) -> Iterator[bytes]:
    """A file's samples at the pace of a microphone."""
    started, given = time.monotonic(), 0
    for block in read_audio(path):
        for start in range(0, len(block), BLOCK_SAMPLES * 2):
            part = block[start : start + BLOCK_SAMPLES * 2]
            given += len(part) // 2
            time.sleep(max(0.0, started + given / SAMPLE_RATE - time.monotonic()))
            yield part


def _microphone(sounddevice: Any, name: str | None, lost: Lost) -> Iterator[bytes]:
    device = int(name) if name is not None and name.isascii() and name.isdigit() and len(name) < 6 else name
    blocks: queue.Queue[bytes] = queue.Queue(_LONGEST_QUEUE)

    def heard(data: Any, frames: int, _time: object, status: Any) -> None:
        if status.input_overflow:
            lost(frames / SAMPLE_RATE)
        try:
            blocks.put_nowait(bytes(data))
        except queue.Full:
            lost(frames / SAMPLE_RATE)

    settings = {"samplerate": SAMPLE_RATE, "channels": 1, "dtype": "int16", "blocksize": BLOCK_SAMPLES}
    try:
        with sounddevice.RawInputStream(device=device, callback=heard, **settings):
            while True:
                yield blocks.get()
    except (sounddevice.PortAudioError, ValueError) as error:
        known = ", ".join(str(entry["name"]) for entry in sounddevice.query_devices() if entry["max_input_channels"])
        raise AudioError(
            f"cannot listen to {name or 'the default microphone'}: {error}",
            hint=f"give another microphone with --input: {known}"
            if known
            else "this machine has no microphone: use --input FILE or --input -",
        ) from error


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
        hint = "pip install 'mww-harness[listen]' (and apt install libportaudio2), or --input FILE or -"
        raise MissingPackageError("a microphone needs the package sounddevice", hint=hint) from error
    return sounddevice
