"""The plan of a set of clips, from a seed: each clip's words, voice and effects, before anything is spoken.

A clip depends on its number, the seed, the phrase and the voices; the number of clips does not change earlier clips.
Near misses follow a rule: some phonemes of the phrase are exchanged, vowels for vowels, consonants for consonants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np

from harness.run.evaluation.labels import LABELS, LabelKind
from harness.synth.effects import Effects, draw_effects
from harness.synth.speech import Saying, Voice
from mww.core.errors import InputError, UsageError
from mww.core.readable import open_regular, shown
from mww.core.resources import read_toml

_LIST: Final = Path(__file__).with_name("sentences.toml")
_MOST: Final = 16 << 20  # bytes of a file of sentences
_LONGEST: Final = 300  # letters of a line
_TRIES: Final = 1000

STRESS: Final = "'ˈˌ,%="
"""Marks before a phoneme, which stay in place."""

EXCHANGED: Final = (0.3, 0.5)
"""Share of the phonemes that are exchanged, at least two; with fewer, people also hear the phrase."""

_ALIKE: Final = (
    *("pb", "td", "kgɡ", "fvθðTDh", "szʃʒSZ", "mnŋN", "lrɹɾw"),  # noqa: RUF001 -- IPA
    *("iɪIyj", "uʊUoɔO", "ɑaæʌV0Aɐ", "eɛEə@ɚɜ3"),  # noqa: RUF001
)
"""Sounds that are easily confused; a phoneme is never exchanged for one of its group."""
_WORDS_ALIKE: Final = (
    ("th", "dh", "f", "v", "hh"),
    ("s", "z", "sh", "zh", "ch", "jh"),
    ("m", "n", "ng"),
    ("l", "r", "w"),
    ("iy", "ih", "y"),
    ("uw", "uh", "ow"),
    ("aa", "ao", "ah", "ae", "aw"),
    ("ey", "eh", "ax", "er"),
    ("ay", "oy"),
)
"""The same for flite's phonemes of several letters."""

_T = TypeVar("_T")

Sound = Literal["speech", "babble", "noise", "tones", "music"]

MINUTE: Final = 60
"""Seconds of a negative clip."""
SPEEDS: Final = (0.9, 1.0, 1.12)
"""Speeds relative to the voice's own."""
MOST_CLIPS: Final = 100_000
MOST_HOURS: Final = 1000.0

_KINDS: Final = tuple(LABELS)
_MINUTES: Final[tuple[Sound, ...]] = (
    *("speech", "speech", "babble", "speech", "noise", "speech", "speech", "tones", "speech", "music"),
)
"""The content of the minutes of negatives, in turn: six of ten are sentences."""
_SENTENCES: Final = 18  # a minute, with their pauses
_TALKERS: Final = 4
_SENTENCES_A_TALKER: Final = 4


@dataclass(frozen=True, slots=True)
class Sentences:
    """The source of sentences.

    Attributes:
        patterns: Sentences, or patterns with names of words in braces.
        words: Words by name.
    """

    patterns: tuple[str, ...]
    words: Mapping[str, Sequence[str]]

    def draw(self, random: np.random.Generator, without: str) -> str:
        """A sentence without the phrase.

        Raises:
            InputError: All sentences contain it.
        """
        for _ in range(_TRIES):
            sentence = self._fill(_any_of(self.patterns, random), random)
            if f" {_plain(without)} " not in f" {_plain(sentence)} ":
                return sentence
        raise InputError(f"every sentence contains {shown(without)}", hint="give other sentences with --sentences FILE")

    def _fill(self, pattern: str, random: np.random.Generator) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: _any_of(self.words[match[1]], random), pattern)


def committed_sentences() -> Sentences:
    """English sentences of the committed list; CC0."""
    document = read_toml(_LIST)
    return Sentences(tuple(document["patterns"]), document["words"])


