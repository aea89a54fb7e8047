"""What is drawn and computed, without any engine."""

# ruff: noqa: RUF001 -- IPA

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.synth.effects import (
    PEAK_DBFS,
    SNR_DB,
    active_rms,
    apply_effects,
    babble,
    draw_effects,
    music,
    noise,
    noises,
    repitch,
    tones,
)
from harness.synth.piper import logged_phonemes
from harness.synth.plan import MINUTE, Amounts, Material, committed_sentences, near_miss, read_sentences, shared
from harness.synth.speech import Voice, check_script, resample
from harness.synth.voices import printed_phonemes
from mww.core.errors import InputError, UsageError

CONSONANTS = ("b", "d", "k", "m", "s", "t", "v", "l", "h")
VOWELS = ("a", "ˈe", "i", "o", "ˈu")


def _material(seed: int = 3, voices: int = 3) -> Material:
    return Material(
        phrase="okay nabu",
        voices=tuple(Voice("flite", f"v{number}", "x", "en", "free") for number in range(voices)),
        vowels={"flite": "aeiou"},
        phonemes=lambda voice: (("o", "k", "e", " ", "n", "a", "b", "u"), CONSONANTS + VOWELS),
        sentences=committed_sentences(),
        seed=seed,
        suffix=".wav",
    )


@given(st.lists(st.sampled_from((*CONSONANTS, *VOWELS)), min_size=1, max_size=20), st.integers(0, 2**32))
def test_a_near_miss_has_the_phrases_rhythm_and_most_of_its_phonemes(phrase: list[str], seed: int) -> None:
    other = near_miss(phrase, CONSONANTS + VOWELS, "aeiou", np.random.default_rng(seed))
    assert len(other) == len(phrase)
    for before, after in zip(phrase, other, strict=True):
        assert (before in VOWELS) == (after.lstrip("ˈ")[0] in "aeiou")
        assert before.startswith("ˈ") == after.startswith("ˈ")
    if len(phrase) >= 4:
        assert 0.25 <= shared(phrase, other) < 1
    if len(phrase) >= 4 and set(phrase) & set(VOWELS) and set(phrase) & set(CONSONANTS):
        changed = {before in VOWELS for before, after in zip(phrase, other, strict=True) if before != after}
        assert changed == {True, False}


def test_phonemes_of_pipers_log_are_whole_sounds() -> None:
    line = "[['h', 'ˈ', 'e', 'ɪ', ' ', 'd', 'ʒ', 'ˈ', 'ɑ', 'ː', 'ɹ', 'v', 'ɪ', 's', '.']]"
    assert logged_phonemes(line) == ("h", "ˈeɪ", " ", "dʒ", "ˈɑː", "ɹ", "v", "ɪ", "s")
    assert logged_phonemes("[['t', 'ʲ', ' ', 'ɔ', '̃']]") == ("tʲ", " ", "ɔ̃")
    assert logged_phonemes("[[open('x')]]") == ()


def test_phonemes_of_espeak_without_the_marks_of_foreign_words() -> None:
    assert printed_phonemes("h_'eI (en)_k_(de)_t\n (en) s\n") == ("h", "'eI", " ", "k", "t", " ", "s")


@given(st.integers(8000, 48000), st.integers(200, 3000))
@settings(max_examples=25)
def test_resampling_keeps_a_tone_and_its_time(rate: int, frequency: int) -> None:
    tone = np.sin(2 * np.pi * frequency * np.arange(rate) / rate)
    result = resample(tone, rate)
    assert len(result) == pytest.approx(16000, abs=1)
    spectrum = np.abs(np.fft.rfft(result))
    assert np.argmax(spectrum) * 16000 / len(result) == pytest.approx(frequency, abs=2)


def test_pitch_moves_up_with_the_semitones() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    higher = repitch(tone, 12)
    assert len(higher) == 8000
    assert np.argmax(np.abs(np.fft.rfft(higher))) * 2 == pytest.approx(880, abs=2)


@given(st.integers(0, 2**32))
@settings(max_examples=25)
def test_effects_keep_the_length_the_level_and_the_word_above_the_noise(seed: int) -> None:
    random = np.random.default_rng(seed)
    effects = draw_effects(random)
    assert PEAK_DBFS[0] <= effects.peak_dbfs <= PEAK_DBFS[1]
    assert SNR_DB[0] <= effects.snr_db <= SNR_DB[1]
    clip = np.zeros(24_000)
    clip[8000:16000] = 0.3 * np.sin(2 * np.pi * 700 * np.arange(8000) / 16000)
    result = apply_effects(clip, effects, random)
    assert result.shape == clip.shape
    assert 20 * np.log10(np.abs(result).max()) == pytest.approx(effects.peak_dbfs)
    assert active_rms(result[8000:16000]) > 3 * active_rms(result[:8000])


