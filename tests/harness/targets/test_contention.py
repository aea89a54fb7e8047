"""A port that another program uses is reported as such; a board that hangs is reset where its port can do that."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import serial

from harness.check import check
from harness.link.client import LinkClient
from harness.virtual.process import VirtualBoard
from mww.core.errors import BootLoopError, PortBusyError
from tests.harness.serial.test_port_users import held_by_another

pytestmark = pytest.mark.slow

TRANSPORTS = ("socket", "rfc2217", "pty")
CLIPS = {f"clip {number}": np.full((60, 40), number, np.int8) for number in range(3)}


@contextmanager
def locked(path: str) -> Iterator[None]:
    """A terminal as a program has it that keeps to the convention of locking it."""
    handle = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@pytest.mark.parametrize("transport", ["socket", "rfc2217"])
def test_a_second_client_is_told_who_has_the_port_and_the_first_goes_on(transport: str) -> None:
    with VirtualBoard(transport=transport) as board:
        with LinkClient.connect(board.port) as first:
            port = serial.serial_for_url(board.port) if transport == "socket" else None
            with pytest.raises(PortBusyError, match="is in use by another program"):
                LinkClient.connect(board.port)
            if port is not None:
                assert port.read(4) == b"Port"
                port.close()
            assert first.stats().inferences == 0
        with held_by_another(board.port) as pid, pytest.raises(PortBusyError, match=rf"in use by process {pid} \("):
            LinkClient.connect(board.port)
        LinkClient.connect(board.port).close()


def test_a_terminal_that_another_has_locked_is_in_use() -> None:
    with VirtualBoard(transport="pty") as board:
        with locked(board.port), pytest.raises(PortBusyError, match="is in use"):
            LinkClient.connect(board.port)
        LinkClient.connect(board.port).close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_closes_a_port_and_opens_it_again_at_once_is_never_refused(transport: str) -> None:
    with VirtualBoard(transport=transport) as board:
        boots = set()
        for _ in range(10):
            with LinkClient.connect(board.port) as client:
                boots.add(client.board.boot_id)
        assert len(boots) == 1


def test_a_board_that_hangs_is_reset_by_its_lines_and_the_later_clips_run(models: Path) -> None:
    with VirtualBoard(transport="rfc2217", faults=["hang=30"]) as board:
        first, second, third = check(models / "okay_nabu.json", CLIPS, target=board.port).clips
    assert [clip.status for clip in (first, second, third)] == ["pass", "error", "pass"]
    assert second.error is not None
    assert second.error.code == "hung"
    assert second.error.inference == 10
    assert "was reset with its control lines, and answers again; reset reason 0x1 (POWERON)" in str(second.error.hint)


def test_without_control_lines_the_error_says_so(models: Path) -> None:
    with VirtualBoard(faults=["hang=30"]) as board:
        first, second, third = check(models / "okay_nabu.json", CLIPS, target=board.port).clips
    assert [clip.status for clip in (first, second, third)] == ["pass", "error", "error"]
    assert second.error is not None
    assert "no control lines" in str(second.error.hint)


def test_a_board_that_an_earlier_run_left_hanging_is_reset_by_the_next(models: Path) -> None:
    with VirtualBoard(transport="rfc2217", faults=["hang=10"]) as board:
        with LinkClient.connect(board.port) as client:
            before = client.board.boot_id
            hang(client, models / "okay_nabu.tflite")
        with LinkClient.connect(board.port) as client:
            assert client.board.boot_id != before


def hang(client: LinkClient, model: Path) -> None:
    from harness.link.model_table import ModelRecord
    from mww.core.errors import HungError

    client.upload(0, ModelRecord(model.read_bytes(), 0))
    client.open_model()
    with pytest.raises(HungError):
        client.infer(np.zeros((20, 3, 40), np.int8))


def test_a_reboot_tells_its_reason(models: Path) -> None:
    with VirtualBoard(faults=["reboot=30"]) as board:
        _, second, _ = check(models / "okay_nabu.json", CLIPS, target=board.port).clips
    assert second.error is not None
    assert "reset reason 0x3 (RTC_SW_SYS_RST); its log:" in str(second.error.hint)


def test_a_boot_loop_is_told_with_its_reason_and_log(tmp_path: Path) -> None:
    VirtualBoard(state=tmp_path).close()
    with (tmp_path / "flash.bin").open("r+b") as flash:
        flash.seek(0x10000)
        flash.write(b"\xff" * 4096)
    with VirtualBoard(state=tmp_path) as board, pytest.raises(BootLoopError, match=r"RTCWDT_RTC_RST") as caught:
        LinkClient.connect(board.port)
    assert "No bootable app partitions" in str(caught.value.hint)
