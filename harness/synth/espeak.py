"""espeak-ng: formant voices in a hundred languages, with variants of each; of wake words it says some to nobody."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.synth.speech import Samples, Saying, Voice, call, read_speech
from mww.core.errors import SpeechError

_VARIANTS: Final = ("", "+f2", "+f4", "+m3", "+m7", "+Annie", "+linda", "+steph", "+klatt2", "+Andy")
_ACCENTS: Final = ("en-us", "en-gb")
_WORDS_A_MINUTE: Final = 165
_SPEEDS: Final = (80, 450)
_NAME: Final = re.compile(r"[A-Za-z0-9-]+(\+[A-Za-z0-9_-]+)?")
_LICENCE: Final = "GPL-3.0-or-later"


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
        return tuple(_voice(accent + variant) for variant in _VARIANTS for accent in _ACCENTS)

    def find(self, name: str) -> tuple[Voice, ...]:
        """See `Engine`."""
        base, _, variant = name.partition("+")
        if not _NAME.fullmatch(name) or base.lower() not in self._languages():
            return ()
        if variant and variant.lower() not in self._variants():
            return ()
        return (_voice(name),)

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
        return [_phonemes(call(command, text=text).stdout) for text in texts]

    def _languages(self) -> set[str]:
        rows = [row.split() for row in call([self.name, "--voices"]).stdout.splitlines()[1:]]
        return {row[1].lower() for row in rows if len(row) > 4}

    def _variants(self) -> set[str]:
        rows = [row.split() for row in call([self.name, "--voices=variant"]).stdout.splitlines()[1:]]
        return {row[4].rpartition("/")[2].lower() for row in rows if len(row) > 4} | {"f2", "f4", "m3", "m7"}


def _voice(name: str) -> Voice:
    return Voice("espeak-ng", name, name, name.partition("+")[0].lower(), _LICENCE)


def _phonemes(output: str) -> tuple[str, ...]:
    """Phonemes of the program's mnemonics, `h_'eI dZ_'A@_v_I_s`; a foreign word stands between `(en)` and `(de)`."""
    spoken = re.sub(r"\([a-z-]+\)", "_", output)
    words = [word for word in ([part for part in word.split("_") if part] for word in spoken.split()) if word]
    return tuple(part for number, word in enumerate(words) for part in ([" "] if number else []) + word)
