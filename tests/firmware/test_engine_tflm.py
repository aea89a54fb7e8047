"""The firmware's engine, built for this machine against the library that MWW_TFLM_LIBRARY names: the outputs of the
tflite_micro wheel, and on 32 bits (MWW_TFLM_LIBRARY_32) the arena that `mww arena` predicts for portable kernels."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pymicro_wakeword
import pytest

from harness.engines.process import EngineProcess
from harness.virtual.faults import alter_kernel
from mww.core.resources import fixtures_dir
from mww.esphome.frontend import quantize_features, wav_to_features
from mww.esphome.model import Model, load_model
from mww.tflite.model_file import read_model, with_outputs
from mww.tflm.arena import predict_arena
from tests.support.every_operator import every_operator
from tests.support.host_build import build_host
from tests.support.synthetic import Graph, pack
from tests.support.tflm_library import library_definitions

CHECKED = ("probe", "checked")
MODELS = ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")


@dataclass(frozen=True)
class Run:
    """What the engine said: facts by name, a row of bytes a frame, operators of the last frame in order."""

    facts: dict[str, int]
    outputs: npt.NDArray[np.uint8]
    operators: list[str]


def run(engine: Path, model: Path, arena: int, frames: bytes = b"", options: tuple[str, ...] = CHECKED) -> Run:
    done = subprocess.run([engine, model, str(arena), *options], input=frames, capture_output=True, check=False)
    lines = done.stdout.decode().splitlines()
    facts = {name: int(value) for name, value in (word.split("=") for word in lines[0].split() if "=" in word)}
    rows = [bytes.fromhex(line) for line in lines[1:] if not line.startswith("op ")]
    operators = [line.split()[1] for line in lines if line.startswith("op ")]
    return Run(facts, np.array([list(row) for row in rows], np.uint8), operators)


@pytest.fixture(scope="module")
def models() -> Path:
    return Path(pymicro_wakeword.__file__).parent / "models"


@pytest.fixture(scope="module")
def slices() -> npt.NDArray[np.int8]:
    clip = next((fixtures_dir() / "clips" / "okay_nabu").rglob("*.wav"))
    return quantize_features(wav_to_features(clip, lead_in=1.0))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("tflm")
    return build_host(build, "mww_tflm", *library_definitions(), "CMAKE_BUILD_TYPE=Debug", "CMAKE_CXX_FLAGS=-O1")


@pytest.fixture(scope="module")
def engine32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("tflm32")
    (probe := build / "probe.cpp").write_text("#include <vector>\nint main() { return sizeof(void *) - 4; }\n")
    if subprocess.run(["c++", "-m32", probe, "-o", build / "probe"], capture_output=True, check=False).returncode:
        pytest.skip("the compiler makes no 32-bit programs: sudo apt install g++-multilib")
    flags = "CMAKE_CXX_FLAGS=-m32 -O1"
    return build_host(build, "mww_tflm", *library_definitions("32"), "CMAKE_BUILD_TYPE=Debug", flags)


def load(models: Path, name: str) -> Model:
    return load_model(models / f"{name}.json")


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_wheels(engine: Path, models: Path, name: str, slices: npt.NDArray[np.int8]) -> None:
    model = load(models, name)
    frames = slices[: len(slices) // model.stride * model.stride].tobytes()
    with EngineProcess("tflm") as wheel:
        wheel.load(model.content)
        expected = np.frombuffer(wheel.infer(frames), np.uint8)
    # a 64-bit host needs more than the manifest says, which the probe's larger attempts cover
    result = run(engine, models / f"{name}.tflite", model.tensor_arena_size or 0, frames)
    assert np.array_equal(result.outputs[:, 0], expected)
    assert result.operators[0] in ("CALL_ONCE", "VAR_HANDLE")
    assert result.operators[-1] == "QUANTIZE"


def test_a_model_at_any_alignment_gives_the_same_outputs(
    engine: Path, models: Path, slices: npt.NDArray[np.int8]
) -> None:
    model = load(models, "hey_jarvis")
    frames = slices[: 60 * model.stride].tobytes()
    outputs = [
        run(engine, models / "hey_jarvis.tflite", model.tensor_arena_size or 0, frames, (*CHECKED, str(misalignment)))
        for misalignment in range(16)
    ]
    assert len(outputs[0].outputs) == 60
    assert all(np.array_equal(each.outputs, outputs[0].outputs) for each in outputs)


def test_every_result_can_be_an_output_at_once_and_is_the_wheels(
    engine: Path, models: Path, slices: npt.NDArray[np.int8], tmp_path: Path
) -> None:
    frames = slices[100:160].tobytes()
    for content in (load(models, "okay_nabu").content, every_operator()):
        main = read_model(content).main
        tensors = [index for operator in main.operators for index in operator.outputs]
        copy = with_outputs(content, [index for index in tensors if main.tensors[index].dtype != "RESOURCE"])
        (path := tmp_path / "copy.tflite").write_bytes(copy)
        with EngineProcess("tflm") as wheel:
            wheel.load(copy)
            expected = np.frombuffer(wheel.infer(frames), np.uint8).reshape(20, -1)
        assert run(engine, path, 60_000).facts == {"error": 11, "detail": 0}
        assert np.array_equal(run(engine, path, 60_000, frames, options=("probe", "any")).outputs, expected)


@pytest.mark.parametrize("name", MODELS)
def test_such_a_copy_fits_the_arena_that_it_is_given_on_32_bits(
    engine32: Path, models: Path, name: str, tmp_path: Path
) -> None:
    content = load(models, name).content
    main = read_model(content).main
    tensors = [index for operator in main.operators for index in operator.outputs]
    copy = with_outputs(content, [index for index in tensors if main.tensors[index].dtype != "RESOURCE"])
    (path := tmp_path / "copy.tflite").write_bytes(copy)
    predicted = predict_arena(copy, "esp32")
    facts = run(engine32, path, predicted.minimum, options=("manifest", "any")).facts
    assert facts["arena_used"] == predicted.used


def test_an_initial_state_that_is_no_zero_point_comes_back_with_a_reset(engine: Path, tmp_path: Path) -> None:
    """The program itself runs all frames again after a reset, and fails where an output is another."""
    content = alter_kernel(every_operator(), "CALL_ONCE")
    (path := tmp_path / "model.tflite").write_bytes(content)
    frames = np.random.default_rng(0).integers(-128, 127, (30, 120), np.int8).tobytes()
    with EngineProcess("tflm") as wheel:
        wheel.load(content)
        expected = np.frombuffer(wheel.infer(frames), np.uint8)
        wheel.load(every_operator())
        assert wheel.infer(frames)[0] != expected[0]
    assert np.array_equal(run(engine, path, 30_000, frames).outputs[:, 0], expected)


@pytest.mark.parametrize(("inputs", "outputs", "error"), [(0, 1, 10), (1, 0, 11)])
def test_a_model_without_an_input_or_output_is_refused(
    engine: Path, tmp_path: Path, inputs: int, outputs: int, error: int
) -> None:
    graph = Graph()
    source, sink = graph.tensor([1, 3, 40]), graph.tensor([1, 120])
    graph.operator("RESHAPE", [source, graph.constant([1, 120])], [sink], newShape=[1, 120])
    graph.inputs, graph.outputs = [source][:inputs], [sink][:outputs]
    (path := tmp_path / "model.tflite").write_bytes(pack(graph))
    assert run(engine, path, 30_000, options=("probe", "any")).facts["error"] == error


@pytest.mark.parametrize("name", MODELS)
def test_the_arena_on_32_bits_is_what_is_predicted(engine32: Path, models: Path, name: str) -> None:
    model = load(models, name)
    predicted = predict_arena(model.content, "esp32", manifest_size=model.tensor_arena_size)
    facts = run(engine32, models / f"{name}.tflite", model.tensor_arena_size or 0).facts
    assert (facts["arena_used"], facts["arena_size"]) == (predicted.used, predicted.probe)
    assert facts["variables"] == 6


@pytest.mark.parametrize("arena", [1, 1000, 6000, 12_000, 20_480, 21_504])
def test_an_arena_that_is_too_small_is_refused_and_never_crashes(engine32: Path, models: Path, arena: int) -> None:
    result = run(engine32, models / "okay_nabu.tflite", arena, options=("manifest", "checked"))
    assert result.facts == {"error": 13, "detail": 20_460}


def test_the_smallest_arena_is_enough(engine32: Path, models: Path) -> None:
    minimum = predict_arena(models / "okay_nabu.tflite", "esp32").minimum
    result = run(engine32, models / "okay_nabu.tflite", minimum, options=("manifest", "checked"))
    assert result.facts["arena_size"] == minimum


def test_a_file_that_is_no_model_is_refused(engine: Path, tmp_path: Path) -> None:
    (path := tmp_path / "model.tflite").write_bytes(b"not a model at all")
    assert run(engine, path, 30_000).facts["error"] == 8
