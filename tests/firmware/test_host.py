"""The component in ESPHome's own runtime, as a process on a terminal: what the link promises, it keeps."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from exporter import __version__
from exporter.arena import predict_arena
from exporter.frontend import quantize_features, wav_to_features
from harness.detection import detect
from harness.errors import DeviceError
from harness.link import messages as wire
from harness.link.client import LinkClient
from harness.link.model_table import ModelRecord, partition_image
from harness.model import load_model
from harness.resources import fixtures_dir
from harness.targets.emulator import EmulatorTarget
from tests.firmware.conftest import Esphome, published
from tests.support.engine_server import ChainEngine, EngineServer, TflmWorker
from tests.support.esphome_env import esphome_version
from tests.support.esphome_host import PARTITION_SIZE, HostProcess, build_host_firmware
from tests.support.host_board import MODEL, STRIDE, TENSOR, Noise, expected_outputs

pytestmark = pytest.mark.xdist_group("esphome-host")

Connect = Callable[..., tuple[LinkClient, HostProcess]]


@pytest.fixture(scope="module")
def program(esphome: Esphome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    config = folder / "host.yaml"
    here = Path(__file__).parent
    components = here.parents[1] / "firmware" / "components"
    config.write_text((here / "host.yaml").read_text().replace("../../firmware/components", str(components)))
    esphome("compile", "--only-generate", config)
    return build_host_firmware(folder / ".esphome/build/mww-host/src")


@pytest.fixture
def connect(program: Path, tmp_path: Path) -> Iterator[Connect]:
    with ExitStack() as stack:

        def connect(*, noise: Noise | None = None, flashed: bool = True) -> tuple[LinkClient, HostProcess]:
            partition = tmp_path / "partition"
            if flashed:
                partition.write_bytes(partition_image([MODEL], PARTITION_SIZE).ljust(PARTITION_SIZE, b"\xff"))
            server = stack.enter_context(EngineServer(tmp_path / "engine", ChainEngine))
            process = stack.enter_context(HostProcess(program, partition, server, noise))
            return stack.enter_context(LinkClient.connect(process.port)), process

        yield connect


def frames(number: int, seed: int = 0) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, (number, STRIDE, 40), np.int8)


def test_it_says_what_it_is(connect: Connect) -> None:
    client, _ = connect()
    board = client.board
    assert (board.board, board.firmware, board.esphome) == ("host", __version__, esphome_version())
    assert (board.window, board.max_frames, board.max_payload) == (8, 4, 1024)
    assert (board.models, board.partition_size, board.flags) == (4, PARTITION_SIZE, wire.FLAG_VIRTUAL)
    assert board.receive_buffer == 4096


def test_frames_are_inferred_once_each_and_in_order(connect: Connect) -> None:
    client, _ = connect()
    model = client.open_model()
    assert (model.state, model.stride, model.variables, model.sha256) == (wire.OPEN, STRIDE, 6, MODEL.sha256)
    before = ChainEngine.inferences
    clip = frames(101)
    assert np.array_equal(client.infer(clip).outputs, expected_outputs(clip))
    assert ChainEngine.inferences - before == 101
    client.reset()
    assert np.array_equal(client.infer(clip[:7]).outputs, expected_outputs(clip[:7]))


def test_no_mix_of_faults_changes_an_output_or_infers_twice(connect: Connect) -> None:
    client, _ = connect(noise=Noise(7, corrupt=0.02, drop=0.02, duplicate=0.02, log=0.02))
    client.open_model()
    before = ChainEngine.inferences
    clip = frames(300)
    assert np.array_equal(client.infer(clip).outputs, expected_outputs(clip))
    assert ChainEngine.inferences - before == 300


def test_without_a_model_it_starts_and_says_so_and_takes_one_without_a_reset(connect: Connect) -> None:
    client, process = connect(flashed=False)
    process.wait_for("No model yet")
    with pytest.raises(DeviceError) as caught:
        client.open_model()
    assert caught.value.code == "no-model"
    booted = client.board.boot_id
    assert client.upload(2, MODEL).state == wire.STORED
    clip = frames(9)
    client.open_model(2)
    assert np.array_equal(client.infer(clip, 2).outputs, expected_outputs(clip))
    assert client.reconnect().boot_id == booted


def test_a_model_that_the_engine_refuses_is_refused_by_its_name(connect: Connect) -> None:
    client, _ = connect()
    client.upload(1, ModelRecord(b"other" * 100, 0))
    with pytest.raises(DeviceError) as caught:
        client.open_model(1)
    assert caught.value.code == "model-operator"


def test_outputs_and_profiles_come_in_pieces(connect: Connect) -> None:
    client, _ = connect()
    client.open_model(any_output=True)
    client.infer(frames(2), profile=True)
    assert client.read_output() == TENSOR
    assert [time.name for time in client.read_profile()] == [f"OP_{index}" for index in range(70)]


def test_log_lines_travel_over_the_link_without_their_colours(connect: Connect) -> None:
    client, process = connect()
    client.close()
    lines: list[str] = []
    with LinkClient.connect(process.port, on_log=lines.append) as listening:
        listening.open_model()
        while not any("the interval ticks" in line for line in lines):
            listening.infer(frames(1))
    (line,) = {line for line in lines if "the interval ticks" in line}
    assert line.startswith("[I]")
    assert "\x1b" not in line


def test_it_starts_without_its_partition_and_says_so(program: Path, tmp_path: Path) -> None:
    partition = tmp_path / "partition"
    partition.write_bytes(b"too small")
    with (
        EngineServer(tmp_path / "engine", ChainEngine) as server,
        HostProcess(program, partition, server) as process,
        LinkClient.connect(process.port) as client,
    ):
        assert client.board.partition_size == 0
        with pytest.raises(DeviceError) as caught:
            client.open_model()
        assert caught.value.code == "no-partition"
        process.wait_for("Model partition mww_model: its file is missing, or not of the configured size")


@pytest.mark.parametrize("name", ["okay_nabu", "hey_jarvis"])
def test_a_published_model_gives_the_emulators_outputs(program: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    model = load_model(published(name))
    (clip, *_) = sorted((fixtures_dir() / "clips" / name).rglob("*.wav"))
    slices = quantize_features(wav_to_features(clip, lead_in=1.0))
    count = len(slices) // model.stride
    given = slices[: count * model.stride].reshape(count, model.stride, 40)
    with EmulatorTarget() as emulator:
        emulator.load(model)
        expected = emulator.infer(given).outputs
    with (
        EngineServer(tmp_path / "engine", TflmWorker) as server,
        HostProcess(program, tmp_path / "partition", server, Noise(3, corrupt=0.01, drop=0.01, log=0.01)) as process,
        LinkClient.connect(process.port) as client,
    ):
        client.upload(0, ModelRecord(model.content, model.tensor_arena_size or 0))
        opened = client.open_model()
        client.arm_detection(0, cutoff=model.cutoff_byte, window=model.sliding_window_size)
        streamed = client.infer(given)
    assert opened.arena_size == predict_arena(model.content, manifest_size=model.tensor_arena_size).probe
    assert sha256(streamed.outputs).hexdigest() == sha256(expected).hexdigest()
    assert [(found.inference, found.average) for found in streamed.detections] == [
        (found.inference, found.average)
        for found in detect(
            expected, cutoff=model.probability_cutoff, window=model.sliding_window_size, stride=model.stride
        )
    ]
    assert streamed.detections
