"""What is to be made, decided by seed alone before anything is spoken: each clip with its words, voice and effects.

A clip depends on its number, the seed, the phrase and the voices, not on how many clips there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Final, Literal, TypeVar

import numpy as np

from harness.run.evaluation.labels import LABELS, LabelKind
from harness.synth.effects import Effects, draw_effects
from harness.synth.near_misses import near_miss
from harness.synth.sentences import Sentences
from harness.synth.speech import Saying, Voice
from mww.core.errors import UsageError

_T = TypeVar("_T")

Sound = Literal["speech", "babble", "noise", "tones", "music"]

MINUTE: Final = 60
"""Seconds of a negative clip."""
SPEEDS: Final = (0.9, 1.0, 1.12)
"""Of the voice's own."""
MOST_CLIPS: Final = 100_000
MOST_HOURS: Final = 1000.0

_KINDS: Final = tuple(LABELS)
_MINUTES: Final[tuple[Sound, ...]] = (
    *("speech", "speech", "babble", "speech", "noise", "speech", "speech", "tones", "speech", "music"),
)
"""What the minutes of negatives hold, in turn: six of ten are sentences."""
_SENTENCES: Final = 18  # a minute, with their pauses
_TALKERS: Final = 4
_SENTENCES_A_TALKER: Final = 4


@dataclass(frozen=True, slots=True)
class Part:
    """What one voice says."""

    voice: Voice
    speed: float
    sayings: tuple[Saying, ...]


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """A clip.

    Attributes:
        kind: Its label, and the folder that it goes to.
        name: Its path below the output folder.
        sound: What it holds.
        parts: What is spoken; empty for sounds that are not speech.
        effects: What happens to it.
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
    """How much is asked for: clips of the phrase, near misses, hours of negatives."""

    count: int
    near_misses: int
    hours: float

    def check(self) -> None:
        """Refuse what nobody can want.

        Raises:
            UsageError: Out of range.
        """
        for flag, value in (("--count", self.count), ("--near-misses", self.near_misses)):
            if not 0 <= value <= MOST_CLIPS:
                raise UsageError(f"{flag} {value}", hint=f"0 to {MOST_CLIPS}")
        if not (isfinite(self.hours) and 0 <= self.hours <= MOST_HOURS):
            raise UsageError(f"--negatives {self.hours}", hint=f"hours, 0 to {MOST_HOURS:.0f}")
        if not (self.count or self.near_misses or self.hours):
            raise UsageError("there is nothing to make", hint="--count, --near-misses or --negatives above 0")


@dataclass(frozen=True, slots=True)
class Material:
    """What clips are made of.

    Attributes:
        phrase: The wake word.
        voices: Who speaks, in the order in which clips take them.
        vowels: By engine, first letters of its vowels.
        phonemes: Of the phrase by a voice, and those that may stand in their place.
        sentences: What negatives say.
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
