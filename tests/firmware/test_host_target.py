"""The ESPHome process as a target: the suite that every place passes where a model can run."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from harness.bisect.explanation import bisect
from harness.check import check
from harness.clips.clip import ArrayClip
from harness.link import messages as wire
from harness.link.client import LinkClient
from harness.targets.base import OperatorCost, Target
from harness.targets.emulator import golden_tensors
from harness.targets.registry import TargetOptions, open_target, open_tensors
from harness.virtual.faults import alter_kernel
from mww.esphome.model import model_of
from tests.harness.listen.test_board_microphone import check_overheard, overheard
from tests.harness.listen.test_listen import spoken, write_wav
from tests.harness.targets.test_conformance import (  # noqa: F401 -- collected with this module's `runner`
    expected,
    frames,
    test_loading_again_begins_in_the_initial_state,
    test_no_frames_give_no_outputs,
    test_outputs_are_those_of_the_emulator_in_batches_of_any_size,
    test_the_state_is_kept_between_batches_and_gone_after_a_reset,
)
from tests.support.engine_server import EngineServer, TflmWorker
from tests.support.esphome_host import HostProcess
from tests.support.every_operator import every_operator
from tests.support.host_board import PARTITION_SIZE, Noise


@pytest.fixture(scope="module")
def runner(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    folder = tmp_path_factory.mktemp("target")
    (flash := folder / "partition").write_bytes(b"\xff" * PARTITION_SIZE)
    with (
        EngineServer(folder / "engine", TflmWorker) as server,
        HostProcess(program, flash, server) as process,
        open_target(process.port, TargetOptions()) as target,
    ):
        yield target


class Timed(TflmWorker):
    """An engine whose operators take 100, 101 and 102 microseconds."""

    def profile(self) -> list[wire.OpTime]:
        return [wire.OpTime(100 + index, b"CONV_2D".ljust(24, b"\0")) for index in range(3)]


def test_a_profile_comes_from_the_firmware(program: Path, tmp_path: Path, models: Path) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    (flash := tmp_path / "partition").write_bytes(b"\xff" * PARTITION_SIZE)
    clips = {"clip": np.zeros((60, 40), np.int8)}
    with EngineServer(tmp_path / "engine", Timed) as server, HostProcess(program, flash, server) as process:
        result = check(models / "okay_nabu.json", clips, target=process.port, profile=True)
    assert result.verdict == "pass"
    assert result.profile == tuple(OperatorCost("CONV_2D", index, 100 + index, None) for index in range(3))


def test_a_wrong_kernel_is_found_in_esphome_s_runtime_and_the_model_comes_back(program: Path, tmp_path: Path) -> None:
    model = model_of(every_operator(), sliding_window_size=5, feature_step_size=10)
    clip = ArrayClip("clip", np.random.default_rng(0).integers(-128, 127, (30, 40), np.int8))
    (flash := tmp_path / "partition").write_bytes(b"\xff" * PARTITION_SIZE)
    wrong = partial(TflmWorker, partial(alter_kernel, operator="MAX_POOL_2D"))
    with EngineServer(tmp_path / "engine", wrong) as server, HostProcess(program, flash, server) as process:
        with golden_tensors() as golden, open_tensors(process.port, TargetOptions(), model) as source:
            result = bisect(model, [clip], source, golden)
        with LinkClient.connect(process.port) as client:
            assert client.describe().sha256.hex() == model.sha256
    assert result.divergence is not None
    assert (result.divergence.op, result.copies) == ("MAX_POOL_2D", 1)


def test_esphome_hears_sound_and_gives_the_outputs_of_features(
    program: Path, tmp_path: Path, models: Path, clips: Path
) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    given = [clips / "okay_nabu", clips / "negative"]
    features = check(models / "okay_nabu.json", given, lead_in=1.2)
    (flash := tmp_path / "partition").write_bytes(b"\xff" * PARTITION_SIZE)
    noise = Noise(1, corrupt=0.02, drop=0.02, duplicate=0.02, log=0.02)
    with (
        EngineServer(tmp_path / "engine", TflmWorker) as server,
        HostProcess(program, flash, server, noise) as process,
    ):
        heard = check(models / "okay_nabu.json", given, lead_in=1.2, target=process.port, source="audio")
    assert heard.verdict == "pass"
    digests = [(clip.features.sha256 if clip.features else None, clip.outputs_sha256) for clip in heard.clips]
    assert digests == [(clip.frames_sha256, clip.outputs_sha256) for clip in features.clips]
    assert [clip.device_detections for clip in heard.clips] == [clip.detections for clip in features.clips]


@pytest.mark.parametrize(("kind", "words"), [("gain", "without its gain control"), ("noreset", "not reset")])
def test_a_wrong_front_end_in_esphome_is_named(
    program: Path, tmp_path: Path, models: Path, clips: Path, kind: str, words: str
) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    (flash := tmp_path / "partition").write_bytes(b"\xff" * PARTITION_SIZE)
    with EngineServer(tmp_path / "engine", TflmWorker, kind) as server, HostProcess(program, flash, server) as process:
        result = check(models / "okay_nabu.json", clips / "okay_nabu", lead_in=1.2, target=process.port, source="audio")
    (problem,) = result.problems
    assert (problem.code, words in problem.message) == ("frontend", True)


@pytest.mark.slow
def test_what_esphomes_microphone_hears_is_shown_and_kept(
    program: Path, tmp_path: Path, models: Path, clips: Path
) -> None:
    """A microphone in ESPHome's runtime plays a file; `mww listen` shows what board and computer make of it."""
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    (raw := tmp_path / "sound.raw").write_bytes(spoken(clips))
    (flash := tmp_path / "partition").write_bytes(b"\xff" * PARTITION_SIZE)
    words = [models / "okay_nabu.json", models / "hey_jarvis.json"]
    noise = Noise(1, corrupt=0.01, drop=0.01, duplicate=0.01, log=0.01)
    with (
        EngineServer(tmp_path / "engine", TflmWorker) as server,
        HostProcess(program, flash, server, noise, raw) as process,
    ):
        events = overheard(words, process.port, tmp_path / "kept", until=len(spoken(clips)) / 32_000 + 0.5)
    check_overheard(events, write_wav(tmp_path / "all.wav", spoken(clips)), words[0], tmp_path / "kept")
