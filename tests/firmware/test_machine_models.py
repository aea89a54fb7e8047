"""The whole firmware as machine code, with TensorFlow Lite Micro as a library that somebody built: outputs, arena,
detections and instructions of real models on both instruction sets. See docs/machine-code.md for the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.check import check
from harness.cli import execute, mww
from harness.link.client import LinkClient
from harness.link.model_table import ModelRecord
from harness.targets.machine import MACHINES
from mww.core.errors import DeviceError
from mww.core.resources import fixtures_dir
from mww.esphome.model import load_model
from mww.tflm.arena import predict_arena
from tests.firmware.conftest import published
from tests.support.every_operator import every_operator
from tests.support.machine import build_machine, needs_machine, running
from tests.support.random_models import random_model
from tests.support.tflm_library import library_definitions

MODELS = ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")
CHIPS = {"rv32imc": "esp32c3", "xtensa": "esp32"}


@pytest.fixture(scope="module", params=[machine.name for machine in MACHINES])
def name(request: pytest.FixtureRequest) -> str:
    return needs_machine(request.param).name


@pytest.fixture(scope="module")
def image(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    definitions = library_definitions(name)
    return build_machine(needs_machine(name), tmp_path_factory.mktemp(name), *definitions)


@pytest.fixture
def client(name: str, image: Path) -> Iterator[LinkClient]:
    with running(name, image.read_bytes()) as board, LinkClient.connect(board.port) as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
def test_outputs_detections_and_arena_are_the_golden_and_predicted_ones(name: str, image: Path, model: str) -> None:
    loaded = load_model(published(model))
    clips = fixtures_dir() / "clips" / model
    result = check(loaded, [clips], lead_in=1.0, target=f"machine:{name}", machine_image=image)
    assert result.verdict == "pass"
    assert any(clip.detections for clip in result.clips)
    assert all(clip.detections == clip.golden_detections == clip.device_detections for clip in result.clips)
    predicted = predict_arena(loaded.content, CHIPS[name], manifest_size=loaded.tensor_arena_size)
    assert result.arena is not None
    assert (result.arena.used, result.arena.size, result.arena.source) == (predicted.used, predicted.probe, "measured")


def test_two_runs_cost_the_same_instructions_by_operator(
    name: str, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = sorted((fixtures_dir() / "clips" / "alexa").rglob("*.wav"))[0]
    words = ["run", str(published("alexa")), "--wav", str(clip), "--lead-in", "1", "--profile"]
    words += ["--target", f"machine:{name}", "--machine-image", str(image)]
    for number in range(2):
        assert execute(mww, [*words, "--report", str(tmp_path / str(number))]) == 0
    first, second = (json.loads((tmp_path / str(number) / "run.json").read_text()) for number in range(2))
    assert first["profile"] == second["profile"]
    assert [each["instructions"] for each in first["clips"]] == [each["instructions"] for each in second["clips"]]
    by_operator = sum(cost["instructions"] for cost in first["profile"])
    assert 0.9 < by_operator / first["clips"][0]["instructions"]["p50"] < 1.1
    assert first["target"]["versions"]["kernels"]
    capsys.readouterr()
    assert execute(mww, ["compare-runs", str(tmp_path / "0"), str(tmp_path / "1")]) == 0
    assert "instructions" not in capsys.readouterr().out


def test_every_size_of_the_arena_loads_from_the_predicted_minimum_on_and_none_below_crashes(
    name: str, client: LinkClient
) -> None:
    """Also just above what a model with almost no activations uses, where TensorFlow Lite Micro itself aborts."""
    contents = [every_operator(), load_model(published("hey_jarvis")).content]
    for content in contents:
        predicted = predict_arena(content, CHIPS[name])
        sizes = [*range(predicted.used - 32, predicted.used + 96, 16), predicted.minimum - 16, predicted.minimum]
        for size in sizes:
            client.upload(0, ModelRecord(content, size))
            expected = predict_arena(content, CHIPS[name], manifest_size=size).probe
            if expected:
                opened = client.open_model(0)
                assert (opened.arena_used, opened.arena_size) == (predicted.used, expected), size
            else:
                with pytest.raises(DeviceError) as caught:
                    client.open_model(0)
                assert (caught.value.code, caught.value.detail) == ("arena-too-small", predicted.used), size


@pytest.mark.parametrize("seed", range(3))
def test_random_models_give_the_exact_engines_outputs(name: str, image: Path, tmp_path: Path, seed: int) -> None:
    (path := tmp_path / "model.tflite").write_bytes(content := random_model(seed))
    stride = load_model(path).stride
    slices = np.random.default_rng(seed).integers(-128, 128, (60 * stride, 40), np.int8)
    result = check(path, {"noise": slices}, target=f"machine:{name}", machine_image=image, bisect=False)
    assert result.verdict == "pass", content[:8]


def test_a_model_at_any_alignment_computes_the_same(name: str, client: LinkClient) -> None:
    """At every byte on RV32IMC; on Xtensa at every word, since its processor reads no word elsewhere."""
    model = load_model(published("hey_jarvis"))
    frames = np.random.default_rng(0).integers(-128, 128, (40, model.stride, 40), np.int8)
    client.upload(0, ModelRecord(model.content, model.tensor_arena_size or 0))
    outputs = []
    for misalignment in range(0, 16, 1 if name == "rv32imc" else 4):
        client.open_model(0, misalignment=misalignment)
        outputs.append(client.infer(frames).outputs.tobytes())
    assert len(outputs) == (16 if name == "rv32imc" else 4)
    assert set(outputs) == {outputs[0]}


def test_inner_tensors_can_be_read_for_a_bisection(
    name: str, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = sorted((fixtures_dir() / "clips" / "okay_nabu").rglob("*.wav"))[0]
    words = ["bisect", str(published("okay_nabu")), "--wav", str(clip), "--lead-in", "1", "--inside", "--json"]
    assert execute(mww, [*words, "--target", f"machine:{name}", "--machine-image", str(image)]) == 0
    assert json.loads(capsys.readouterr().out)["equal"] is True


def test_the_stack_of_the_engine_has_room(client: LinkClient) -> None:
    model = load_model(published("okay_nabu"))
    client.upload(0, ModelRecord(model.content, model.tensor_arena_size or 0))
    client.open_model(0)
    client.infer(np.zeros((5, model.stride, 40), np.int8), profile=True)
    assert client.stats().stack_free > 3 * 1024
