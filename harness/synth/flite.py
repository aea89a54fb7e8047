"""flite: small English voices of CMU, and files of other voices (`.flitevox`)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.synth.speech import Samples, Saying, Voice, call, read_speech
from mww.core.errors import SpeechError

_LEFT_OUT: Final = ("kal", "awb_time")
"""Voices of 8 kHz, and of times alone."""
_LICENCE: Final = "MIT-like (CMU)"
_PAUSE: Final = "pau"


class Flite:
    """The program `flite`."""

    name = "flite"
    vowels = "aeiou"

    def version(self) -> str | None:
        """See `Engine`."""
        if shutil.which(self.name) is None:
            return None
        match = re.search(r"version: (\S+)", call([self.name, "--version"], codes=(0, 1)).stdout)
        return match[1] if match else "unknown"

    def missing(self) -> SpeechError:
        """See `Engine`."""
        return SpeechError("flite is not installed", hint="sudo apt-get install flite (macOS: brew install flite)")

    def voices(self) -> tuple[Voice, ...]:
        """See `Engine`."""
        return tuple(_voice(name, name, _LICENCE) for name in self._built_in() if name not in _LEFT_OUT)

    def find(self, name: str) -> tuple[Voice, ...]:
        """See `Engine`."""
        if name.endswith(".flitevox"):
            return (_voice(Path(name).stem, name, "unknown"),) if Path(name).is_file() else ()
        return (_voice(name, name, _LICENCE),) if name in self._built_in() else ()

    def speak(self, voice: Voice, speed: float, sayings: Sequence[Saying], folder: Path) -> list[Samples]:
        """See `Engine`."""
        file = folder / "speech.wav"
        stretch = ["--setf", f"duration_stretch={1 / speed:.4f}"]
        results = []
        for saying in sayings:
            phones = [phone for phone in saying.phonemes if phone != " "]
            what = ["-p", " ".join((_PAUSE, *phones, _PAUSE))] if phones else ["-t", saying.text]
            call([self.name, "-voice", voice.handle, *stretch, *what, "-o", str(file)])
            results.append(read_speech(file, self.name))
            file.unlink()
        return results

    def phonemes(self, voice: Voice, texts: Sequence[str], folder: Path) -> list[tuple[str, ...]]:
        """See `Engine`."""
        command = [self.name, "-voice", voice.handle, "-ps", "-o", "none", "-t"]
        outputs = [call([*command, text]).stdout.split() for text in texts]
        return [tuple(phone for phone in output if phone != _PAUSE) for output in outputs]

    def _built_in(self) -> list[str]:
        listed = call([self.name, "-lv"], codes=(0, 1)).stdout.partition(":")[2].split()
        return sorted(name for name in listed if re.fullmatch(r"\w+", name))


def _voice(name: str, handle: str, licence: str) -> Voice:
    return Voice("flite", name, handle, "en-us", licence)
