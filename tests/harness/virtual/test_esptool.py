"""The unmodified esptool, from the command line, against a virtual board on every transport.

`MWW_ESPTOOL` names other esptools to try as well, such as one of an older version, separated by colons.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.link.client import LinkClient
from harness.virtual.process import VirtualBoard
from mww.esphome.chips import VIRTUAL_CHIPS
from tests.support.waiting import PATIENCE

ESPTOOLS = (
    [sys.executable, "-m", "esptool"],
    *([path] for path in os.environ.get("MWW_ESPTOOL", "").split(":") if path),
)
SIZE = 30_000
OFFSET = "0x180000"


ALL = ("esp32 pty", "esp32s3 socket", *(f"{chip} {('socket', 'pty')[i % 2]}" for i, chip in enumerate(VIRTUAL_CHIPS)))
SOME = ("esp32 socket", "esp32s3 pty", "esp32c5 socket")


@pytest.fixture(scope="module")
def board_port(request: pytest.FixtureRequest) -> Iterator[str]:
    chip, transport = request.param.split()
    with VirtualBoard(chip, transport=transport) as board:
        yield board.port


@pytest.fixture(scope="module", params=ESPTOOLS, ids=lambda words: Path(words[0]).parent.parent.name)
def esptool(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Bytes that do not compress, for one half, and compress well, for the other."""
    path = tmp_path / "noise.bin"
    path.write_bytes(random.Random(1).randbytes(SIZE // 2) + bytes(SIZE // 2))
    return path


def _esptool(esptool: Sequence[str], port: str, *words: str) -> str:
    patient = ["--connect-attempts", "100"]  # it gives a board three seconds, which a busy machine may exceed
    command = [*esptool, "--port", port, *patient, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("board_port", ALL, indirect=True)
def test_the_chip_its_mac_and_its_flash_are_recognised(board_port: str, esptool: list[str]) -> None:
    result = _esptool(esptool, board_port, "flash-id")
    assert "Detected flash size" in result
    assert "02:4d:57:57" in result
    assert "Detected flash size" in _esptool(esptool, board_port, "--no-stub", "flash-id")


@pytest.mark.parametrize("board_port", SOME, indirect=True)
@pytest.mark.parametrize("compression", ["--compress", "--no-compress"])
def test_what_is_written_is_there(
    board_port: str, esptool: list[str], noise: Path, tmp_path: Path, compression: str
) -> None:
    _esptool(esptool, board_port, "write-flash", compression, OFFSET, str(noise))
    assert "digest matched" in _esptool(esptool, board_port, "-b", "460800", "verify-flash", OFFSET, str(noise))
    back = tmp_path / "back.bin"
    _esptool(esptool, board_port, "read-flash", OFFSET, str(SIZE), str(back))
    assert back.read_bytes() == noise.read_bytes()


@pytest.mark.parametrize("board_port", SOME, indirect=True)
def test_without_the_stub_as_well(board_port: str, esptool: list[str], noise: Path, tmp_path: Path) -> None:
    _esptool(esptool, board_port, "--no-stub", "write-flash", OFFSET, str(noise))
    assert "digest matched" in _esptool(esptool, board_port, "--no-stub", "verify-flash", OFFSET, str(noise))
    back = tmp_path / "back.bin"
    _esptool(esptool, board_port, "--no-stub", "read-flash", OFFSET, "1000", str(back))
    assert back.read_bytes() == noise.read_bytes()[:1000]


@pytest.mark.parametrize("board_port", SOME, indirect=True)
def test_a_region_and_the_whole_flash_are_erased(
    board_port: str, esptool: list[str], noise: Path, tmp_path: Path
) -> None:
    _esptool(esptool, board_port, "write-flash", OFFSET, str(noise))
    back = tmp_path / "back.bin"
    for command in (["erase-region", OFFSET, "0x1000"], ["erase-flash"]):
        _esptool(esptool, board_port, *command)
        _esptool(esptool, board_port, "read-flash", OFFSET, "0x1000", str(back))
        assert back.read_bytes() == b"\xff" * 0x1000


@pytest.mark.slow
def test_rfc2217_resets_the_board(esptool: list[str], noise: Path) -> None:
    noise.write_bytes(noise.read_bytes()[:3000])  # pyserial's rfc2217 takes 100 ms for many commands
    with VirtualBoard(transport="rfc2217") as board:
        assert "Hash of data verified" in _esptool(esptool, board.port, "write-flash", OFFSET, str(noise))
        with LinkClient.connect(board.port) as client:  # esptool has reset the board into its firmware
            assert client.board.chip == "esp32s3"
