from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness.boards.flashing import FlashJob, flash
from harness.check import check
from harness.link.client import LinkClient
from harness.link.model_table import ModelRecord
from harness.run.results import RunResult
from harness.targets.device import DeviceTarget
from harness.targets.registry import TargetOptions
from harness.virtual.process import VirtualBoard
from mww.core.errors import BootLoopError, DeviceError, LinkError, ModelMissingError, UsageError
from mww.esphome.model import load_model

CLIPS = ("okay_nabu", "hey_jarvis")


@pytest.fixture(scope="module")
def emulated(models: Path, clips: Path) -> RunResult:
    return check(models / "okay_nabu.json", [clips / name for name in CLIPS], lead_in=1.0)


def _run(models: Path, clips: Path, *faults: str) -> RunResult:
    with VirtualBoard(faults=faults) as board:
        return check(models / "okay_nabu.json", [clips / name for name in CLIPS], target=board.port, lead_in=1.0)


@pytest.mark.parametrize(
    "faults",
    [
        ("corrupt=0.02",),
        ("drop=0.02", "seed=3"),
        ("corrupt=0.02", "drop=0.02", "duplicate=0.02", "log=0.02"),
        ("reboot=100000", "corrupt=0.02", "drop=0.02", "duplicate=0.02", "log=0.02", "seed=7"),  # one frame a packet
    ],
    ids=" ".join,
)
def test_a_bad_cable_changes_no_output_and_infers_no_frame_twice(
    models: Path, clips: Path, emulated: RunResult, faults: tuple[str, ...]
) -> None:
    result = _run(models, clips, *faults)
    assert result.verdict == "pass"
    for clip, reference in zip(result.clips, emulated.clips, strict=True):
        assert clip.outputs_sha256 == reference.outputs_sha256
        assert clip.device_inferences == clip.inferences == reference.inferences


@pytest.mark.usefixtures("real_children")
def test_an_interpreter_that_hangs_in_the_board_is_told_and_the_next_clip_runs(models: Path) -> None:
    model = load_model(models / "okay_nabu.json")
    frames = np.zeros((50, model.stride, 40), np.int8)
    patient = TargetOptions(timeout=90)  # the board's own deadline comes first, also on a machine that is busy
    with VirtualBoard() as board, DeviceTarget(board.port, patient) as target:
        target.load(model)
        before = target.infer(frames).outputs
        for child in psutil.Process(board.pid).children():
            child.suspend()
        with pytest.raises(DeviceError, match="the interpreter failed") as caught:
            target.infer(frames)
        assert caught.value.inference == 50
        target.reset()
        assert np.array_equal(target.infer(frames).outputs, before)


@pytest.mark.parametrize(("fault", "code"), [("reboot", "rebooted"), ("hang", "hung")])
def test_a_reboot_or_hang_is_an_error_that_names_clip_and_inference(
    models: Path, clips: Path, emulated: RunResult, fault: str, code: str
) -> None:
    at = emulated.clips[0].inferences + 10
    result = _run(models, clips, f"{fault}={at}")
    first, second, *later = result.clips
    assert result.verdict == "error"
    assert (first.status, second.status) == ("pass", "error")
    assert second.error is not None
    assert (second.error.code, second.error.inference) == (code, 10)
    assert {clip.status for clip in later} == {"pass" if fault == "reboot" else "error"}


def test_a_wrong_output_fails_at_its_inference(models: Path, clips: Path, emulated: RunResult) -> None:
    result = _run(models, clips, f"wrong={emulated.clips[0].inferences + 5}")
    assert result.verdict == "fail"
    assert [clip.status for clip in result.clips].count("fail") == 1
    mismatch = result.clips[1].first_mismatch
    assert mismatch is not None
    assert mismatch.inference == 5
    assert (mismatch.expected ^ mismatch.found).bit_count() == 1


def test_the_board_detects_by_itself_what_the_rule_gives_here(models: Path, clips: Path, emulated: RunResult) -> None:
    result = _run(models, clips)
    assert result.verdict == "pass"
    assert [clip.device_detections for clip in result.clips] == [clip.detections for clip in emulated.clips]
    assert any(clip.device_detections for clip in result.clips)
    assert {clip.device_detections for clip in emulated.clips} == {None}


def test_a_rule_that_detects_otherwise_on_the_board_fails(models: Path, clips: Path, emulated: RunResult) -> None:
    heard = emulated.clips[0].detections[0]
    hidden = _run(models, clips, f"detect={heard.inference}")
    claimed = _run(models, clips, "detect=40", "corrupt=0.02", "seed=3")
    assert (hidden.verdict, claimed.verdict) == ("fail", "fail")
    assert (hidden.clips[0].status, hidden.clips[0].mismatches, hidden.clips[0].device_detections) == ("fail", 0, ())
    reported = claimed.clips[0].device_detections
    assert reported is not None
    assert [(item.inference, item.maximum) for item in reported] == [(39, 255), (heard.inference, heard.maximum)]


