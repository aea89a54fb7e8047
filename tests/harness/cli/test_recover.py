"""`mww recover` writes checkpoint, configuration and ranges, all or none."""

import json
from pathlib import Path

import pymicro_wakeword
import pytest

from exporter.checkpoint import load_checkpoint
from exporter.network.configuration import find_configuration, load_configuration
from exporter.recover import recover
from harness.cli import execute, mww
from mww.tflite.model_file import read_model

MODEL = Path(pymicro_wakeword.__file__).parent / "models" / "okay_nabu.tflite"


def test_recover_writes_three_files_and_tells_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "okay_nabu.weights.h5"
    ranges = tmp_path / "ranges.json"
    assert execute(mww, ["recover", str(MODEL), "--output", str(output), "--ranges-output", str(ranges), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.recover/1"
    assert document["checkpoint"] == str(output)
    assert document["architecture"]["pointwise_filters"] == [64] * 5
    assert sorted(path.name for path in output.parent.iterdir()) == ["okay_nabu.weights.h5", "training_config.yaml"]
    assert json.loads(ranges.read_text())["ranges"]["input"] == pytest.approx([0, 26])


def test_a_folder_that_cannot_be_made_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "x.weights.h5"
    assert (
        execute(mww, ["recover", str(MODEL), "--output", str(target), "--config-output", str(tmp_path / "c.yaml")]) == 2
    )
    assert capsys.readouterr().err.startswith("error: cannot write")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_networks_in_one_folder_keep_their_configurations(tmp_path: Path) -> None:
    names = ("okay_nabu", "alexa")
    for name in (*names, *names):
        words = [str(MODEL.with_name(f"{name}.json")), "--output", str(tmp_path / f"{name}.weights.h5")]
        assert execute(mww, ["recover", *words]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == [
        "alexa.training_config.yaml",
        "training_config.yaml",
    ]
    for name in names:
        checkpoint = tmp_path / f"{name}.weights.h5"
        configuration = find_configuration(checkpoint)
        assert configuration is not None
        read = load_checkpoint(checkpoint, load_configuration(configuration).settings)
        assert read.architecture == recover(read_model(MODEL.with_name(f"{name}.tflite"))).architecture
