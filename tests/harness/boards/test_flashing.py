from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import termios
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.boards.flashing import FlashJob, FlashReport, connected, flash
from harness.link.client import LinkClient
from harness.link.messages import STORED
from harness.link.model_table import ModelRecord
from harness.virtual.chips import find_chip
from harness.virtual.factory import PARTITIONS, factory_image
from harness.virtual.process import VirtualBoard
from mww.core.errors import FlashingError, ImageError, ModelPartitionError, PortMissingError, UsageError
from mww.esphome.model import load_model
from mww.images.partition_table import make_partition_table, whole_sectors


def _record(path: Path) -> ModelRecord:
    model = load_model(path)
    return ModelRecord(model.content, model.tensor_arena_size or 0)


def _virtual(chip: str) -> bytes:
    return factory_image(find_chip(chip))


def _beyond(image: bytes) -> bytes:
    """The image with a partition that ends beyond 8 MB."""
    partitions = [*PARTITIONS[:2], replace(PARTITIONS[2], size=0x1000000)]
    return image[:0x8000] + whole_sectors(make_partition_table(partitions)) + image[0x9000:]


def _written(report: FlashReport) -> list[str]:
    return [part.name for part in report.parts if part.written]


@pytest.mark.parametrize(
    ("chip", "transport"),
    [
        ("esp32", "socket"),
        ("esp32", "pty"),
        ("esp32s3", "socket"),
        ("esp32s3", "rfc2217"),
        ("esp32c5", "socket"),
        ("esp32c6", "pty"),
    ],
)
def test_firmware_and_models_are_written_once_and_run(chip: str, transport: str, models: Path) -> None:
    records = tuple(_record(models / f"{name}.json") for name in ("okay_nabu", "alexa", "hey_jarvis", "hey_mycroft"))
    with VirtualBoard(chip, transport=transport) as board:
        first = flash(FlashJob(board.port, firmware=_virtual, models=records))
        assert first.chip == chip
        assert _written(first) == ["mww_model"]
        assert _written(flash(FlashJob(board.port, firmware=_virtual, models=records))) == []
        with LinkClient.connect(board.port) as client:
            for slot, record in enumerate(records):
                stored = client.describe(slot)
                assert (stored.state, stored.sha256, stored.manifest_arena) == (STORED, record.sha256, record.arena)
            assert client.open_model(3).arena_used > 0


def test_the_model_partition_of_a_long_table_is_found(models: Path) -> None:
    small = [replace(PARTITIONS[0], name=f"data {n}", offset=0x310000 + n * 0x1000, size=0x1000) for n in range(16)]
    image = _virtual("esp32s3")
    table = whole_sectors(make_partition_table([*PARTITIONS[:2], *small, PARTITIONS[2]]))
    long = image[:0x8000] + table + image[0x9000:]
    with VirtualBoard() as board:
        flash(FlashJob(board.port, firmware=lambda chip: long))
        report = flash(FlashJob(board.port, models=lambda: (_record(models / "alexa.json"),)))
        assert _written(report) == ["mww_model"]


def test_only_what_differs_is_written(models: Path) -> None:
    with VirtualBoard() as board:
        flash(FlashJob(board.port, models=(_record(models / "alexa.json"),)))
        image = bytearray(_virtual("esp32s3"))
        image[0x9000:0x9010] = b"settings of mine"
        report = flash(FlashJob(board.port, firmware=lambda chip: bytes(image)))
        assert _written(report) == ["nvs"]
        with LinkClient.connect(board.port) as client:
            assert client.describe(0).state == STORED


def test_progress_is_told_and_esptool_keeps_quiet(models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results: list[tuple[str, int, int]] = []
    before = threading.active_count()  # other tests of this process may have left some
    with VirtualBoard() as board:
        flash(FlashJob(board.port, models=(_record(models / "alexa.json"),)), lambda *step: results.append(step))
    assert results[-1][0] == "writing mww_model"
    assert results[-1][1] == results[-1][2] > 0
    assert capfd.readouterr() == ("", "")
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    ("efuses", "said"),
    [(["secure-boot"], "secure boot"), (["flash-encryption"], "encryption"), (["secure-download"], "secure download")],
)
@pytest.mark.parametrize("chip", ["esp32", "esp32s3"])
def test_a_chip_with_security_features_is_left_alone(chip: str, efuses: list[str], said: str, models: Path) -> None:
    if chip == "esp32" and efuses == ["secure-download"]:
        pytest.skip("the ESP32 has no secure download mode that its ROM says of")
    with VirtualBoard(chip, efuses=efuses) as board, pytest.raises(FlashingError, match=said) as caught:
        flash(FlashJob(board.port, models=(_record(models / "alexa.json"),)))
    assert caught.value.hint


