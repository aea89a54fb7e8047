"""Near misses by rule: the phrase's own phonemes with some of them exchanged, vowels for vowels, others for others.

What is left is most of the phrase, in its order and rhythm. It needs no dictionary, so it works in each language that
an engine speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

STRESS: Final = "'ˈˌ,%="
"""Marks that stand before a phoneme and stay where they are."""

EXCHANGED: Final = (0.3, 0.5)
"""Share of the phonemes that are exchanged, and at least two; with fewer, people too take many for the phrase."""

_ALIKE: Final = (
    *("pb", "td", "kgɡ", "fvθðTDh", "szʃʒSZ", "mnŋN", "lrɹɾw"),  # noqa: RUF001 -- IPA
    *("iɪIyj", "uʊUoɔO", "ɑaæʌV0Aɐ", "eɛEə@ɚɜ3"),  # noqa: RUF001
)
"""Sounds that are easily taken for each other; a phoneme is never exchanged for such."""
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
"""The same for phonemes of several letters that flite knows."""


def near_miss(
    phrase: Sequence[str], inventory: Sequence[str], vowels: str, random: np.random.Generator
) -> tuple[str, ...]:
    """Exchange some phonemes of a phrase, at least one vowel and one other where it has both.

    Args:
        phrase: Its phonemes, with `" "` between words.
        inventory: The phonemes to choose from, as the same engine writes them.
        vowels: First letters of vowels.
        random: Chooses.

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
    """The share of a phrase's phonemes that stand at the same place in another of the same length, 0..1."""
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