@pytest.mark.parametrize("fault", ["noreset", "kernel=CONV_2D", "kernel=LOGISTIC", "kernel=ASSIGN_VARIABLE"])
def test_a_broken_firmware_fails(models: Path, clips: Path, fault: str) -> None:
    assert _run(models, clips, fault).verdict == "fail"


def test_an_arena_above_the_manifest_fails(models: Path, clips: Path) -> None:
    result = _run(models, clips, "arena=4096")
    assert result.verdict == "fail"
    assert result.arena is not None
    assert result.arena.fits is False


def test_simulated_inference_time_is_the_latency(models: Path, clips: Path) -> None:
    with VirtualBoard(inference_us=2000) as board:
        result = check(models / "okay_nabu.json", [clips / "okay_nabu"], target=board.port)
    assert {clip.latency_us.p50 for clip in result.clips if clip.latency_us} == {2000}


@pytest.fixture(scope="module")
def board() -> Iterator[VirtualBoard]:
    with VirtualBoard() as board:
        yield board


def test_without_leave_to_upload_the_line_to_type_is_told_and_works(board: VirtualBoard, models: Path) -> None:
    manifest = models / "alexa.json"
    model = load_model(manifest)
    with DeviceTarget(board.port, TargetOptions(flash=False)) as target, pytest.raises(ModelMissingError) as caught:
        target.load(model)
    assert caught.value.hint == f"mww flash --port {board.port} --model {manifest}"
    flash(FlashJob(board.port, models=(ModelRecord(model.content, model.tensor_arena_size or 0),)))
    with DeviceTarget(board.port, TargetOptions(flash=False)) as target:
        target.load(model)
        assert len(target.infer(np.zeros((3, model.stride, 40), np.int8)).outputs) == 3


def test_an_uploaded_model_survives_a_power_cut(tmp_path: Path, models: Path) -> None:
    model = load_model(models / "alexa.json")
    with VirtualBoard(state=tmp_path) as board, DeviceTarget(board.port, TargetOptions()) as target:
        target.load(model)
    with VirtualBoard(state=tmp_path) as board, DeviceTarget(board.port, TargetOptions(flash=False)) as target:
        assert target.load(model).used > 0


def test_an_upload_that_is_cut_leaves_the_old_model_whole(tmp_path: Path, models: Path) -> None:
    old, new = (load_model(models / name) for name in ("alexa.json", "okay_nabu.json"))

    def give_up(what: str, done: int, total: int) -> None:
        raise InterruptedError

    with VirtualBoard(state=tmp_path) as board:
        with DeviceTarget(board.port, TargetOptions()) as target:
            target.load(old)
        with LinkClient.connect(board.port) as client, pytest.raises(InterruptedError):
            client.upload(0, ModelRecord(new.content, 0), progress=give_up)
    with VirtualBoard(state=tmp_path) as board, DeviceTarget(board.port, TargetOptions(flash=False)) as target:
        target.load(old)
        assert len(target.infer(np.zeros((3, old.stride, 40), np.int8)).outputs) == 3


def test_an_erased_board_is_told_from_a_silent_one(models: Path) -> None:
    with VirtualBoard() as board:
        _erase_application(board.port)
        with pytest.raises(BootLoopError) as caught:
            DeviceTarget(board.port, TargetOptions())
        assert f"mww flash --port {board.port} --firmware" in (caught.value.hint or "")


def test_an_option_that_contradicts_the_board_is_refused(board: VirtualBoard) -> None:
    with pytest.raises(UsageError, match="esp32s3"):
        DeviceTarget(board.port, TargetOptions(chip="esp32"))
    with pytest.raises(UsageError, match="interpreter"):
        DeviceTarget(board.port, TargetOptions(engine="tflm"))


def test_a_port_that_is_none_is_an_error_of_the_link() -> None:
    with pytest.raises(LinkError):
        DeviceTarget("/dev/nonexistent", TargetOptions())


def _erase_application(port: str) -> None:
    from esptool.cmds import erase_region, run_stub

    from harness.boards.flashing import connected

    with connected(port, "default-reset") as connection:
        erase_region(run_stub(connection.rom), 0x10000, 0x1000)


def test_a_misaligned_copy_of_the_model_computes_the_same(models: Path, clips: Path) -> None:
    model, wavs = models / "hey_jarvis.json", clips / "hey_jarvis"
    plain, odd = (
        [
            clip.outputs_sha256
            for clip in check(model, wavs, target="virtual", lead_in=1.0, misalignment=bytes_past).clips
        ]
        for bytes_past in (0, 5)
    )
    assert plain == odd
    with pytest.raises(UsageError, match="--misalignment for the target emulator"):
        check(model, wavs, misalignment=1)
