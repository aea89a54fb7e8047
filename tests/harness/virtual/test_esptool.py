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

from harness.virtual.process import VirtualBoard
from harness.virtual.server import TRANSPORT_NAMES

ESPTOOLS = (
    [sys.executable, "-m", "esptool"],
    *([path] for path in os.environ.get("MWW_ESPTOOL", "").split(":") if path),
)
SIZE = 50_000
OFFSET = "0x180000"


@pytest.fixture(scope="module", params=[f"{chip} {name}" for chip in ("esp32", "esp32s3") for name in TRANSPORT_NAMES])
def board(request: pytest.FixtureRequest) -> Iterator[tuple[VirtualBoard, str]]:
    chip, transport = request.param.split()
    with VirtualBoard(chip, transport=transport) as board:
        yield board, transport


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
    done = subprocess.run([*esptool, "--port", port, *words], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_chip_its_mac_and_its_flash_are_recognised(board: tuple[VirtualBoard, str], esptool: list[str]) -> None:
    port = board[0].port
    found = _esptool(esptool, port, "flash-id")
    assert "Detected flash size" in found
    assert "02:4d:57:57" in found
    assert "Detected flash size" in _esptool(esptool, port, "--no-stub", "flash-id")


@pytest.mark.parametrize("compression", ["--compress", "--no-compress"])
def test_what_is_written_is_there(
    board: tuple[VirtualBoard, str], esptool: list[str], noise: Path, tmp_path: Path, compression: str
) -> None:
    port = board[0].port
    _esptool(esptool, port, "write-flash", compression, OFFSET, str(noise))
    assert "digest matched" in _esptool(esptool, port, "-b", "460800", "verify-flash", OFFSET, str(noise))
    back = tmp_path / "back.bin"
    _esptool(esptool, port, "read-flash", OFFSET, str(SIZE), str(back))
    assert back.read_bytes() == noise.read_bytes()


def test_without_the_stub_as_well(
    board: tuple[VirtualBoard, str], esptool: list[str], noise: Path, tmp_path: Path
) -> None:
    port, transport = board[0].port, board[1]
    size = 2000 if transport == "rfc2217" else SIZE  # pyserial's rfc2217 takes 100 ms for each of the ROM's commands
    noise.write_bytes(noise.read_bytes()[:size])
    _esptool(esptool, port, "--no-stub", "write-flash", OFFSET, str(noise))
    assert "digest matched" in _esptool(esptool, port, "--no-stub", "verify-flash", OFFSET, str(noise))
    back = tmp_path / "back.bin"
    _esptool(esptool, port, "--no-stub", "read-flash", OFFSET, "1000", str(back))
    assert back.read_bytes() == noise.read_bytes()[:1000]


def test_a_region_and_the_whole_flash_are_erased(
    board: tuple[VirtualBoard, str], esptool: list[str], noise: Path, tmp_path: Path
) -> None:
    port = board[0].port
    _esptool(esptool, port, "write-flash", OFFSET, str(noise))
    back = tmp_path / "back.bin"
    for command in (["erase-region", OFFSET, "0x1000"], ["erase-flash"]):
        _esptool(esptool, port, *command)
        _esptool(esptool, port, "read-flash", OFFSET, "0x1000", str(back))
        assert back.read_bytes() == b"\xff" * 0x1000
