from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.check import check
from harness.run import cutoff
from harness.run.cutoff import CutoffError, choose_cutoff, cutoff_chooser
from mww.core.errors import InputError, UsageError
from mww.esphome.contract import cutoff_byte, cutoff_of
from mww.esphome.detection import detect
from mww.esphome.frontend import quantize_features, wav_to_features
from mww.esphome.model import load_model


@pytest.fixture
def labelled(clips: Path, tmp_path: Path) -> Path:
    """Three clips of okay_nabu's own, and three of other speech, at which it reaches 169 of 255."""
    for kind, names in {"positive": ["okay_nabu/positive"], "negative": ["negative"]}.items():
        for name in names:
            shutil.copytree(clips / name, tmp_path / kind)
    return tmp_path


def test_it_is_the_best_of_all_bytes_under_the_devices_rule(models: Path, labelled: Path) -> None:
    model = load_model(models / "okay_nabu.json")
    choice = choose_cutoff(model, labelled, target_recall=0.9)
    assert cutoff_byte(choice.cutoff) == choice.cutoff_byte
    outputs = {}
    for kind in ("positive", "negative"):
        waves = sorted((labelled / kind).glob("*.wav"))
        arrays = {str(wav): quantize_features(wav_to_features(wav, lead_in=1.0)) for wav in waves}
        outputs[kind] = [clip.trace.outputs for clip in check(model, arrays).clips]
    counts = {}
    for byte in range(256):
        result = {
            kind: [len(detect(each, cutoff=cutoff_of(byte), window=5, stride=3)) for each in clips]
            for kind, clips in outputs.items()
        }
        counts[byte] = (sum(map(bool, result["positive"])), sum(result["negative"]))
    assert [(point.recall.hits, point.false_accepts.count) for point in choice.sweep] == list(counts.values())
    reaching = {byte: accepts for byte, (hits, accepts) in counts.items() if hits == 3}
    assert choice.at.false_accepts.count == min(reaching.values())
    assert choice.cutoff_byte == max(byte for byte, accepts in reaching.items() if accepts == min(reaching.values()))
    assert choice.at.false_accepts.hours == pytest.approx((412 + 347 + 450 - 300) * 0.01 / 3600)


@pytest.mark.parametrize("line", [1, 400, 800])
def test_clips_one_by_one_in_blocks_or_in_one_line_give_the_same(
    models: Path, labelled: Path, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(models / "okay_nabu.json")
    expected = choose_cutoff(model, labelled)
    monkeypatch.setattr(cutoff, "LINE", line)
    assert choose_cutoff(model, labelled) == expected


def test_the_chooser_takes_a_model_that_is_not_in_a_file(models: Path, labelled: Path) -> None:
    model = load_model(models / "okay_nabu.json")
    assert cutoff_chooser(labelled)(model.content, 5, 10) == choose_cutoff(model, labelled)


def test_a_recall_that_no_cutoff_gives_is_a_verdict(models: Path, labelled: Path) -> None:
    shutil.copy(labelled / "negative" / "speech-0.wav", labelled / "positive")
    with pytest.raises(CutoffError, match=r"no cutoff gives a recall of 0\.9: 3 of 4 clips") as caught:
        choose_cutoff(load_model(models / "okay_nabu.json"), labelled)
    assert caught.value.exit_code == 1


def test_what_is_missing_is_named(models: Path, labelled: Path) -> None:
    model = load_model(models / "okay_nabu.json")
    with pytest.raises(UsageError, match="target recall of 0"):
        choose_cutoff(model, labelled, target_recall=0)
    shutil.rmtree(labelled / "negative")
    with pytest.raises(InputError, match=r"the folder .*negative does not exist"):
        choose_cutoff(model, labelled)
