"""A night's run survives the death of a board: the others take its clips, and the result says so."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from harness.check import check_models
from harness.cli import execute, mww
from harness.clips.npz import write_archive
from harness.run.journal import NAME
from harness.run.options import RunOptions
from harness.virtual.process import VirtualBoard
from mww.core.errors import UsageError
from mww.esphome.model import load_model
from tests.support.waiting import wait_for

CLIPS = {f"clip {number}": np.full((300, 40), number, np.int8) for number in range(12)}


def kill_after(board: VirtualBoard, clips: int, done: list[str]) -> None:
    if len(done) == clips:
        assert board.pid is not None
        with suppress(ProcessLookupError):  # killed before
            os.kill(board.pid, signal.SIGKILL)


@pytest.mark.parametrize("dies_at", [1, 6, 11])
@pytest.mark.slow
def test_the_clips_of_a_board_that_dies_are_done_by_the_others(models: Path, dies_at: int) -> None:
    loaded = [load_model(models / name) for name in ("okay_nabu.json", "alexa.json")]
    done: list[str] = []
    with VirtualBoard() as mortal, VirtualBoard() as other:

        def progress(name: str, ended: int, total: int) -> None:
            done.append(name)
            kill_after(mortal, dies_at, done)

        options = RunOptions(target=mortal.port, more_targets=(other.port,), progress=progress)
        first, second = check_models(loaded, CLIPS, options)
    for model, result in zip(loaded, (first, second), strict=True):
        (alone,) = check_models([model], CLIPS, RunOptions())
        assert [clip.status for clip in result.clips] == ["pass"] * len(CLIPS)
        assert [(c.name, c.outputs_sha256) for c in result.clips] == [(c.name, c.outputs_sha256) for c in alone.clips]
    assert any(f"{mortal.port} was lost" in warning for warning in second.warnings)


@pytest.mark.slow
def test_when_every_board_dies_each_clip_says_why(models: Path) -> None:
    with ExitStack() as stack:
        boards = [stack.enter_context(VirtualBoard()) for _ in range(2)]

        def progress(name: str, ended: int, total: int) -> None:
            for board in boards:
                kill_after(board, 1, [name])

        options = RunOptions(target=boards[0].port, more_targets=(boards[1].port,), progress=progress)
        (result,) = check_models([load_model(models / "okay_nabu.json")], CLIPS, options)
    assert result.verdict == "error"
    statuses = [clip.status for clip in result.clips]
    assert statuses.count("error") >= len(CLIPS) - 2
    assert all(clip.error is not None for clip in result.clips if clip.status == "error")
    assert len(result.warnings) >= 2


def test_a_board_that_dies_between_models_does_not_cost_the_results_before(models: Path) -> None:
    loaded = [load_model(models / name) for name in ("okay_nabu.json", "alexa.json")]
    done: list[str] = []
    with VirtualBoard() as board:

        def progress(name: str, ended: int, total: int) -> None:
            done.append(name)
            kill_after(board, len(CLIPS), done)

        first, second = check_models(loaded, CLIPS, RunOptions(target=board.port, progress=progress))
    assert [clip.status for clip in first.clips] == ["pass"] * len(CLIPS)
    assert [clip.status for clip in second.clips] == ["error"] * len(CLIPS)


def test_targets_that_cannot_share_are_refused(models: Path) -> None:
    model = load_model(models / "okay_nabu.json")
    for names in (("emulator", "emulator"), ("socket://127.0.0.1:1", "socket://127.0.0.1:1"), ("virtual", "/dev/a")):
        with pytest.raises(UsageError, match="must be different boards"):
            check_models([model], CLIPS, RunOptions(target=names[0], more_targets=names[1:]))
    with (
        VirtualBoard("esp32s3") as item,
        VirtualBoard("esp32c3") as other,
        pytest.raises(UsageError, match=r"differs from .*: chip esp32.* and esp32"),
    ):
        check_models([model], CLIPS, RunOptions(target=item.port, more_targets=(other.port,)))


def kill_once_clips_are_done(board: VirtualBoard, journal: Path) -> None:
    wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2)
    assert board.pid is not None
    os.kill(board.pid, signal.SIGKILL)


@pytest.mark.slow
def test_the_command_line_takes_several_boards_and_reports_the_loss(
    models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_archive(tmp_path / "clips.npz", [(name, np.tile(clip, (10, 1))) for name, clip in CLIPS.items()])
    with VirtualBoard(inference_us=500) as mortal, VirtualBoard(inference_us=500) as other:
        killing = threading.Thread(target=kill_once_clips_are_done, args=(mortal, tmp_path / "report" / NAME))
        killing.start()
        words = ["run", str(models / "okay_nabu.json"), "--features", str(tmp_path / "clips.npz"), "--json"]
        words += ["--target", mortal.port, "--target", other.port, "--report", str(tmp_path / "report")]
        assert execute(mww, words) == 0
        killing.join()
    assert json.loads(capfd.readouterr().out)["verdict"] == "pass"
    assert "was lost at clip" in (tmp_path / "report" / "summary.md").read_text()
    assert "was lost at clip" in (tmp_path / "report" / "report.html").read_text()
