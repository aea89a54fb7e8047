"""Whatever a killed process left is gone with the next use of the same place, and nothing else ever is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mww.core.files import write_files
from mww.core.scratch import FILE_SUFFIX, FOLDER_SUFFIX, ScratchFile, scratch_folder

HOLDS_A_FOLDER = """
import sys; from pathlib import Path; from mww.core.scratch import scratch_folder
with scratch_folder("mww-test-", Path(sys.argv[1])) as folder:
    (folder / "large").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""
HOLDS_A_FILE = """
import sys; from pathlib import Path; from mww.core.scratch import ScratchFile
file = ScratchFile(Path(sys.argv[1]) / "result.json")
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(program: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("program", [HOLDS_A_FOLDER, HOLDS_A_FILE])
def test_what_a_killed_process_left_is_swept_by_the_next_and_not_before(program: str, tmp_path: Path) -> None:
    with another_process(program, tmp_path) as process:
        (held,) = tmp_path.iterdir()
        use(tmp_path)
        assert held.exists()
        process.kill()
        process.wait()
        assert held.exists()
        use(tmp_path)
        assert not held.exists()


def use(folder: Path) -> None:
    with scratch_folder("mww-test-", folder):
        pass
    write_files({folder / "other.json": b"{}"})
    (folder / "other.json").unlink()


def test_other_files_of_like_names_stay(tmp_path: Path) -> None:
    names = ["mww-test-mine", ".result.json.part", f"another-{FOLDER_SUFFIX}", f"visible{FILE_SUFFIX}"]
    for name in names:
        (tmp_path / name).mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmp_path / f"mww-test-link{FOLDER_SUFFIX}").symlink_to(elsewhere)
    use(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "elsewhere", f"mww-test-link{FOLDER_SUFFIX}"}
    assert (elsewhere / "kept").exists()


def test_a_folder_is_private_and_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), scratch_folder("mww-test-", tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_private_until_it_is_whole(tmp_path: Path) -> None:
    former = os.umask(0o022)
    try:
        file = ScratchFile(tmp_path / "result")
        (beside,) = tmp_path.iterdir()
        assert beside.stat().st_mode & 0o777 == 0o600
        file.stream.write(b"whole")
        file.keep()
    finally:
        os.umask(former)
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert (tmp_path / "result").read_bytes() == b"whole"
    assert (tmp_path / "result").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["n" * 255, "\N{SNOWMAN}" * 85])
def test_a_name_as_long_as_the_file_system_takes_is_written(name: str, tmp_path: Path) -> None:
    write_files({tmp_path / name: b"x"})
    assert [path.name for path in tmp_path.iterdir()] == [name]
