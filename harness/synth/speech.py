"""Speech: voices, the texts that they speak, and the calls of their programs.

An engine is a program of its own, called and never imported: piper-tts and espeak-ng are under the GPL, which what they
speak is not.
"""

from __future__ import annotations

import re
import subprocess
import unicodedata
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from mww.core.errors import SpeechError, UsageError
from mww.esphome.contract import SAMPLE_RATE

Samples = npt.NDArray[np.float64]
"""Mono sound at 16 kHz, `[n]`; full scale is 1."""

_LONGEST_TEXT: Final = 200  # characters of a phrase
_LONGEST_SPEECH: Final = 120
"""Seconds that a program may speak in one file."""
_TIMEOUT: Final = 120.0
_TIMEOUT_A_SAYING: Final = 30.0  # seconds; Piper needs 0.15, on a machine under load more
_SCRIPTS: Final = {
    **dict.fromkeys(("ru", "uk", "bg", "be", "mk", "sr", "kk", "ky", "mn", "tt", "ba", "cv"), ("CYRILLIC",)),
    **dict.fromkeys(("ar", "fa", "ur", "ug", "sd"), ("ARABIC",)),
    **dict.fromkeys(("ja",), ("HIRAGANA", "KATAKANA", "CJK")),
    **dict.fromkeys(("zh", "cmn", "yue", "hak"), ("CJK",)),
    **dict.fromkeys(("hi", "mr", "ne", "kok", "bpy"), ("DEVANAGARI", "BENGALI")),
    **{"el": ("GREEK",), "grc": ("GREEK",), "he": ("HEBREW",), "ko": ("HANGUL",), "th": ("THAI",)},
    **{"ka": ("GEORGIAN",), "hy": ("ARMENIAN",), "am": ("ETHIOPIC",), "bn": ("BENGALI",), "ta": ("TAMIL",)},
    **{"te": ("TELUGU",), "kn": ("KANNADA",), "ml": ("MALAYALAM",), "gu": ("GUJARATI",), "pa": ("GURMUKHI",)},
}
"""First words of the Unicode names of letters, by language; all others are written in Latin letters."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks.

    Attributes:
        engine: Name of the engine.
        name: What the user and clips.csv call it.
        handle: What the program calls it: a name, or the path of a file.
        language: A code such as `en-us`.
        licence: Of the voice, as its maker states it; `unknown` where nobody does.
        speaker: Number of the speaker in a file of several; None for a single one.
    """

    engine: str
    name: str
    handle: str
    language: str
    licence: str
    speaker: int | None = None


@dataclass(frozen=True, slots=True)
class Saying:
    """What is said: a text, or phonemes as the engine writes them, with `" "` between words."""

    text: str
    phonemes: tuple[str, ...] = ()


class Engine(Protocol):
    """A program that speaks."""

    name: str
    vowels: str
    """First letters of its vowels' names, behind a stress mark."""

    def version(self) -> str | None:
        """Its version, for clips.csv; None where the program is not installed."""
        ...

    def missing(self) -> SpeechError:
        """The error that says how to install it."""
        ...

    def voices(self) -> tuple[Voice, ...]:
        """Those that are used where none are named; the program must be installed."""
        ...

    def find(self, name: str) -> tuple[Voice, ...]:
        """The voices of a name or file: all speakers of a file, or `NAME#NUMBER`; empty where it has no such voice."""
        ...

    def speak(self, voice: Voice, speed: float, sayings: Sequence[Saying], folder: Path) -> list[Samples]:
        """Say each; `speed` 1 is the voice's own, 2 is twice as fast. Its files go into `folder`, which is empty.

        Raises:
            SpeechError: The program fails, or says nothing.
        """
        ...

    def phonemes(self, voice: Voice, texts: Sequence[str], folder: Path) -> list[tuple[str, ...]]:
        """The phonemes of each text, as `Saying` takes them.

        Raises:
            SpeechError: The program fails.
        """
        ...


