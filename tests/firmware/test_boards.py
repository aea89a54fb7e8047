"""Every board's project, as `mww firmware` writes it, is one that the real ESPHome takes."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from exporter import contract
from harness.firmware_project import board_names, write_project
from tests.firmware.conftest import Esphome

VARIANTS = {
    "esp32-c3": "ESP32C3",
    "esp32-c6": "ESP32C6",
    "esp32-devkit": "ESP32",
    "esp32-s3-box-3": "ESP32S3",
    "esp32-s3-devkitc": "ESP32S3",
    "esp32-s3-devkitc-psram": "ESP32S3",
    "m5stack-cores3": "ESP32S3",
    "voice-pe": "ESP32S3",
}
ON_USB = {"esp32-s3-box-3", "m5stack-cores3", "voice-pe"}
WITH_PSRAM = ON_USB | {"esp32-s3-devkitc-psram"}


def published(name: str) -> Path:
    spec = find_spec("pymicro_wakeword")
    if spec is None or spec.origin is None:
        pytest.skip("pymicro-wakeword, which carries the published models, is not installed")
    return Path(spec.origin).parent / "models" / f"{name}.json"


def test_the_boards_are_those_that_are_documented() -> None:
    assert set(board_names()) == set(VARIANTS)


@pytest.mark.parametrize("board", VARIANTS)
def test_a_board_generates_with_the_runtime_that_micro_wake_word_pins(
    board: str, tmp_path: Path, esphome: Esphome
) -> None:
    project = write_project(board, tmp_path)
    assert "Configuration is valid!" in esphome("config", project.config)
    esphome("compile", "--only-generate", project.config)
    build = project.image.parents[2]
    runtime = contract.DEFAULT_RUNTIME
    pins = (build / "src/idf_component.yml").read_text()
    assert f"espressif/esp-tflite-micro:\n    version: {runtime.esp_tflite_micro}\n" in pins
    assert f"espressif/esp-nn:\n    version: {runtime.esp_nn}\n" in pins
    assert "mww_model, data, 0x40, , 0x80000," in (build / "partitions.csv").read_text().splitlines()
    flags = (build / "platformio.ini").read_text()
    assert all(f"-D{flag}\n" in flags for flag in ("TF_LITE_STATIC_MEMORY", "TF_LITE_DISABLE_X86_NEON", "ESP_NN"))
    assert f"-DUSE_ESP32_VARIANT_{VARIANTS[board]}\n" in flags


@pytest.mark.parametrize("board", VARIANTS)
def test_nothing_but_the_link_speaks_on_its_port(board: str, tmp_path: Path, esphome: Esphome) -> None:
    project = write_project(board, tmp_path)
    esphome("compile", "--only-generate", project.config)
    settings = (project.image.parents[2] / f"sdkconfig.mww-{board}").read_text()
    main = (project.image.parents[2] / "src/main.cpp").read_text()
    assert ("UsbSerialJtag" in main) == (board in ON_USB)
    assert "CONFIG_ESP_CONSOLE_SECONDARY_NONE=y" in settings
    if board in ON_USB:
        assert "CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG=y" not in settings
    assert "new(logger_logger_id) logger::Logger(0);" in main
    assert ("CONFIG_SPIRAM=y" in settings) == (board in WITH_PSRAM)


@pytest.mark.parametrize("board", VARIANTS)
def test_an_exported_manifest_becomes_a_real_wake_word(board: str, tmp_path: Path, esphome: Esphome) -> None:
    project = write_project(board, tmp_path, manifest=published("hey_jarvis"))
    assert project.wake_word is not None
    assert "Configuration is valid!" in esphome("config", project.wake_word)
    esphome("compile", "--only-generate", project.wake_word)
    main = (tmp_path / ".esphome/build/wake-word/src/main.cpp").read_text()
    assert "micro_wake_word::WakeWordModel(" in main
    assert '"Hey Jarvis"' in main
