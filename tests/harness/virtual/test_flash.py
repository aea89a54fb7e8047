from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.flash import Flash, FlashRangeError
from mww.core.errors import InputError

SIZE = 0x10000


def test_a_new_flash_is_erased_and_keeps_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    with Flash(path, SIZE) as flash:
        assert flash.read(0, SIZE) == b"\xff" * SIZE
        flash.program(0x1234, b"hello")
    with Flash(path, SIZE) as flash:
        assert flash.read(0x1234, 5) == b"hello"
        assert path.read_bytes()[0x1234:0x1239] == b"hello"


@given(old=st.binary(min_size=1, max_size=64), new=st.binary(min_size=1, max_size=64))
def test_programming_without_erasing_only_clears_bits(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes
) -> None:
    with Flash(tmp_path_factory.mktemp("flash") / "flash.bin", SIZE) as flash:
        flash.program(0, old)
        flash.program(0, new)
        width = max(len(old), len(new))
        expected = bytes(a & b for a, b in zip(old.ljust(width, b"\xff"), new.ljust(width, b"\xff"), strict=True))
        assert flash.read(0, width) == expected


def test_erasing_takes_whole_sectors_and_leaves_the_others(tmp_path: Path) -> None:
    with Flash(tmp_path / "flash.bin", SIZE) as flash:
        flash.program(0, bytes(SIZE))
        flash.erase(0x2000, 0x1000)
        assert flash.read(0x2000, 0x1000) == b"\xff" * 0x1000
        assert flash.read(0x1000, 0x1000) + flash.read(0x3000, 0x1000) == bytes(0x2000)
        with pytest.raises(FlashRangeError):
            flash.erase(0x2001, 0x1000)


@pytest.mark.parametrize(("offset", "length"), [(SIZE, 1), (SIZE - 1, 2), (-1, 1), (0, -1), (0, SIZE + 1)])
def test_nothing_reaches_beyond_the_flash(tmp_path: Path, offset: int, length: int) -> None:
    with Flash(tmp_path / "flash.bin", SIZE) as flash:
        with pytest.raises(FlashRangeError):
            flash.read(offset, length)
        with pytest.raises(FlashRangeError):
            flash.md5(offset, length)


def test_the_digest_is_md5_and_the_mapping_shows_what_is_written(tmp_path: Path) -> None:
    with Flash(tmp_path / "flash.bin", SIZE) as flash:
        flash.program(7, b"abc")
        assert flash.md5(7, 3) == hashlib.md5(b"abc").digest()
        assert flash.address(8) == flash.address(7) + 1


def test_a_flash_of_another_size_is_refused(tmp_path: Path) -> None:
    Flash(tmp_path / "flash.bin", SIZE).close()
    with pytest.raises(InputError, match="flash"):
        Flash(tmp_path / "flash.bin", 2 * SIZE)
