"""The firmware's portable core as machine code: on RV32IMC and Xtensa, bare metal, behind the link.

The link's own tests are collected here once more for each machine, with this module's `connect`; the interpreter is
the tests' own. What needs TensorFlow Lite Micro is in test_machine_models.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.check import check
from harness.cli import execute, mww
from harness.clips.golden import Provenance, RecordedClip, write_golden
from harness.link import messages as wire
from harness.link.client import LinkClient
from harness.targets.base import Target
from harness.targets.machine import MACHINES
from harness.targets.registry import TargetOptions, open_target
from mww import __version__
from mww.core.errors import DeviceError, ImageError, MwwError, UsageError
from mww.esphome.model import load_model
from tests.firmware.conftest import published
from tests.harness.link.test_client import (  # noqa: F401 -- collected
    flashed,
    frames,
    test_a_line_that_damages_everything_is_called_noisy,
    test_a_profile_comes_in_pieces_and_only_after_a_profiled_inference,
    test_a_reset_starts_the_state_over_and_none_carries_it_on,
    test_a_slot_without_a_model_is_refused_by_name,
    test_an_interrupted_upload_leaves_the_old_model_whole,
    test_any_output_comes_in_pieces,
    test_no_thread_is_left_behind,
    test_the_boards_rule_detects_where_the_hosts_does,
)
from tests.harness.link.test_client import (
    test_no_mix_of_faults_changes_an_output_or_infers_twice as check_mix_of_faults,
)
from tests.support.host_board import MODEL, expected_outputs
from tests.support.machine import MachineBoard, chain_program, connections, needs_machine
from tests.support.waiting import have_ended

Connect = Callable[..., tuple[LinkClient, MachineBoard]]
NAMES = tuple(machine.name for machine in MACHINES)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return needs_machine(request.param).name


@pytest.fixture
def connect(name: str) -> Iterator[Connect]:
    with connections(name) as connect:
        yield connect


def test_it_says_what_it_is_and_that_it_is_not_a_chip(connect: Connect, name: str) -> None:
    client, _ = connect()
    board = client.board
    assert (board.chip, board.board, board.firmware, board.engine) == (name, "machine", __version__, "chain")
    assert board.revision.startswith("QEMU")
    assert (board.flags, board.clock_mhz, board.mac) == (wire.FLAG_INSTRUCTIONS, 0, bytes(6))
    assert (board.window, board.max_frames, board.max_payload, board.models) == (8, 4, 1024, 4)


def test_frames_cost_the_same_instructions_each_and_in_every_run(connect: Connect) -> None:
    given = []
    for _ in range(2):
        client, board = connect(partition=flashed())
        client.open_model()
        streamed = client.infer(frames(101))
        assert np.array_equal(streamed.outputs, expected_outputs(frames(101)))
        assert streamed.inferences == board.engine.inferences == 101
        given.append(set(streamed.microseconds))
    assert given[0] == given[1]
    assert len(given[0]) == 1
    assert 1_000 < min(given[0]) < 20_000


def test_no_mix_of_faults_changes_an_output_or_infers_twice(connect: Connect, name: str) -> None:
    check_mix_of_faults(connect, NAMES.index(name))


def test_models_are_uploaded_to_every_slot(connect: Connect) -> None:
    client, _ = connect()
    for slot in range(client.board.models):
        assert client.upload(slot, MODEL).state == wire.STORED
        client.open_model(slot)
        assert np.array_equal(client.infer(frames(9), slot).outputs, expected_outputs(frames(9)))
    with pytest.raises(DeviceError, match="model"):
        client.upload(0, type(MODEL)(b"another kind", 0))
        client.open_model(0)


def test_the_stack_has_room(connect: Connect) -> None:
    client, _ = connect(partition=flashed())
    client.open_model()
    client.infer(frames(20), profile=True)
    assert 1024 < client.stats().stack_free < 8192


# --- As a target ---


@pytest.fixture
def image(name: str, tmp_path: Path) -> Path:
    (path := tmp_path / "mww_machine.elf").write_bytes(chain_program(name))
    return path


@pytest.fixture
def runner(name: str, image: Path) -> Iterator[Target]:
    with open_target(f"machine:{name}", TargetOptions(machine_image=image)) as target:
        yield target


def test_a_target_says_that_it_is_machine_code_without_a_chip(runner: Target, name: str) -> None:
    info = runner.info()
    assert (info.kind, info.chip, info.engine) == ("machine", name, "chain")
    versions = dict(info.versions)
    assert versions["processor"].startswith("QEMU")
    assert versions["qemu"]


def test_batches_of_any_size_a_reset_and_another_model_give_what_one_stream_gives(runner: Target) -> None:
    models = [load_model(published(each)) for each in ("okay_nabu", "alexa")]
    expected = expected_outputs(frames(60))
    for model in (*models, models[0]):
        assert runner.load(model).source == "measured"
        for step in (60, 7, 1):
            runner.reset()
            parts = [runner.infer(frames(60)[at : at + step]) for at in range(0, 60, step)]
            assert np.array_equal(np.concatenate([part.outputs for part in parts]), expected)
            assert runner.inferences() == 60
            assert {part.microseconds is None for part in parts} == {True}
    assert not np.array_equal(runner.infer(frames(60)).outputs, expected)
    assert len(runner.infer(np.empty((0, 3, 40), np.int8)).outputs) == 0


def test_its_instructions_are_no_time(runner: Target) -> None:
    runner.load(load_model(published("okay_nabu")))
    inference = runner.infer(frames(20))
    assert inference.microseconds is None
    assert inference.instructions is not None
    assert len(set(inference.instructions)) == 1
    costs = runner.profile(frames(3))
    assert costs is not None
    assert [(cost.operator, cost.microseconds, cost.instructions) for cost in costs][:2] == [
        ("OP_0", None, 0),
        ("OP_1", None, 10),
    ]


def test_a_run_over_a_bad_line_passes_and_two_runs_cost_the_same(
    name: str, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, clip = load_model(published("okay_nabu")), frames(150)
    provenance = Provenance(model.name, model.sha256, 3, "chain", (), 0.0)
    clips = [RecordedClip("clip", clip.reshape(-1, 40), expected_outputs(clip))]
    write_golden(golden := tmp_path / "golden.npz", provenance, clips)
    place = ["--target", f"machine:{name}", "--machine-image", str(image), "--golden", str(golden), "--profile"]
    for number, faults in enumerate((["--fault", "drop=0.05", "--fault", "corrupt=0.05"], [])):
        words = ["run", str(model.path), *place, *faults, "--report", str(tmp_path / str(number)), "--no-bisect"]
        assert execute(mww, words) == 0, capsys.readouterr()
    capsys.readouterr()
    runs = [json.loads((tmp_path / str(number) / "run.json").read_text()) for number in range(2)]
    for run in runs:
        assert (run["verdict"], run["target"]["kind"], run["target"]["chip"]) == ("pass", "machine", name)
        (recorded,) = run["clips"]
        assert (recorded["device_inferences"], recorded["latency_us"]) == (150, None)
        assert recorded["device_detections"] == recorded["detections"]
        assert recorded["instructions"]["p50"] == recorded["instructions"]["max"] > 1000
        assert sum(cost["instructions"] for cost in run["profile"]) == sum(range(70)) * 10
    assert execute(mww, ["compare-runs", str(tmp_path / "0"), str(tmp_path / "1"), "--json"]) == 0
    (comparison,) = json.loads(capsys.readouterr().out)["runs"]
    assert (comparison["equal"], comparison["timing"]) == (True, [])


def test_a_wrong_output_fails_the_run(name: str, image: Path) -> None:
    result = check(
        published("okay_nabu"),
        {"clip": frames(40).reshape(-1, 40)},
        target=f"machine:{name}",
        machine_image=image,
        bisect=False,
    )
    assert result.verdict == "fail"
    assert result.target.chip == name


def test_no_process_is_left(name: str, image: Path) -> None:
    before = psutil.Process().children(recursive=True)
    with open_target(f"machine:{name}", TargetOptions(machine_image=image)) as target:
        target.load(load_model(published("okay_nabu")))
        children = [child for child in psutil.Process().children(recursive=True) if child not in before]
        target.close()
    assert children
    assert have_ended(children)


def test_the_program_of_another_machine_and_what_is_not_one_are_refused(
    name: str, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MWW_MACHINE_IMAGE", raising=False)
    other = NAMES[1 - NAMES.index(name)]
    with pytest.raises(UsageError, match=f"is for {name}, not {other}") as caught:
        open_target(f"machine:{other}", TargetOptions(machine_image=image))
    assert caught.value.hint == f"--target machine:{name}"
    content = image.read_bytes()
    wrong = tmp_path / "wrong"
    for spoiled in (content[:30], content[:60], content[:5000], b"\x7fELF" + bytes(200), content[:24] + bytes(4)):
        wrong.write_bytes(spoiled + content[28:] if len(spoiled) == 28 else spoiled)
        with pytest.raises(ImageError):
            open_target(f"machine:{name}", TargetOptions(machine_image=wrong))
    for options in (
        TargetOptions(),
        TargetOptions(machine_image=tmp_path / "none"),
        TargetOptions(machine_image=image, baud=115200),
        TargetOptions(machine_image=image, chip="esp32c3"),
        TargetOptions(machine_image=image, engine="tflm"),
        TargetOptions(machine_image=image, flash=False),
        TargetOptions(machine_image=image, faults=("kernel=CONV_2D",)),
    ):
        with pytest.raises(MwwError):
            open_target(f"machine:{name}", options)
    with pytest.raises(UsageError, match="a machine 'sparc' does not exist") as caught:
        open_target("machine:sparc", TargetOptions(machine_image=image))
    assert "machine:rv32imc or machine:xtensa" in (caught.value.hint or "")
