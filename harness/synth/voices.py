"""Which engines are here, and which voices speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from harness.synth.espeak import Espeak
from harness.synth.flite import Flite
from harness.synth.piper import PACKAGES, Piper
from harness.synth.speech import Engine, Voice, check_script
from mww.core.errors import SpeechError, UsageError

ENGINES: Final[Mapping[str, Engine]] = {engine.name: engine for engine in (Piper(), Flite(), Espeak())}
"""By name, the best for a wake word first."""

FEW_VOICES: Final = 10
"""Below so many, a recall says more of the voices than of the word."""

_SHOWN: Final = 12


def choose_engines(names: Sequence[str]) -> tuple[Engine, ...]:
    """The engines of these names; without any, all that are installed, espeak-ng only where it is the only one.

    Raises:
        SpeechError: One of them is not installed, or not any.
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
        raise SpeechError("no engine of speech is installed: piper, flite or espeak-ng", hint=hint)
    return tuple(engine for engine in here if engine.name != "espeak-ng") or tuple(here)


def choose_voices(engines: Sequence[Engine], names: Sequence[str], phrase: str) -> tuple[Voice, ...]:
    """The voices of these names, of one of the engines each; without any, those that the engines offer for the phrase.

    Raises:
        SpeechError: A voice does not exist, or an engine has none.
        UsageError: A voice does not read the phrase's letters.
    """
    if names:
        voices = tuple(dict.fromkeys(voice for name in names for voice in _named(engines, name)))
        for voice in voices:
            check_script(phrase, voice)
        return voices
    offered = [voice for engine in engines for voice in engine.voices()]
    if not offered:
        hint = f"name one with --voice FILE, or install one: pip install {PACKAGES} beside the program"
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
    hint = f"there are {', '.join(known[:_SHOWN])}{more}; or give a voice's file, .onnx or .flitevox"
    raise SpeechError(f"{where} has no voice {name[:80]!r}", hint=hint)


def _reads(voice: Voice, phrase: str) -> bool:
    try:
        check_script(phrase, voice)
    except UsageError:
        return False
    return True
