"""What is not a regular file is refused at once, whatever reads it; a folder is not walked without a bound."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.calibration.feature_sets import load_clips
from exporter.checkpoint import load_checkpoint
from exporter.conversion.recovered_ranges import load_ranges
from exporter.network.configuration import load_configuration
from harness.report.run_document import read_measured_arena
from mww.core import readable
from mww.core.errors import ConfigurationError, MwwError
from mww.core.fields import Fields
from mww.core.file_kinds import kind_of
from mww.core.readable import (
    files_below,
    is_file,
    is_folder,
    is_there,
    open_regular,
    read_regular,
    shown,
)
from mww.core.yaml_reader import read_yaml
from mww.esphome.audio import read_audio, sound_files
from mww.tflite.model_file import read_model

READERS: tuple[Callable[[Path], object], ...] = (
    lambda path: list(read_audio(path)),
    load_clips,
    lambda path: load_checkpoint(path, {}),
    load_ranges,
    load_configuration,
    lambda path: Fields.read(path, hint="give another", most_bytes=1000),
    lambda path: read_measured_arena(path, ""),
    lambda path: read_yaml(path, ConfigurationError, "give another"),
    read_model,
)


def special(folder: Path) -> list[Path]:
    """Everything that can stand at a path and is not a file of a disk."""
    pipe, listener = folder / "pipe", folder / "socket"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listener))
    link = folder / "link"
    link.symlink_to("/dev/zero")
    return [pipe, listener, link, Path("/dev/zero"), Path("/dev/full"), Path("/proc/kmsg"), folder]


def test_what_may_have_no_end_is_refused_by_every_reader(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    for path in special(folder):
        for reader in READERS:
            with pytest.raises(MwwError) as caught:
                reader(path)
            assert caught.value.hint
            assert "\n" not in caught.value.message
        assert kind_of(path) is None


def test_the_reason_names_what_stands_there(tmp_path: Path) -> None:
    words = ["a pipe", "a socket", "a device", "a device", "a device", "a file of the kernel", "a folder"]
    for path, word in zip(special(tmp_path), words, strict=True):
        with pytest.raises(OSError, match=word):
            open_regular(path)
    with pytest.raises(OSError, match="zero byte"):
        open_regular(Path("a\0b"))


def test_a_regular_file_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"


def test_a_file_beyond_its_bound_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(40 << 30)
    with pytest.raises(OSError, match="larger than 64 kB"):
        read_regular(tmp_path / "sparse", 64 << 10)
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(tmp_path / "file", 7) == b"content"
    with pytest.raises(OSError, match="larger than 6 bytes"):
        read_regular(tmp_path / "file", 6)


def test_a_name_that_the_system_refuses_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("a" * 300, "a/" * 3000, "a\0b", "\udcff\0", "loop"):
        assert not any(look(tmp_path / name) for look in (is_file, is_folder, is_there)), name


def test_any_value_is_shown_in_one_short_line() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    loop: list[object] = []
    loop.append(loop)
    for value in (
        10**5000,
        -(10**5000),
        [10**5000],
        deep,
        loop,
        "\x1b[2J\n" * 1000,
        "\udcff",
        {"a": 10**5000},
        b"\0" * 99,
    ):
        text = shown(value)
        assert text.isprintable(), text
        assert len(text) <= 60, text
    assert shown("esp99") == "'esp99'"


def test_a_folder_is_walked_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("a.wav", "inner/b.wav", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "inner" / "again").symlink_to(tmp_path)
    assert sound_files(tmp_path) == [tmp_path / "a.wav", tmp_path / "inner" / "b.wav"]
    monkeypatch.setattr(readable, "MAX_ENTRIES", 4)
    with pytest.raises(MwwError, match="more than 4 files"):
        sound_files(tmp_path)


def test_the_whole_file_system_is_refused() -> None:
    for reader in (sound_files, load_clips):
        with pytest.raises(MwwError, match="whole file system"):
            reader(Path("/"))
    with pytest.raises(OSError, match="whole file system"):
        list(files_below(Path("/usr/..")))