def test_noises_have_their_colours() -> None:
    def share_below(kind: str, hertz: int) -> float:
        power = np.abs(np.fft.rfft(noise(kind, 32_000, np.random.default_rng(1)))) ** 2  # type: ignore[arg-type]
        return float(power[: hertz * 2].sum() / power.sum())

    shares = [share_below(kind, 500) for kind in ("white", "pink", "brown")]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[2] > 0.9


def test_sounds_that_are_not_speech_fill_their_time_and_do_not_clip() -> None:
    length = 16_000 * 5
    talker = np.sin(np.arange(20_000) / 9)
    for made in (noises, tones, music, lambda size, random: babble([talker, talker[:7000]], size, random)):
        sound = made(length, np.random.default_rng(4))
        assert sound.shape == (length,)
        assert 0.01 < np.abs(sound).max() < 2
        np.testing.assert_array_equal(sound, made(length, np.random.default_rng(4)))


def test_a_clip_does_not_depend_on_how_many_are_asked_for() -> None:
    few = {clip.name: clip for clip in _material().clips(Amounts(5, 4, 0.05))}
    many = {clip.name: clip for clip in _material().clips(Amounts(9, 9, 0.2))}
    assert few.items() <= many.items()
    assert few != {clip.name: clip for clip in _material(seed=4).clips(Amounts(5, 4, 0.05))}


def test_negatives_are_mostly_sentences_and_last_as_long_as_asked_for() -> None:
    clips = list(_material().clips(Amounts(0, 0, 1.0)))
    assert len(clips) * MINUTE == 3600
    sounds = [clip.sound for clip in clips]
    assert sounds.count("speech") == 36
    assert {"babble", "noise", "tones", "music"} < set(sounds)


def test_voices_take_turns() -> None:
    spoken = [clip.parts[0].voice.name for clip in _material(voices=4).clips(Amounts(12, 0, 0))]
    assert {name: spoken.count(name) for name in spoken} == {f"v{number}": 3 for number in range(4)}


def test_sentences_never_hold_the_phrase() -> None:
    random = np.random.default_rng(0)
    sentences = committed_sentences()
    drawn = [sentences.draw(random, "the kitchen") for _ in range(300)]
    assert not any("the kitchen" in sentence for sentence in drawn)
    assert len(set(drawn)) > 250
    assert not any("{" in sentence for sentence in drawn)


def test_a_file_of_sentences_is_taken_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("Guten Morgen.\n\nOkay, Nabu!\n42\n  Das Licht ist an  \n", encoding="utf-8")
    assert read_sentences(file, "okay nabu").patterns == ("Guten Morgen.", "Das Licht ist an")
    file.write_text("okay nabu\n")
    with pytest.raises(InputError, match="does not contain a sentence"):
        read_sentences(file, "okay nabu")


@pytest.mark.parametrize(
    ("language", "text"),
    [("en-us", "привет"), ("ru", "こんにちは"), ("en-us", "42"), ("en-us", ""), ("en-us", "a\nb"), ("de", "שלום")],
)
def test_letters_that_a_voice_does_not_read_are_refused(language: str, text: str) -> None:
    with pytest.raises(UsageError):
        check_script(text, Voice("espeak-ng", "x", "x", language, ""))


def test_a_phrase_of_thousands_of_letters_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="10000 characters"):
        check_script("a" * 10_000, Voice("espeak-ng", "x", "x", "en", ""))


@pytest.mark.parametrize(
    ("language", "text"),
    [("ru", "привет Nabu"), ("de", "Grüß Gott"), ("en-us", "hey [[mˈaɪkɹɔːθ]]"), ("ja", "ねえ ナブ 海")],
)
def test_letters_of_the_voices_language_are_taken(language: str, text: str) -> None:
    check_script(text, Voice("espeak-ng", "x", "x", language, ""))


@pytest.mark.parametrize(
    "amounts", [Amounts(0, 0, 0), Amounts(-1, 0, 0), Amounts(1, 10**9, 0), Amounts(1, 0, float("nan"))]
)
def test_amounts_that_nobody_can_want_are_refused(amounts: Amounts) -> None:
    with pytest.raises(UsageError):
        amounts.check()
