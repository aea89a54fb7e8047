"""Several results are written all or none, and never half."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from harness.clips.npz import write_archive
from mww.core import files
from mww.core.errors import OutputError
from mww.core.files import appending, write_files
from tests.support.waiting import PATIENCE


def test_files_are_written_into_new_folders(tmp_path: Path) -> None:
    write_files({tmp_path / "a" / "x": b"1", tmp_path / "a" / "y": b"2"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == {"x": b"1", "y": b"2"}


def test_when_one_cannot_be_written_the_others_keep_what_they_held(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(b"before")
    bad.mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OutputError):
        write_files({good: b"after", tmp_path / "new": b"", bad: b"after"})
    assert good.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good"]


def test_a_device_is_written_and_stays_a_device(tmp_path: Path) -> None:
    device, link = tmp_path / "null", tmp_path / "link"
    link.symlink_to("/dev/null")
    places = [link]
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        places.append(device)
    except PermissionError:  # only root makes devices
        pass
    for place in places:
        before = place.lstat().st_mode
        write_files({place: b"x" * 100_000, tmp_path / "beside": b"y"})
        write_archive(place, [("a", np.zeros(1000))])
        assert place.lstat().st_mode == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert (tmp_path / "beside").read_bytes() == b"y"


def test_a_full_device_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"before")
    with pytest.raises(OutputError, match="/dev/full"):
        write_files({tmp_path / "good": b"after", Path("/dev/full"): b"x"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"good": b"before"}


def test_a_pipe_is_a_stream_and_without_a_reader_it_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="nobody reads"):
        write_files({pipe: b"x"})
    content = bytes(range(256)) * 1000
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(pipe.read_bytes)
        wait_for_reader(pipe, content)
        assert reading.result(PATIENCE) == content
    assert pipe.is_fifo()


def wait_for_reader(pipe: Path, content: bytes) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return write_files({pipe: content})
        except OutputError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "{link}"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_the_own_output_is_continued(place: str, kind: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/stdout")
    program = (
        "import sys; from pathlib import Path; from mww.core.files import replacing, write_files\n"
        "print('before'); write_files({Path(sys.argv[1]): b'one\\n'})\n"
        "with replacing(Path(sys.argv[1])) as file: file.write(b'two\\n')\n"
        "print('after')"
    )
    words = [sys.executable, "-c", program, place.format(link=link)]
    target = tmp_path / "out"
    with target.open("wb") as out:
        done = subprocess.run(words, stdout=out if kind == "file" else subprocess.PIPE, check=True, timeout=PATIENCE)
    content = target.read_bytes() if kind == "file" else done.stdout
    assert content.split() == [b"before", b"one", b"two", b"after"]
    assert link.is_symlink()
    assert Path("/dev/stdout").is_symlink()


def test_the_places_of_other_processes_and_closed_ones_are_refused() -> None:
    for place in ("/dev/fd/999", "/proc/self/fd/999", "/proc/1/fd/999999"):
        with pytest.raises(OutputError, match=place):
            write_files({Path(place): b""})


def test_appending_makes_a_file_goes_on_and_waits_for_no_reader(tmp_path: Path) -> None:
    page, pipe = tmp_path / "page", tmp_path / "pipe"
    for part in (b"first\n", b"second\n"):
        with appending(page) as file:
            file.write(part)
    assert page.read_bytes() == b"first\nsecond\n"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="nobody reads from it"), appending(pipe):
        pass
    with pytest.raises(OutputError, match="cannot write"), appending(tmp_path):
        pass


def test_a_former_file_that_no_result_is_as_large_as_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_FORMER", 8)
    (tmp_path / "b").write_bytes(b"x" * 9)
    with pytest.raises(OutputError, match="it is larger than 8 bytes"):
        write_files({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert (tmp_path / "b").read_bytes() == b"x" * 9
    assert not (tmp_path / "a").exists()
