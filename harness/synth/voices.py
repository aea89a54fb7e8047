"""The speech engines of this computer and their voices: espeak-ng and flite here, Piper in `harness.synth.piper`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.synth.piper import PACKAGES, Piper
from harness.synth.speech import Engine, Samples, Saying, Voice, call, check_script, read_speech
from mww.core.errors import SpeechError, UsageError
from mww.core.readable import is_file

_VARIANTS: Final = ("", "+f2", "+f4", "+m3", "+m7", "+Annie", "+linda", "+steph", "+klatt2", "+Andy")
_ACCENTS: Final = ("en-us", "en-gb")
_WORDS_A_MINUTE: Final = 165
_SPEEDS: Final = (80, 450)
_NAME: Final = re.compile(r"[A-Za-z0-9-]+(\+[A-Za-z0-9_-]+)?")
_ESPEAK_LICENCE: Final = "GPL-3.0-or-later"

_LEFT_OUT: Final = ("kal", "awb_time")
"""Voices with 8 kHz, and voices that only tell the time."""
_FLITE_LICENCE: Final = "MIT-like (CMU)"
_PAUSE: Final = "pau"

FEW_VOICES: Final = 10
"""With fewer voices, a recall describes the voices more than the word."""

_SHOWN: Final = 12


class Espeak:
    """The program `espeak-ng`."""

    name = "espeak-ng"
    vowels = "aeiouyAEIOUYV03@&"

    def version(self) -> str | None:
        """See `Engine`."""
        if shutil.which(self.name) is None:
            return None
        match = re.search(r"\d+(\.\d+)+", call([self.name, "--version"]).stdout)
        return match[0] if match else "unknown"

    def missing(self) -> SpeechError:
        """See `Engine`."""
        return SpeechError(
            "espeak-ng is not installed", hint="sudo apt-get install espeak-ng (macOS: brew install espeak-ng)"
        )

    def voices(self) -> tuple[Voice, ...]:
        """See `Engine`."""
        return tuple(_espeak_voice(accent + variant) for variant in _VARIANTS for accent in _ACCENTS)

    def find(self, name: str) -> tuple[Voice, ...]:
        """See `Engine`."""
        base, _, variant = name.partition("+")
        if not _NAME.fullmatch(name) or base.lower() not in self._languages():
            return ()
        if variant and variant.lower() not in self._variants():
            return ()
        return (_espeak_voice(name),)

    def speak(self, voice: Voice, speed: float, sayings: Sequence[Saying], folder: Path) -> list[Samples]:
        """See `Engine`."""
        words = min(max(round(_WORDS_A_MINUTE * speed), _SPEEDS[0]), _SPEEDS[1])
        file = folder / "speech.wav"
        results = []
        for saying in sayings:
            text = f"[[{''.join(saying.phonemes)}]]" if saying.phonemes else saying.text
            call([self.name, "-v", voice.handle, "-s", str(words), "-w", str(file), "--stdin"], text=text)
            results.append(read_speech(file, self.name))
            file.unlink()
        return results

    def phonemes(self, voice: Voice, texts: Sequence[str], folder: Path) -> list[tuple[str, ...]]:
        """See `Engine`."""
        command = [self.name, "-q", "-x", "--sep=_", "-v", voice.handle, "--stdin"]
        return [printed_phonemes(call(command, text=text).stdout) for text in texts]

    def _languages(self) -> set[str]:
        rows = [row.split() for row in call([self.name, "--voices"]).stdout.splitlines()[1:]]
        return {row[1].lower() for row in rows if len(row) > 4}

    def _variants(self) -> set[str]:
        rows = [row.split() for row in call([self.name, "--voices=variant"]).stdout.splitlines()[1:]]
        return {row[4].rpartition("/")[2].lower() for row in rows if len(row) > 4} | {"f2", "f4", "m3", "m7"}


def _espeak_voice(name: str) -> Voice:
    return Voice("espeak-ng", name, name, name.partition("+")[0].lower(), _ESPEAK_LICENCE)


def printed_phonemes(output: str) -> tuple[str, ...]:
    """Phonemes from the program's mnemonics, `h_'eI dZ_'A@_v_I_s`; a foreign word is between `(en)` and `(de)`."""
    spoken = re.sub(r"\([a-z-]+\)", "_", output)
    words = [word for word in ([part for part in word.split("_") if part] for word in spoken.split()) if word]
    return tuple(part for number, word in enumerate(words) for part in ([" "] if number else []) + word)


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
        return tuple(_flite_voice(name, name, _FLITE_LICENCE) for name in self._built_in() if name not in _LEFT_OUT)

    def find(self, name: str) -> tuple[Voice, ...]:
        """See `Engine`."""
        if name.endswith(".flitevox"):
            return (_flite_voice(Path(name).stem, name, "unknown"),) if is_file(Path(name)) else ()
        return (_flite_voice(name, name, _FLITE_LICENCE),) if name in self._built_in() else ()

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


def _flite_voice(name: str, handle: str, licence: str) -> Voice:
    return Voice("flite", name, handle, "en-us", licence)


ENGINES: Final[Mapping[str, Engine]] = {engine.name: engine for engine in (Piper(), Flite(), Espeak())}
"""All engines by name, the best for a wake word first."""


def choose_engines(names: Sequence[str]) -> tuple[Engine, ...]:
    """The engines with these names; without names all installed engines, espeak-ng only without another.

    Raises:
        SpeechError: A named engine is not installed, or no engine is.
    """
    if names:
        chosen = [ENGINES[name] for name in dict.fromkeys(names)]
        for engine in chosen:
            if engine.version() is None:
                raise engine.missing()
        return tuple(chosen)
    here = [engine for engine in ENGINES.values() if engine.version() is not None]
    if not here:
        hint = f"{ENGINES['piper'].missing().hint}; or sudo apt-get install flite"
        raise SpeechError("no speech engine is installed: piper, flite or espeak-ng", hint=hint)
    return tuple(engine for engine in here if engine.name != "espeak-ng") or tuple(here)


def choose_voices(engines: Sequence[Engine], names: Sequence[str], phrase: str) -> tuple[Voice, ...]:
    """The voices with these names, each of one of the engines; without names those that the engines offer.

    Raises:
        SpeechError: A voice does not exist, or an engine has no voice.
        UsageError: A voice does not read the phrase's letters.
    """
    if names:
        voices = tuple(dict.fromkeys(voice for name in names for voice in _named(engines, name)))
        for voice in voices:
            check_script(phrase, voice)
        return voices
    offered = [voice for engine in engines for voice in engine.voices()]
    if not offered:
        hint = f"give a voice with --voice FILE, or install one: pip install {PACKAGES} beside the program"
        raise SpeechError(f"{' and '.join(engine.name for engine in engines)} has no voice", hint=hint)
    reading = tuple(voice for voice in offered if _reads(voice, phrase))
    if not reading:
        check_script(phrase, offered[0])
    return reading


def _named(engines: Sequence[Engine], name: str) -> tuple[Voice, ...]:
    for engine in engines:
        if voices := engine.find(name):
            return voices
    known = [voice.name for engine in engines for voice in engine.voices()]
    more = f", and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    where = " and ".join(engine.name for engine in engines)
    hint = f"the voices are {', '.join(known[:_SHOWN])}{more}; or give a voice file, .onnx or .flitevox"
    raise SpeechError(f"the voice {name[:80]!r} is not among those of {where}", hint=hint)


def _reads(voice: Voice, phrase: str) -> bool:
    try:
        check_script(phrase, voice)
    except UsageError:
        return False
    return True