def read_sentences(path: Path, phrase: str) -> Sentences:
    """The lines of a text file that can be spoken and do not contain the phrase.

    Raises:
        InputError: It cannot be read, or has no such line.
    """
    try:
        with open_regular(path) as file:
            text = file.read(_MOST).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as text in UTF-8", hint="give a text file, a sentence a line") from error
    lines = tuple(_usable(text.splitlines(), phrase))
    if not lines:
        raise InputError(
            f"{path} does not contain a sentence", hint=f"a sentence a line, at most {_LONGEST} letters each"
        )
    return Sentences(lines, {})


def _usable(lines: Sequence[str], phrase: str) -> Iterator[str]:
    for line in (line.strip() for line in lines):
        speakable = any(letter.isalpha() for letter in line) and line.isprintable() and not set("[]{}<>") & set(line)
        if speakable and len(line) <= _LONGEST and f" {_plain(phrase)} " not in f" {_plain(line)} ":
            yield line


def _any_of(entries: Sequence[str], random: np.random.Generator) -> str:
    return entries[int(random.integers(len(entries)))]


def _plain(text: str) -> str:
    """A text in lower case with single spaces, without punctuation."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.casefold()).split())


def near_miss(
    phrase: Sequence[str], inventory: Sequence[str], vowels: str, random: np.random.Generator
) -> tuple[str, ...]:
    """Exchange some phonemes of a phrase, at least one vowel and one other where it has both.

    Args:
        phrase: Its phonemes, with `" "` between words.
        inventory: The phonemes to choose from, as the same engine writes them.
        vowels: First letters of vowels.
        random: The random generator.

    Returns:
        As many phonemes, the same but for those that were exchanged.
    """
    places = [place for place, phoneme in enumerate(phrase) if phoneme != " "]
    if not places:
        return tuple(phrase)
    count = max(2, round(len(places) * random.uniform(*EXCHANGED)))
    order = [places[index] for index in random.permutation(len(places))]
    vowel_first = [place for place in order if _is_vowel(phrase[place], vowels)]
    other_first = [place for place in order if not _is_vowel(phrase[place], vowels)]
    chosen = list(dict.fromkeys([*vowel_first[:1], *other_first[:1], *order]))[:count]
    result = list(phrase)
    for place in sorted(chosen):
        result[place] = _exchanged(phrase[place], inventory, vowels, random)
    return tuple(result)


def shared(phrase: Sequence[str], other: Sequence[str]) -> float:
    """The share of a phrase's phonemes that another phrase of the same length has at the same place, 0..1."""
    pairs = [(a, b) for a, b in zip(phrase, other, strict=True) if a != " "]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else 0.0


def _exchanged(phoneme: str, inventory: Sequence[str], vowels: str, random: np.random.Generator) -> str:
    mark = phoneme[: len(phoneme) - len(phoneme.lstrip(STRESS))]
    sound = phoneme[len(mark) :]
    sounds = sorted({entry.lstrip(STRESS) for entry in inventory} - {"", " ", sound})
    kind = _is_vowel(sound, vowels)
    fitting = [other for other in sounds if _is_vowel(other, vowels) == kind and not _alike(sound, other)]
    return mark + fitting[int(random.integers(len(fitting)))] if fitting else phoneme


def _is_vowel(phoneme: str, vowels: str) -> bool:
    return phoneme.lstrip(STRESS)[:1] in tuple(vowels)


