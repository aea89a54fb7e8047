"""A lease belongs to one process at a time, whoever asks, and ends when that process does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.boards.claims import BoardBusyError, LeaseError
from harness.boards.file_locks import lease_dir
from harness.boards.inventory import Board
from harness.boards.leases import acquire, acquire_any, hold_port, holder

BOARD = Board("voice", "esp32s3", serial="F4:12:FA:5B:8C:20")
OTHER = Board("bare", "esp32", serial="0001", mac="24:0a:c4:00:00:01")

_HOLD = """
import sys, time
from harness.boards.inventory import Board
from harness.boards.leases import acquire
lease = acquire(Board("theirs", "esp32s3", mac="f412fa5b8c20"), purpose="a test")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MWW_LEASE_DIR", str(tmp_path))


@contextmanager
def _another_process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", _HOLD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_board_has_one_user_and_the_next_hears_who() -> None:
    with _another_process() as process:
        with pytest.raises(BoardBusyError, match=rf"process {process.pid} \(a test\)"):
            acquire(BOARD, purpose="us")
        result = holder(BOARD)
        assert result is not None
        assert (result.board, result.pid, result.purpose) == ("theirs", process.pid, "a test")


def test_a_killed_process_frees_its_board_at_once() -> None:
    with _another_process() as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with acquire(BOARD, purpose="us"):
            assert holder(BOARD) is not None
    assert holder(BOARD) is None


_FORK = """
import os, time
from harness.boards.inventory import Board
from harness.boards.leases import acquire
lease = acquire(Board("ours", "esp32s3", mac="f412fa5b8c20"), purpose="a parent")
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
os._exit(0)
"""


