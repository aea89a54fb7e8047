"""The board over its transports: how it boots, what it prints, when it is in its bootloader, and how it ends."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import serial

from harness.link.client import LinkClient
from harness.virtual.process import VirtualBoard
from harness.virtual.protocol import SYNC_PACKET, slip_frame
from harness.virtual.server import TRANSPORT_NAMES
from mww.core.errors import VirtualBoardError
from tests.support.waiting import PATIENCE, have_ended


@pytest.fixture(scope="module", params=["socket", "pty"])
def board(request: pytest.FixtureRequest) -> Iterator[VirtualBoard]:
    with VirtualBoard(transport=request.param) as board:
        yield board


def _answer(port: serial.SerialBase, data: bytes, enough: bytes, seconds: float = PATIENCE) -> bytes:
    """Write, and read until `enough` has come."""
    port.write(data)
    deadline, result = time.monotonic() + seconds, b""
    while enough not in result and time.monotonic() < deadline:
        result += port.read(port.in_waiting or 1)
    return result


def test_sync_finds_the_bootloader_and_closing_boots_the_flash(board: VirtualBoard) -> None:
    for _ in range(2):
        with serial.serial_for_url(board.port, timeout=0.2) as port:
            # a heartbeat of the firmware may come first, as a real chip's log would
            assert b"\xc0\x01\x08" in _answer(port, slip_frame(SYNC_PACKET), b"\xc0\x01\x08")
        with LinkClient.connect(board.port) as client:
            assert client.board.chip == "esp32s3"


def test_sync_in_pieces_is_still_sync(board: VirtualBoard) -> None:
    with serial.serial_for_url(board.port, timeout=0.2) as port:
        packet = slip_frame(SYNC_PACKET)
        port.write(packet[:10])
        time.sleep(0.05)
        assert b"\xc0\x01\x08" in _answer(port, packet[10:], b"\xc0\x01\x08")


def test_lines_reset_into_bootloader_and_firmware() -> None:
    with VirtualBoard(transport="rfc2217") as board, serial.serial_for_url(board.port, timeout=0.2) as port:
        port.dtr, port.rts = False, True
        port.dtr, port.rts = True, False
        assert b"waiting for download" in _answer(port, b"", b"waiting for download")
        assert b"\xc0\x01\x08" in _answer(port, slip_frame(SYNC_PACKET), b"\xc0\x01\x08")
        port.dtr, port.rts = False, True
        port.rts = False
        log = _answer(port, b"", b"mww-harness-virtual")
        assert b"SPI_FAST_FLASH_BOOT" in log
        assert b"mww_model" in log


@pytest.mark.parametrize("transport", TRANSPORT_NAMES)
def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path, transport: str) -> None:
    port_file = tmp_path / "port"
    words = ["virtual", "--transport", transport, "--port-file", str(port_file), "--state", str(tmp_path / "state")]
    process = subprocess.Popen([sys.executable, "-m", "harness.cli", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    announced = process.stdout.readline().strip()
    assert port_file.read_text().strip() == announced
    with LinkClient.connect(announced) as client:
        assert client.board.chip == "esp32s3"
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 130
    process.stdout.close()
    assert have_ended(children)
    assert {path.name for path in (tmp_path / "state").iterdir()} <= {"flash.bin", "board.json", "lock"}


def test_the_port_of_a_board_that_was_killed_is_not_taken_for_that_of_the_next(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("socket://127.0.0.1:9\n")
    words = ["virtual", "--port-file", str(tmp_path / "port"), "--transport", "none"]  # ends before it is ready
    assert (
        subprocess.run([sys.executable, "-m", "harness.cli", *words], capture_output=True, check=False).returncode == 2
    )
    assert not (tmp_path / "port").exists()


def test_a_board_ends_with_the_process_that_started_it() -> None:
    code = (
        "from harness.virtual.process import VirtualBoard; import os\n"
        "board = VirtualBoard(); print(board.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    pid = int(result.stdout)
    assert not psutil.pid_exists(pid) or have_ended([psutil.Process(pid)])


@pytest.mark.slow
def test_a_machine_without_tflm_has_a_board_too(models: Path, clips: Path, tmp_path: Path) -> None:
    """The exact engine runs its models."""
    code = "import sys; sys.modules['tflite_micro'] = None; from harness.cli import main; main()"
    port_file = tmp_path / "port"
    words = [sys.executable, "-c", code, "virtual", "--port-file", str(port_file)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        port = process.stdout.readline().strip()
        mww = [sys.executable, "-m", "harness.cli"]
        model = str(models / "okay_nabu.json")
        flashed = subprocess.run([*mww, "flash", "--port", port, "--model", model], capture_output=True, check=False)
        run = [*mww, "run", model, "--wav", str(clips / "negative"), "--lead-in", "1", "--target", port]
        result = subprocess.run(run, capture_output=True, text=True, check=False)
        process.terminate()
        process.wait(PATIENCE)
    assert flashed.returncode == 0
    assert result.returncode == 0
    assert "are equal to the golden ones" in result.stdout


def test_a_state_belongs_to_one_chip_and_one_process(tmp_path: Path) -> None:
    with VirtualBoard("esp32", state=tmp_path), pytest.raises(VirtualBoardError, match="in use"):
        VirtualBoard("esp32", state=tmp_path)
    with pytest.raises(VirtualBoardError, match="esp32"):
        VirtualBoard("esp32s3", state=tmp_path)


@pytest.mark.parametrize(
    "options", [{"chip": "esp8266"}, {"transport": "can"}, {"faults": ["corrupt=2"]}, {"faults": ["typo"]}]
)
def test_wrong_options_are_refused_with_a_hint(options: dict[str, str]) -> None:
    with pytest.raises(VirtualBoardError) as caught:
        VirtualBoard(**options)  # type: ignore[arg-type]
    assert caught.value.hint


@pytest.mark.parametrize("transport", TRANSPORT_NAMES)
def test_noise_from_the_host_does_no_harm(transport: str) -> None:
    noise = random.Random(3)
    with VirtualBoard(transport=transport) as board:
        for _ in range(3):
            data = noise.randbytes(3000) + b"\xff\xfa\x2c\x01\xff\xf0" + slip_frame(SYNC_PACKET)[:20]
            if transport == "pty":
                descriptor = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
                os.write(descriptor, data)
                os.close(descriptor)
                continue
            address = urlsplit(board.port)
            with socket.create_connection((address.hostname, address.port)) as raw:
                raw.sendall(data)
        with LinkClient.connect(board.port) as client:
            assert client.board.chip == "esp32s3"


def test_a_board_that_is_killed_leaves_no_files(tmp_path: Path) -> None:
    code = "from harness.virtual.process import VirtualBoard; import os, sys; b = VirtualBoard(); os.kill(b.pid, 9)"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=PATIENCE, check=True)
    assert not list(tmp_path.iterdir())
