"""Speech: voices, the texts that they speak, and the calls of their programs.

An engine is a separate program, which is called and never imported: piper-tts and espeak-ng are under the GPL, their
sound is not.
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
"""The longest file of a program, in seconds."""
_TIMEOUT: Final = 120.0
_TIMEOUT_A_SAYING: Final = 30.0  # seconds; Piper needs 0.15, and more on a machine under load
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
"""First words of the Unicode names of letters, by language; all other languages use Latin letters."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice.

    Attributes:
        engine: Name of the engine.
        name: Its name for the user and in clips.csv.
        handle: Its name for the program, or the path of a file.
        language: A code such as `en-us`.
        licence: The voice's licence, as its maker states it, or `unknown`.
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
    """A text to speak, or phonemes in the engine's notation, with `" "` between words."""

    text: str
    phonemes: tuple[str, ...] = ()


class Engine(Protocol):
    """A speech program."""

    name: str
    vowels: str
    """First letters of its vowels' names, after a stress mark."""

    def version(self) -> str | None:
        """Its version, for clips.csv; None where the program is not installed."""
        ...

    def missing(self) -> SpeechError:
        """The error that says how to install it."""
        ...

    def voices(self) -> tuple[Voice, ...]:
        """The default voices; the program must be installed."""
        ...

    def find(self, name: str) -> tuple[Voice, ...]:
        """The voices of a name or file: all speakers of a file, or `NAME#NUMBER`; empty where it has no such voice."""
        ...

    def speak(self, voice: Voice, speed: float, sayings: Sequence[Saying], folder: Path) -> list[Samples]:
        """Speak each text; `speed` 1 is the voice's own, 2 is twice as fast. Files go into `folder`, which is empty.

        Raises:
            SpeechError: The program fails, or is silent.
        """
        ...

    def phonemes(self, voice: Voice, texts: Sequence[str], folder: Path) -> list[tuple[str, ...]]:
        """The phonemes of each text, in the form of `Saying`.

        Raises:
            SpeechError: The program fails.
        """
        ...


def call(
    command: Sequence[str], *, text: str = "", sayings: int = 1, codes: Sequence[int] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run a speech program to its end; the exit `codes` mean success.

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
        hint = "if the machine is under heavy load, continue with --resume"
        raise SpeechError(f"{command[0]} took more than {error.timeout:.0f} s", hint=hint) from error
    except OSError as error:
        hint = "check that the program is for this machine and that you may run it"
        raise SpeechError(f"cannot start {command[0]}: {error.strerror}", hint=hint) from error
    if result.returncode not in codes:
        lines = (result.stderr.strip() or result.stdout.strip() or "without a message").splitlines()
        hint = "run it by hand to see more; the disk may be full, or the voice may be for another version"
        raise SpeechError(f"{command[0]} failed ({result.returncode}): {lines[-1][:200]}", hint=hint)
    return result


def read_speech(path: Path, engine: str) -> Samples:
    """The sound that a program wrote into a file, 16-bit mono of any rate: at 16 kHz, without silence at the ends.

    Raises:
        SpeechError: The file is missing or silent.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, count = file.getframerate(), file.getnframes()
            if file.getnchannels() != 1 or file.getsampwidth() != 2 or not 8000 <= rate <= 192_000:
                raise wave.Error(f"{rate} Hz, {file.getnchannels()} channels")
            content = file.readframes(min(count, _LONGEST_SPEECH * rate))
    except (OSError, EOFError, wave.Error) as error:
        hint = "check that the voice reads this language, and that there is room for temporary files"
        raise SpeechError(f"{engine} wrote a file that cannot be read: {error}", hint=hint) from error
    samples = trimmed(np.frombuffer(content, "<i2").astype(np.float64) / 32768)
    if not len(samples):
        hint = "give a phrase in the letters of the voice's language; --voice chooses another voice"
        raise SpeechError(f"{engine} said nothing", hint=hint)
    return resample(samples, rate)


def trimmed(samples: Samples) -> Samples:
    """Sound without parts below 1 % of its peak at both ends; empty where all is silent."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max(initial=0.0))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def resample(samples: Samples, rate: float) -> Samples:
    """Resample sound from a rate in Hz to 16 kHz through its spectrum, with the same bytes for every numpy."""
    if rate == SAMPLE_RATE or not len(samples):
        return samples
    padded = np.concatenate([samples, np.zeros(fast_length(len(samples) + 256) - len(samples))])
    count = max(2, round(len(padded) * SAMPLE_RATE / rate))
    spectrum = np.fft.rfft(padded)
    bins = min(len(spectrum), count // 2 + 1)
    result = np.zeros(count // 2 + 1, complex)
    result[:bins] = spectrum[:bins]
    end = max(1, round(len(samples) * SAMPLE_RATE / rate))
    return np.fft.irfft(result, count)[:end] * (count / len(padded))


def fast_length(least: int) -> int:
    """The smallest product of twos, threes and fives from `least` on: the length of a fast Fourier transform."""
    best = 1 << (least - 1).bit_length()
    fives = 1
    while fives < best:
        threes = fives
        while threes < best:
            best = min(best, threes << max(0, (-(-least // threes) - 1).bit_length()))
            threes *= 3
        fives *= 5
    return best


def check_script(text: str, voice: Voice) -> None:
    """Refuse a text in letters that a voice does not read; phonemes between `[[` and `]]` are not checked.

    Raises:
        UsageError: It has such letters, or no letters.
    """
    if not any(letter.isalpha() for letter in text) or not text.isprintable():
        raise UsageError(f"{text[:60]!r} is not a phrase to speak", hint="give words, in a single line")
    if len(text) > _LONGEST_TEXT:
        message = f"a text of {len(text)} characters is too long to speak"
        raise UsageError(message, hint=f"use at most {_LONGEST_TEXT} characters; a wake word has about ten")
    scripts = ("LATIN", *_SCRIPTS.get(voice.language.partition("-")[0].partition("_")[0], ()))
    for letter in filter(str.isalpha, re.sub(r"\[\[.*?\]\]", "", text)):
        script = unicodedata.name(letter, "unknown").partition(" ")[0]
        if script not in scripts:
            message = f"the voice {voice.name} ({voice.language}) does not read {script.capitalize()} letters: {letter}"
            raise UsageError(
                message, hint="give a voice of the phrase's language with --voice, or spell the phrase in Latin letters"
            )