def test_a_child_does_not_keep_its_dead_parent_s_board() -> None:
    with subprocess.Popen([sys.executable, "-c", _FORK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            assert process.wait(60) == 0
            acquire(BOARD, purpose="us").close()
        finally:
            os.kill(child, signal.SIGKILL)


def test_one_process_cannot_lease_a_board_twice() -> None:
    with acquire(BOARD, purpose="first"), pytest.raises(BoardBusyError):
        acquire(BOARD, purpose="second")


def test_a_board_is_locked_under_each_of_its_names() -> None:
    with acquire(OTHER, purpose="us"):
        for alias in (Board("x", "esp32", serial="0001"), Board("y", "esp32", mac="240AC4000001")):
            with pytest.raises(BoardBusyError):
                acquire(alias, purpose="them")
    acquire(Board("y", "esp32", mac="240AC4000001"), purpose="them").close()


def test_of_several_the_first_free_one_is_leased() -> None:
    with acquire(BOARD, purpose="us"), acquire_any((BOARD, OTHER), purpose="us") as second:
        assert second.board is OTHER
        with pytest.raises(BoardBusyError, match=r"all 2 boards are in use after 0.5 s: voice: .*; bare: "):
            acquire_any((BOARD, OTHER), purpose="us", timeout=0.5)


def test_who_waits_gets_the_board_when_it_is_free() -> None:
    timer = threading.Timer(0.5, acquire(BOARD, purpose="us").close)
    timer.start()
    with acquire(BOARD, purpose="us", timeout=30) as lease:
        timer.join()
        assert lease.board is BOARD


_COUNT = """
import datetime, json, os, pathlib, sys
import harness.serial.ports
from harness.boards.inventory import Board
from harness.boards.leases import acquire
from tests.support.waiting import PATIENCE
if sys.argv[2] != str(os.geteuid()):
    os.setuid(int(sys.argv[2]))
counter = pathlib.Path(sys.argv[1])
for _ in range(25):
    with acquire(Board("a", "esp32", serial="s", mac="24:0a:c4:00:00:01"), purpose="count", timeout=PATIENCE):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def _count_together(folder: Path, users: list[int]) -> int:
    """Let processes count in a file that only the lease protects."""
    counter = folder / "counter"
    counter.write_text("0")
    counter.chmod(0o666)
    workers = [subprocess.Popen([sys.executable, "-c", _COUNT, str(counter), str(user)]) for user in users]
    assert [worker.wait(120) for worker in workers] == [0] * len(users)
    return int(counter.read_text())


def test_never_two_at_a_time(tmp_path: Path) -> None:
    assert _count_together(tmp_path, [os.geteuid()] * 4) == 100


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be several users")
def test_never_two_users_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:
        leases = Path(name) / "leases"
        leases.mkdir()
        for folder in (Path(name), leases):
            folder.chmod(0o1777)
        monkeypatch.setenv("MWW_LEASE_DIR", str(leases))
        assert _count_together(Path(name), [0, 4001, 4002, 4001]) == 100


def test_a_lock_can_be_seen_by_everybody_and_leaves_nothing(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with acquire(BOARD, purpose="us"):
            (lock,) = tmp_path.iterdir()
            assert lock.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


def test_another_user_s_lease_counts(tmp_path: Path) -> None:
    with acquire(BOARD, purpose="theirs"):
        (lock,) = tmp_path.iterdir()
        other = lock.rename(tmp_path / lock.name.replace(f".{os.geteuid()}.", ".4242."))
        with pytest.raises(BoardBusyError, match=r"\(theirs\)"):
            acquire(BOARD, purpose="ours")
        assert other.exists()
    acquire(BOARD, purpose="ours").close()


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    with acquire(BOARD, purpose="us"):
        (lock,) = tmp_path.iterdir()
    precious = tmp_path / "precious"
    precious.write_text("untouched")
    lock.symlink_to(precious)
    with pytest.raises(LeaseError, match="cannot use the lock file"):
        acquire(BOARD, purpose="us")
    lock.unlink()
    os.link(precious, lock)
    with pytest.raises(LeaseError, match="is not this user's lock file"):
        acquire(BOARD, purpose="us")
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(LeaseError, match="is not a lock file"):
        acquire(BOARD, purpose="us")
    assert precious.read_text() == "untouched"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_lock_file_that_another_user_could_remove_is_not_used(tmp_path: Path) -> None:
    with acquire(BOARD, purpose="us"):
        (lock,) = tmp_path.iterdir()
    lock.touch()
    os.chown(lock, 4242, 4242)
    with pytest.raises(LeaseError, match="is not this user's lock file"):
        acquire(BOARD, purpose="us")


def test_a_removed_lock_file_excludes_nobody_from_the_new_one(tmp_path: Path) -> None:
    with acquire(BOARD, purpose="us"):
        (lock,) = tmp_path.iterdir()
        lock.unlink()
        with acquire(BOARD, purpose="them"):
            assert lock.exists()


@pytest.mark.parametrize("note", [b"", b"[]", b"{", b'{"pid": "x"}', b"\xff" * 9000, b"[" * 4096])
def test_whatever_a_lock_file_says_it_is_only_text(tmp_path: Path, note: bytes) -> None:
    with acquire(BOARD, purpose="us"):
        (lock,) = tmp_path.iterdir()
        lock.write_bytes(note)
        result = holder(BOARD)
        assert result is not None
        assert result.user == "unknown"


def test_all_users_of_a_machine_look_in_the_same_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MWW_LEASE_DIR")
    monkeypatch.setenv("TMPDIR", "/home/me/tmp")
    assert lease_dir() in (Path("/run/lock"), Path("/tmp"))


def test_a_bare_port_is_leased_once_for_a_process_and_against_all_others() -> None:
    with hold_port("socket://127.0.0.1:5000", purpose="mww run"), hold_port("socket://127.0.0.1:5000", purpose="again"):
        same = Board("x", "", serial="socket://127.0.0.1:5000")
        with pytest.raises(BoardBusyError, match=r"\(mww run\)"):
            acquire(same, purpose="them")
    acquire(same, purpose="them").close()


def test_a_board_at_an_address_is_one_board_to_who_names_the_inventory_and_who_names_the_address() -> None:
    board = Board("attic", "esp32s3", serial="attic-1", port="rfc2217://attic.local:4000")
    with hold_port(board.port, purpose="mww run"):
        result = holder(board)
        assert result is not None
        assert result.purpose == "mww run"
        with pytest.raises(BoardBusyError):
            acquire(board, purpose="pytest")
    with acquire(board, purpose="pytest"), hold_port(board.port, purpose="the same process"):
        assert holder(Board(board.port, "", serial=board.port, port=board.port)) is not None