def test_what_does_not_fit_or_is_for_another_chip_is_refused(models: Path) -> None:
    model = _record(models / "alexa.json")
    attempts: list[tuple[FlashJob, type[Exception], str]] = []
    with VirtualBoard() as board:
        huge = ModelRecord(bytes(3 << 20), 0)

        def attempt(error: type[Exception], message: str, **job: object) -> None:
            attempts.append((FlashJob(board.port, **job), error, message))  # type: ignore[arg-type]

        attempt(ModelPartitionError, "partition", models=(huge,))
        attempt(ModelPartitionError, "slots", models=(model,) * 5)
        attempt(ImageError, "not for ESP32-S3", firmware=lambda chip: _virtual("esp32"))
        attempt(FlashingError, "flash has 0x800000", firmware=lambda chip: _beyond(_virtual("esp32s3")))
        attempt(ImageError, "no factory image", firmware=lambda chip: b"\xe9" + bytes(100))
        attempt(FlashingError, "not esp32c3", chip="esp32c3", models=(model,))
        attempt(UsageError, "nothing to flash")
        for job, error, message in attempts:
            with pytest.raises(error, match=message):
                flash(job)
        with LinkClient.connect(board.port) as client:
            assert client.board.partition_size > 0


def test_a_board_without_partition_table_needs_firmware(models: Path) -> None:
    from esptool.cmds import erase_flash, run_stub

    from harness.boards.flashing import connected

    with VirtualBoard() as board:
        with connected(board.port, "default-reset") as connection:
            erase_flash(run_stub(connection.rom))
        job = FlashJob(board.port, models=(_record(models / "alexa.json"),))
        with pytest.raises(FlashingError, match="partition table") as caught:
            flash(job)
        assert "--firmware" in (caught.value.hint or "")
        assert len(_written(flash(FlashJob(board.port, firmware=_virtual, models=job.models)))) == 4


def test_ports_that_are_none_are_told_apart(tmp_path: Path, models: Path) -> None:
    job = FlashJob(str(tmp_path / "ttyUSB0"), models=(_record(models / "alexa.json"),))
    with pytest.raises(PortMissingError, match="does not exist"):
        flash(job)
    with pytest.raises(PortMissingError):
        flash(FlashJob("socket://127.0.0.1:9", models=job.models))


def test_something_that_is_no_board_does_not_connect(models: Path) -> None:
    master, slave = os.openpty()
    try:
        with pytest.raises(FlashingError) as caught:
            flash(FlashJob(os.ttyname(slave), models=(_record(models / "alexa.json"),)))
        assert "BOOT" in (caught.value.hint or "")
    finally:
        os.close(master)
        os.close(slave)


def test_the_command_takes_its_port_from_the_environment_and_prints_one_document(models: Path) -> None:
    def mww(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness.cli", "flash", *words]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)

    with VirtualBoard() as board:
        done = mww("--firmware", "virtual", "--model", str(models / "alexa.json"), "--json", ESPPORT=board.port)
        document = json.loads(done.stdout)
        assert (done.returncode, document["schema"], document["chip"]) == (0, "mww.flash/1", "esp32s3")
        assert document["models"] == [load_model(models / "alexa.json").sha256]
        assert done.stderr == ""
        text = mww("--model", str(models / "alexa.json"), ESPPORT=board.port).stdout
        assert "as it was" in text
    refused = mww("--model", str(models / "alexa.json"), "--json", ESPPORT="/dev/nonexistent")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["code"] == "port-missing"


@pytest.mark.parametrize(
    "raised",
    [BrokenPipeError(32, "Broken pipe"), termios.error(5, "Input/output error"), TypeError(""), struct.error("unpack")],
)
def test_a_port_that_breaks_in_the_middle_is_one_error(raised: Exception) -> None:
    gone = pytest.raises(FlashingError, match="went away")
    with VirtualBoard() as board, gone, connected(board.port, "no-reset"):
        raise raised
