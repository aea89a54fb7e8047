"""The component in ESPHome's own runtime, as a process on a terminal: what the link promises, it keeps.

The link's own tests are collected here once more, with this module's `connect`.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from harness.check import check
from harness.link import messages as wire
from harness.link.client import LinkClient
from harness.link.session import Timing
from mww import __version__
from mww.core.errors import DeviceError, HungError, LinkError, RebootedError
from mww.core.resources import firmware_dir, fixtures_dir
from mww.esphome.model import load_model
from mww.tflm.arena import predict_arena
from tests.firmware.conftest import published
from tests.firmware.test_esp32_sources import FRONTEND_HEADERS, STUBS
from tests.harness.link.test_client import (  # noqa: F401 -- collected
    flashed,
    frames,
    test_a_line_that_damages_everything_is_called_noisy,
    test_a_profile_comes_in_pieces_and_only_after_a_profiled_inference,
    test_a_refusal_ends_a_stream_and_the_session_goes_on,
    test_a_reset_starts_the_state_over_and_none_carries_it_on,
    test_a_slot_without_a_model_is_refused_by_name,
    test_a_step_that_esphome_does_not_take_is_refused,
    test_an_interrupted_upload_leaves_the_old_model_whole,
    test_an_uploaded_model_replaces_the_old_one,
    test_any_output_comes_in_pieces,
    test_frames_are_inferred_in_order_over_several_packets,
    test_no_mix_of_faults_changes_a_slice_or_hears_a_sample_twice,
    test_no_mix_of_faults_changes_an_output_or_infers_twice,
    test_no_thread_is_left_behind,
    test_the_boards_rule_detects_where_the_hosts_does,
)
from tests.support import host_board
from tests.support.engine_server import ChainEngine, EngineServer, TflmWorker
from tests.support.esphome_env import esphome_version
from tests.support.esphome_host import HostProcess, check_warnings, tool
from tests.support.host_board import PARTITION_SIZE, Noise, expected_outputs
from tests.support.machine import FAST, PATIENT
from tests.support.tflm_library import include_folders
from tests.support.waiting import PATIENCE


class Board:
    """A running process, as the link's tests look at a board."""

    def __init__(self, process: HostProcess, engine: host_board.ChainEngine, partition: Path, noise: Noise) -> None:
        self.process = process
        self.engine = engine
        self.board = self
        self._partition = partition
        self.noise = noise

    @property
    def partition(self) -> bytes:
        return self._partition.read_bytes()


Connect = Callable[..., tuple[LinkClient, Board]]


def needs_32_bits(folder: Path) -> None:
    (probe := folder / "probe.cpp").write_text("#include <vector>\n")
    if subprocess.run([tool("g++"), "-m32", "-fsyntax-only", probe], capture_output=True, check=False).returncode:
        pytest.skip("the compiler knows no 32-bit target: apt-get install g++-multilib")


def test_it_compiles_for_32_bits_without_a_warning(generated: Path, tmp_path: Path) -> None:
    needs_32_bits(tmp_path)
    for source in sorted((generated / "esphome/components/mww_harness").glob("*.cpp")):
        check_warnings(source, generated, "-m32")


@pytest.mark.parametrize("bits", ["-m64", "-m32"])
def test_the_engine_of_the_chips_compiles_in_its_place(generated: Path, tmp_path: Path, bits: str) -> None:
    includes = [flag for folder in include_folders() for flag in ("-isystem", folder)]
    if bits == "-m32":
        needs_32_bits(tmp_path)
    defines = ["-DMWW_HARNESS_TFLM", "-DTF_LITE_STATIC_MEMORY", "-DTF_LITE_DISABLE_X86_NEON"]
    defines += ["-DMWW_HARNESS_SPEECH_FEATURES", "-isystem", str(tmp_path)]
    for header in FRONTEND_HEADERS:
        (tmp_path / header).write_text(f'#include "{STUBS / "frontend_stubs.h"}"\n')
    for name in ("engine_tflm.cpp", "trial_arena.cpp", "mww_harness.cpp"):
        source = firmware_dir() / "components/mww_harness" / name
        check_warnings(source, generated, bits, *defines, *includes)


@pytest.fixture
def connect(program: Path, tmp_path: Path) -> Iterator[Connect]:
    with ExitStack() as stack:

        def connect(
            *,
            partition: bytes = b"\xff" * PARTITION_SIZE,
            engine: host_board.ChainEngine | None = None,
            noise: Noise | None = None,
            timing: Timing | None = None,
            ends_in_silence: bool = False,
        ) -> tuple[LinkClient, Board]:
            shared, noise = engine or host_board.ChainEngine(), noise or Noise()
            (flash := tmp_path / "partition").write_bytes(partition)
            server = stack.enter_context(EngineServer(tmp_path / "engine", lambda: ChainEngine(shared)))
            process = stack.enter_context(HostProcess(program, flash, server, noise))
            timing = timing or (FAST if ends_in_silence else PATIENT)
            client = stack.enter_context(LinkClient.connect(process.port, timing=timing))
            return client, Board(process, shared, flash, noise)

        yield connect


