"""Statistics of labelled clips: counts under the device's rule, each with the time or number behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness.run.evaluation.labels import Label, LabelError, labels_from_names, read_labels
from harness.run.evaluation.statistics import SWEEP_BYTES, LabelledOutputs, Rule, evaluate, sweep
from mww.esphome.contract import cutoff_byte, cutoff_of
from mww.esphome.detection import detect

RULE = Rule(window=5, stride=3, feature_step_size=10)
POSITIVE, NEGATIVE = Label("positive"), Label("negative")


def _outputs(seconds: float, *bursts: float, level: int = 255) -> npt.NDArray[np.uint8]:
    """Outputs of a clip at one each 30 ms that rise to `level` for 300 ms at each time."""
    outputs = np.zeros(round(seconds / 0.03), np.uint8)
    for at in bursts:
        outputs[round(at / 0.03) : round(at / 0.03) + 10] = level
    return outputs


def _clip(name: str, label: Label, outputs: npt.NDArray[np.uint8], lead_in: float = 0.0) -> LabelledOutputs:
    return LabelledOutputs(name, label, outputs, len(outputs) * 0.03 - lead_in, lead_in)


def test_recall_and_false_accepts_come_with_what_they_rest_on() -> None:
    clips = [
        _clip("heard", POSITIVE, _outputs(3, 2)),
        _clip("missed", POSITIVE, _outputs(3)),
        _clip("quiet", NEGATIVE, _outputs(1800)),
        _clip("loud", NEGATIVE, _outputs(1800, 100, 200, 200.5)),
    ]
    result = evaluate(clips, RULE, cutoff_byte(0.97))
    assert (result.at.recall.hits, result.at.recall.trials) == (1, 2)
    assert (result.missed, result.woken_by) == (("missed",), ("loud",))
    accepts = result.at.false_accepts
    assert (accepts.count, accepts.hours, accepts.rate) == (2, pytest.approx(1.0), pytest.approx(2.0))
    assert accepts.high == pytest.approx(7.2247, abs=1e-3)
    assert result.delay is None


def test_a_sweep_is_the_rule_at_each_cutoff() -> None:
    rng = np.random.default_rng(7)
    outputs = rng.integers(0, 256, 5000).astype(np.uint8)
    points = sweep([_clip("noise", NEGATIVE, outputs)], RULE)
    assert [point.cutoff_byte for point in points] == list(SWEEP_BYTES)
    for point in points:
        expected = len(detect(outputs, cutoff=point.cutoff, window=5, stride=3))
        assert point.false_accepts.count == expected
        assert point.recall.value is None


def test_a_swept_cutoff_can_be_written_into_a_manifest() -> None:
    assert [cutoff_byte(cutoff_of(byte)) for byte in range(256)] == list(range(256))


def test_delay_counts_from_the_end_of_the_word_and_not_of_the_lead_in() -> None:
    clip = _clip("heard", Label("positive", end_s=1.5), _outputs(4, 2.7), lead_in=1.0)
    result = evaluate([clip], RULE, cutoff_byte(0.97)).delay
    assert result is not None
    assert result.p50 == pytest.approx(2.7 + 5 * 0.03 - 1.0 - 1.5, abs=0.031)
    assert result.clips == 1


def test_folders_label_their_clips() -> None:
    names = ["positive/a.wav", "set/negative/en/b.wav", "positive/hard/negative/c.wav", "positive.wav", "d.wav"]
    assert labels_from_names(names) == {names[0]: POSITIVE, names[1]: NEGATIVE, names[2]: NEGATIVE}


def test_a_csv_labels_clips_by_name_or_file_name(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("clip,voice,label,end_s\na.wav,joe,positive,1.25\n./set/b.wav,,negative,\n")
    labels = {"set/a.wav": Label("positive", 1.25), "set/b.wav": NEGATIVE}
    assert read_labels(path, ["set/a.wav", "set/b.wav"]) == (labels, ())
    path.write_text("clip,label\nB\u00fcro/b.wav,negative\n", encoding="utf-8")
    assert read_labels(path, ["x/Bu\u0308ro/b.wav", "y/b.wav"]) == ({"x/Bu\u0308ro/b.wav": NEGATIVE}, ())
    path.write_text("clip,label\na.wav,positive\nset/b.wav,negative\n")
    assert read_labels(path, ["set/b.wav", "c.wav"]) == ({"set/b.wav": NEGATIVE}, ("a.wav",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,label\na.wav,maybe\n", "line 2 has label 'maybe'"),
        ("clip,label\nz.wav,positive\n", "'z.wav' is not a clip of this run"),
        ("clip,label\nb.wav,positive\n", "'b.wav' matches 2 clips"),
        ("clip,label,end_s\na.wav,positive,nan\n", "end_s 'nan'"),
        ("file,label\na.wav,positive\n", "does not have the column clip: it has 'file, label'"),
        ("clip;label\na.wav;positive\n", "does not have the column clip: it has 'clip;label'"),
        ("clip,label\na.wav,positive,1,2\n", "line 2 has more values"),
        ("", "does not have the column clip: it is empty"),
        ("clip,label\na.wav,positive\n./a.wav,negative\n", "line 3 contradicts an earlier line about 'a.wav'"),
        ("clip,label\n\0,positive", "is not a clip|not a CSV"),
    ],
)
def test_labels_that_cannot_be_used_say_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        read_labels(path, ["a.wav", "x/b.wav", "y/b.wav"])


def test_labels_in_another_encoding_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"clip,label\n\xff\xfe,positive\n")
    with pytest.raises(LabelError, match="UTF-8"):
        read_labels(path, ["a.wav"])