def call(
    command: Sequence[str], *, text: str = "", sayings: int = 1, codes: Sequence[int] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run a program of speech to its end, with one of the exit `codes` that mean success.

    Raises:
        SpeechError: It cannot be started, fails, or takes too long.
    """
    try:
        result = subprocess.run(
            [*command],
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_TIMEOUT + _TIMEOUT_A_SAYING * sayings,
        )
    except subprocess.TimeoutExpired as error:
        hint = "is the machine under heavy load? Go on with --resume"
        raise SpeechError(f"{command[0]} took more than {error.timeout:.0f} s", hint=hint) from error
    except OSError as error:
        hint = "is the program for this machine, and may you run it?"
        raise SpeechError(f"cannot start {command[0]}: {error.strerror}", hint=hint) from error
    if result.returncode not in codes:
        lines = (result.stderr.strip() or result.stdout.strip() or "it gives no reason").splitlines()
        hint = "call it by hand to see more; is the disk full, or the voice of another version?"
        raise SpeechError(f"{command[0]} failed ({result.returncode}): {lines[-1][:200]}", hint=hint)
    return result


def read_speech(path: Path, engine: str) -> Samples:
    """What a program spoke into a file, 16-bit mono of any rate, without silence at both ends, at 16 kHz.

    Raises:
        SpeechError: The file is missing, or holds no sound.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, count = file.getframerate(), file.getnframes()
            if file.getnchannels() != 1 or file.getsampwidth() != 2 or not 8000 <= rate <= 192_000:
                raise wave.Error(f"{rate} Hz, {file.getnchannels()} channels")
            content = file.readframes(min(count, _LONGEST_SPEECH * rate))
    except (OSError, EOFError, wave.Error) as error:
        hint = "does the voice read this language, and is there room for temporary files?"
        raise SpeechError(f"{engine} left no sound that can be read: {error}", hint=hint) from error
    samples = trimmed(np.frombuffer(content, "<i2").astype(np.float64) / 32768)
    if not len(samples):
        hint = "a phrase in the letters of the voice's language; --voice chooses another voice"
        raise SpeechError(f"{engine} said nothing", hint=hint)
    return resample(samples, rate)


def trimmed(samples: Samples) -> Samples:
    """Sound without what is quieter than 1 % of its peak at both ends; empty where all is silent."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max(initial=0.0))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def resample(samples: Samples, rate: float) -> Samples:
    """Bring sound of a rate in Hz to 16 kHz, through its spectrum: the same bytes with every version of numpy's FFT."""
    if rate == SAMPLE_RATE or not len(samples):
        return samples
    padded = np.concatenate([samples, np.zeros(256)])
    count = max(2, round(len(padded) * SAMPLE_RATE / rate))
    spectrum = np.fft.rfft(padded)
    bins = min(len(spectrum), count // 2 + 1)
    result = np.zeros(count // 2 + 1, complex)
    result[:bins] = spectrum[:bins]
    end = max(1, round(len(samples) * SAMPLE_RATE / rate))
    return np.fft.irfft(result, count)[:end] * (count / len(padded))


def check_script(text: str, voice: Voice) -> None:
    """Refuse a text in letters that a voice does not read; phonemes between `[[` and `]]` are the engine's business.

    Raises:
        UsageError: It has such letters, or none at all.
    """
    if not any(letter.isalpha() for letter in text) or not text.isprintable():
        raise UsageError(f"{text[:60]!r} is not a phrase to speak", hint="give words, in one line")
    if len(text) > _LONGEST_TEXT:
        message = f"a text of {len(text)} characters is too long to speak"
        raise UsageError(message, hint=f"{_LONGEST_TEXT} characters at most; a wake word has some ten")
    scripts = ("LATIN", *_SCRIPTS.get(voice.language.partition("-")[0].partition("_")[0], ()))
    for letter in filter(str.isalpha, re.sub(r"\[\[.*?\]\]", "", text)):
        script = unicodedata.name(letter, "unknown").partition(" ")[0]
        if script not in scripts:
            message = f"the voice {voice.name} ({voice.language}) does not read {script.capitalize()} letters: {letter}"
            raise UsageError(message, hint="name a voice of the phrase's language with --voice, or spell it in Latin")