def test_it_says_what_it_is(connect: Connect) -> None:
    client, _ = connect()
    board = client.board
    assert (board.board, board.firmware, board.esphome) == ("host", __version__, esphome_version())
    assert (board.window, board.max_frames, board.max_payload) == (8, 4, 1024)
    assert (board.models, board.partition_size, board.flags & 1) == (4, PARTITION_SIZE, wire.FLAG_VIRTUAL)
    assert board.receive_buffer == 4096
    assert client.has_frontend


def test_without_a_model_it_starts_and_says_so_and_takes_one_without_a_reset(connect: Connect) -> None:
    client, board = connect()
    board.process.wait_for("No model yet")
    booted = client.board.boot_id
    assert client.upload(2, host_board.MODEL).state == wire.STORED
    client.open_model(2)
    assert np.array_equal(client.infer(frames(9), 2).outputs, expected_outputs(frames(9)))
    assert client.reconnect().boot_id == booted


def test_models_outlive_a_reboot_which_ends_the_clip(connect: Connect) -> None:
    client, board = connect(partition=flashed(), engine=host_board.ChainEngine(delay=0.002))
    client.open_model()
    booted = client.board.boot_id
    Timer(0.3, board.process.reboot).start()
    with pytest.raises(RebootedError):
        client.infer(frames(2000))
    assert client.reconnect().boot_id != booted
    client.open_model()
    assert np.array_equal(client.infer(frames(5)).outputs, expected_outputs(frames(5)))


def test_a_process_that_hangs_is_told(connect: Connect) -> None:
    engine = host_board.ChainEngine(delay=0.002)
    client, board = connect(partition=flashed(), engine=engine, timing=replace(PATIENT, silence=2.0))
    client.open_model()
    Timer(0.3, board.process.hang).start()
    with pytest.raises(HungError):
        client.infer(frames(2000))


def test_log_lines_travel_over_the_link_without_their_colours(connect: Connect) -> None:
    client, board = connect(partition=flashed())
    client.close()
    lines: list[str] = []
    with LinkClient.connect(board.process.port, on_log=lines.append, timing=PATIENT) as listening:
        listening.open_model()
        while not any("the interval ticks" in line for line in lines):
            listening.infer(frames(1))
    (line,) = {line for line in lines if "the interval ticks" in line}
    assert line.startswith("[I]")
    assert "\x1b" not in line


def test_it_starts_without_its_partition_and_says_so(connect: Connect) -> None:
    client, board = connect(partition=b"too small")
    assert client.board.partition_size == 0
    with pytest.raises(DeviceError) as caught:
        client.open_model()
    assert caught.value.code == "no-partition"
    board.process.wait_for("Model partition mww_model: its file is missing, or not of the configured size")


def test_it_goes_on_without_its_engine(connect: Connect, tmp_path: Path) -> None:
    client, board = connect(partition=flashed())
    client.open_model()
    (tmp_path / "engine").unlink()
    client.close_model()
    with pytest.raises(DeviceError, match="MWW_HARNESS_ENGINE"):
        client.open_model()
    assert client.describe().state == wire.STORED
    with suppress(LinkError):
        client.close()
    assert LinkClient.connect(board.process.port, timing=PATIENT).board.boot_id == client.board.boot_id


@pytest.mark.parametrize("name", ["okay_nabu", "hey_jarvis"])
def test_a_published_model_gives_the_emulators_outputs(program: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    model = load_model(published(name))
    clips = fixtures_dir() / "clips" / name
    emulated = check(model, [clips], lead_in=1.0)
    noise = Noise(3, corrupt=0.01, drop=0.01, duplicate=0.01, log=0.01)
    (flash := tmp_path / "partition").write_bytes(b"\xff" * PARTITION_SIZE)
    with (
        EngineServer(tmp_path / "engine", TflmWorker) as server,
        HostProcess(program, flash, server, noise) as process,
    ):
        streamed = check(model, [clips], target=process.port, lead_in=1.0, timeout=PATIENCE)
    assert streamed.verdict == "pass"
    assert streamed.arena.size == predict_arena(model.content, manifest_size=model.tensor_arena_size).probe
    assert [clip.outputs_sha256 for clip in streamed.clips] == [clip.outputs_sha256 for clip in emulated.clips]
    assert all(clip.device_inferences == clip.inferences for clip in streamed.clips)
    assert any(clip.detections for clip in streamed.clips)
