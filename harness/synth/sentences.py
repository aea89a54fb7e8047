"""Ordinary sentences: patterns filled with words of a committed list, or lines of the user's own file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mww.core.errors import InputError
from mww.core.readable import open_regular
from mww.core.resources import read_toml

_LIST: Final = Path(__file__).with_name("sentences.toml")
_MOST: Final = 16 << 20  # bytes of a file of sentences
_LONGEST: Final = 300  # letters of a line
_TRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class Sentences:
    """Where sentences come from.

    Attributes:
        patterns: Sentences, or patterns with names of words in braces.
        words: Names to words.
    """

    patterns: tuple[str, ...]
    words: Mapping[str, Sequence[str]]

    def draw(self, random: np.random.Generator, without: str) -> str:
        """A sentence in which a phrase does not occur.

        Raises:
            InputError: It occurs in all.
        """
        for _ in range(_TRIES):
            sentence = self._fill(_any(self.patterns, random), random)
            if f" {_plain(without)} " not in f" {_plain(sentence)} ":
                return sentence
        raise InputError(f"every sentence holds {without!r}", hint="give others with --sentences FILE")

    def _fill(self, pattern: str, random: np.random.Generator) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: _any(self.words[match[1]], random), pattern)


def committed_sentences() -> Sentences:
    """English sentences of the committed list; CC0."""
    document = read_toml(_LIST)
    return Sentences(tuple(document["patterns"]), document["words"])


def read_sentences(path: Path, phrase: str) -> Sentences:
    """The lines of a text file that can be spoken and do not hold the phrase.

    Raises:
        InputError: It cannot be read, or holds no such line.
    """
    try:
        with open_regular(path) as file:
            text = file.read(_MOST).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as text in UTF-8", hint="give a text file, a sentence a line") from error
    lines = tuple(_usable(text.splitlines(), phrase))
    if not lines:
        raise InputError(f"{path} holds no sentence", hint=f"a sentence a line, at most {_LONGEST} letters each")
    return Sentences(lines, {})


def _usable(lines: Sequence[str], phrase: str) -> Iterator[str]:
    for line in (line.strip() for line in lines):
        speakable = any(letter.isalpha() for letter in line) and line.isprintable() and not set("[]{}<>") & set(line)
        if speakable and len(line) <= _LONGEST and f" {_plain(phrase)} " not in f" {_plain(line)} ":
            yield line


def _any(entries: Sequence[str], random: np.random.Generator) -> str:
    return entries[int(random.integers(len(entries)))]


def _plain(text: str) -> str:
    """A text in small letters and single spaces, without punctuation."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.casefold()).split())
