"""Boards of a lab, with the real labgrid on loopback: leased, streamed, flashed, and given back by whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.boards.inventory import Board
from harness.boards.labgrid.address import parse_address
from harness.boards.labgrid.client import LabgridClient, LabgridMissingError
from harness.boards.labgrid.keeper import STALE_SECONDS, Staleness
from harness.boards.leases import acquire_any, hold_port, holder
from harness.check import check
from harness.cli import execute, mww
from tests.support.lab import Lab, lab
from tests.support.labgrid_env import labgrid_programs
from tests.support.plugin import ALONE
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

ANY = "labgrid:board=esp32s3"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    labgrid_programs()
    with lab(tmp_path_factory.mktemp("lab"), ["esp32s3", "esp32s3"]) as running:
        yield running


@pytest.fixture
def here(running: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab, as labgrid's own environment variables name it."""
    monkeypatch.setenv("MWW_LABGRID", str(labgrid_programs() / "labgrid-client"))
    monkeypatch.setenv("LG_COORDINATOR", running.coordinator)
    monkeypatch.setenv("MWW_LEASE_DIR", str(tmp_path))
    return running


def test_a_run_streams_through_the_lab_and_gives_the_board_back(here: Lab, models: Path, clips: Path) -> None:
    clip = sorted((clips / "okay_nabu").rglob("*.wav"))[0]
    result = check(models / "okay_nabu.json", clip, target=ANY, lead_in=1.0)
    assert (result.verdict, result.target.kind) == ("pass", "virtual")
    assert here.holders() == ["", ""]


def test_a_board_is_flashed_through_the_lab(here: Lab, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["flash", "--port", ANY, "--firmware", "virtual", "--model", str(models / "alexa.json"), "--json"]
    for _ in range(3):  # esptool gives a board three seconds to answer, which a machine under load may exceed
        code, document = execute(mww, words), json.loads(capsys.readouterr().out)
        if code == 0:
            break
    assert code == 0, document
    assert document["verified"]
    assert document["chip"] == "esp32s3"


def test_a_board_of_this_machine_is_taken_before_the_lab_s_and_the_next_hears_who_has_them(here: Lab) -> None:
    local = Board("local", "esp32s3", serial="of this machine", port="socket://127.0.0.1:9")
    board = Board("any", "esp32s3", port=ANY)
    here.client("-p", "place-0", "acquire")
    person, nobody = here.holders()
    with acquire_any((local, board), purpose="first") as first:
        assert first.board is local
        assert here.holders() == [person, nobody]
        with acquire_any((local, board), purpose="second") as second:
            assert second.board.id == f"labgrid://{here.coordinator}/name=place-1"
            assert second.board.port.startswith("rfc2217://127.0.0.1:")
            held = holder(board)
            assert held is not None
            assert held.purpose == "all 2 places of the lab"
            assert ".mww-" in here.holders()[1]
    assert here.holders() == [person, nobody]
    here.free()
    assert holder(board) is None


_HOLD = """
import sys, time
from harness.boards.leases import hold_port
with hold_port(sys.argv[1], purpose="a test"):
    print("held", flush=True)
    time.sleep(600)
"""


def _hold() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", _HOLD, ANY], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_run_frees_its_board(here: Lab) -> None:
    with _hold() as process:
        process.send_signal(signal.SIGKILL)
        here.wait_until_free()
    assert here.holders() == ["", ""]


def test_only_a_board_whose_whole_host_died_is_taken_from_its_holder(here: Lab) -> None:
    here.client("-p", "place-0", "acquire")  # by a person, who may take as long as they like
    with _hold() as process:
        (keeper,) = psutil.Process(process.pid).children()
        keeper.kill()
        process.send_signal(signal.SIGKILL)
    person, kept = here.holders()
    assert person and ".mww-" not in person
    assert ".mww-" in kept
    staleness = Staleness(LabgridClient(parse_address(ANY)))
    staleness.free(0.0)
    LabgridClient(parse_address(ANY), *kept.split("/")).touch("place-1")  # as its keeper did while it lived
    staleness.free(STALE_SECONDS)
    staleness.free(2 * STALE_SECONDS - 1)
    assert here.holders() == [person, kept]
    staleness.free(2 * STALE_SECONDS)
    assert here.holders() == [person, ""]
    here.free()


def test_tags_that_no_place_has_are_told(here: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["flash", "--port", "labgrid:board=esp32p4", "--firmware", "virtual"]) == 2
    assert "no place of the lab has board=esp32p4" in capsys.readouterr().err


def test_without_labgrid_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MWW_LABGRID", "/nowhere/labgrid-client")
    with pytest.raises(LabgridMissingError, match="/nowhere") as error, hold_port(ANY, purpose="us"):
        pass
    assert "pip install labgrid" in str(error.value.hint)


def test_list_and_check_show_the_lab(here: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "boards.yaml"
    entries = [
        {"id": "any-s3", "chip": "esp32s3", "port": ANY},
        {"id": "wrong", "chip": "esp32", "port": "labgrid:name=place-1"},
        {"id": "none", "chip": "esp32", "port": "labgrid:board=esp32"},
    ]
    path.write_text(json.dumps({"boards": entries}))
    assert execute(mww, ["boards", "list", "--map", str(path), "--json"]) == 0
    listed = {board["id"]: board for board in json.loads(capsys.readouterr().out)["boards"]}
    assert (listed["any-s3"]["port"], listed["any-s3"]["holder"]) == (ANY, None)
    assert (listed["none"]["port"], listed["none"]["error"]["code"]) == (None, "port-missing")
    assert execute(mww, ["boards", "check", "--map", str(path), "--json"]) == 1
    checked = {board["id"]: board["error"] for board in json.loads(capsys.readouterr().out)["boards"]}
    assert checked["any-s3"] is None
    assert (checked["wrong"]["code"], checked["none"]["code"]) == ("wrong-board", "port-missing")


_SHARED = """
import pathlib, time, urllib.parse, pytest

@pytest.mark.parametrize("number", range(2))
def test_alone(mww_target, mww_board, mww_model, number):
    mine = pathlib.Path(f"using-{mww_target.info().chip}-{urllib.parse.urlsplit(mww_board.port).port}")
    mine.mkdir()  # fails when another worker is using this board
    assert mww_target.load(mww_model).used > 0
    mine.rmdir()
"""


def test_two_workers_share_a_board(here: Lab, tmp_path: Path, models: Path) -> None:
    (tmp_path / "test_it.py").write_text(_SHARED)
    words = [sys.executable, "-m", "pytest", *ALONE, "-q", "-p", "no:cacheprovider", "-n", "2"]
    words += ["--mww-port", "labgrid:name=place-1", "--mww-chip", "esp32s3"]
    words += ["--mww-model", str(models / "okay_nabu.json")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[4]), *sys.path])}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "2 passed" in done.stdout, done.stdout
    assert here.holders() == ["", ""]