def _alike(first: str, second: str) -> bool:
    if first[0] == second[0]:
        return True
    together = any(first in group and second in group for group in _WORDS_ALIKE)
    return together or any(first[0] in group and second[0] in group for group in _ALIKE)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a clip that a single voice speaks."""

    voice: Voice
    speed: float
    sayings: tuple[Saying, ...]


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """A clip.

    Attributes:
        kind: Its label, and the folder that it goes to.
        name: Its path below the output folder.
        sound: The kind of its content.
        parts: The spoken parts; empty for sounds other than speech.
        effects: Its effects.
        entropy: Seed of the random numbers that make it.
    """

    kind: LabelKind
    name: str
    sound: Sound
    parts: tuple[Part, ...]
    effects: Effects
    entropy: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Amounts:
    """The requested amounts: clips of the phrase, near misses, hours of negatives."""

    count: int
    near_misses: int
    hours: float

    def check(self) -> None:
        """Check the amounts.

        Raises:
            UsageError: An amount is out of range.
        """
        for flag, value in (("--count", self.count), ("--near-misses", self.near_misses)):
            if not 0 <= value <= MOST_CLIPS:
                raise UsageError(f"{flag} {value}", hint=f"0 to {MOST_CLIPS}")
        if not (isfinite(self.hours) and 0 <= self.hours <= MOST_HOURS):
            raise UsageError(f"--negatives {self.hours}", hint=f"hours, 0 to {MOST_HOURS:.0f}")
        if not (self.count or self.near_misses or self.hours):
            raise UsageError("there is nothing to make", hint="set --count, --near-misses or --negatives above 0")


@dataclass(frozen=True, slots=True)
class Material:
    """The material for clips.

    Attributes:
        phrase: The wake word.
        voices: The voices, in the order in which clips use them.
        vowels: By engine, first letters of its vowels.
        phonemes: Phonemes of the phrase by a voice, and those that may replace them.
        sentences: Sentences for the negatives.
        seed: Decides everything else.
        suffix: Of the files of negatives.
    """

    phrase: str
    voices: tuple[Voice, ...]
    vowels: Mapping[str, str]
    phonemes: Callable[[Voice], tuple[Sequence[str], Sequence[str]]]
    sentences: Sentences
    seed: int
    suffix: str

    def clips(self, amounts: Amounts) -> Iterator[ClipPlan]:
        """Every clip, in order."""
        for number in range(amounts.count):
            yield self._short("positive", number, lambda voice, random: Saying(self.phrase))
        for number in range(amounts.near_misses):
            yield self._short("near-miss", number, self._near_miss)
        for number in range(ceil(amounts.hours * 3600 / MINUTE - 1e-9)):
            yield self._minute(number)

    def _short(self, kind: LabelKind, number: int, saying: Callable[[Voice, np.random.Generator], Saying]) -> ClipPlan:
        entropy = (self.seed, _KINDS.index(kind), number)
        random = np.random.default_rng(entropy)
        voice = self.voices[number % len(self.voices)]
        part = Part(voice, _any(SPEEDS, random), (saying(voice, random),))
        name = f"{kind}/{number:05d}-{re.sub(r'[^A-Za-z0-9_+-]', '_', voice.name)}.wav"
        return ClipPlan(kind, name, "speech", (part,), draw_effects(random), (*entropy, 1))

    def _near_miss(self, voice: Voice, random: np.random.Generator) -> Saying:
        phrase, inventory = self.phonemes(voice)
        phonemes = near_miss(phrase, inventory, self.vowels[voice.engine], random)
        return Saying(" ".join(phonemes), phonemes)

    def _minute(self, number: int) -> ClipPlan:
        entropy = (self.seed, _KINDS.index("negative"), number)
        random = np.random.default_rng(entropy)
        sound = _MINUTES[number % len(_MINUTES)]
        talkers, sentences = {"speech": (1, _SENTENCES), "babble": (_TALKERS, _SENTENCES_A_TALKER)}.get(sound, (0, 0))
        parts = tuple(self._talker(sentences, random) for _ in range(talkers))
        name = f"negative/{number:05d}-{sound}{self.suffix}"
        return ClipPlan("negative", name, sound, parts, draw_effects(random), (*entropy, 1))

    def _talker(self, sentences: int, random: np.random.Generator) -> Part:
        voice, speed = _any(self.voices, random), _any(SPEEDS, random)
        return Part(voice, speed, tuple(Saying(self.sentences.draw(random, self.phrase)) for _ in range(sentences)))


def _any(entries: Sequence[_T], random: np.random.Generator) -> _T:
    return entries[int(random.integers(len(entries)))]
