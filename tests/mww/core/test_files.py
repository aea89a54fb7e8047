"""Several results are written all or none, and never half."""

from pathlib import Path

import pytest

from mww.core.errors import OutputError
from mww.core.files import write_files


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
