"""Every board's project, as `mww firmware` writes it, is one that the real ESPHome takes."""

import re
from pathlib import Path

import pytest
import yaml

from harness.boards.firmware_project import board_names, write_project
from mww.core.errors import UsageError
from mww.esphome.chips import CHIPS
from tests.firmware.conftest import Esphome, published

VARIANTS = {
    **{chip.board: chip.name.upper() for chip in CHIPS if chip.board},
    "esp32-s3-box-3": "ESP32S3",
    "esp32-s3-devkitc-psram": "ESP32S3",
    "m5stack-cores3": "ESP32S3",
    "voice-pe": "ESP32S3",
}
RUNTIME = ("espressif/esp-tflite-micro", "espressif/esp-nn", "esphome/esp-micro-speech-features")
ON_USB = {"esp32-s3-box-3", "m5stack-cores3", "voice-pe"}
WITH_PSRAM = ON_USB | {"esp32-s3-devkitc-psram"}


def test_the_boards_are_those_that_are_documented() -> None:
    assert set(board_names()) == set(VARIANTS)


@pytest.mark.parametrize("board", VARIANTS)
def test_a_board_and_its_wake_word_have_one_runtime(board: str, tmp_path: Path, esphome: Esphome) -> None:
    project = write_project(board, tmp_path, manifests=[published("hey_jarvis"), published("alexa")])
    assert project.wake_word is not None
    for config in (project.config, project.wake_word):
        esphome("compile", "--only-generate", config)  # validates it first
    own, other = project.image.parents[1], tmp_path / ".esphome/build/wake-word"
    assert pins(own) == pins(other)
    assert len(pins(own)) == 3
    assert flags(own) == flags(other)
    assert f"-DUSE_ESP32_VARIANT_{VARIANTS[board]}" in flags(own)
    check_harness(own, board)
    main = (other / "src/main.cpp").read_text()
    assert "micro_wake_word::WakeWordModel(" in main
    assert '"Hey Jarvis"' in main
    assert '"Alexa"' in main


@pytest.mark.parametrize("board", VARIANTS)
def test_a_board_hears_by_its_microphone(board: str, tmp_path: Path, esphome: Esphome) -> None:
    project = write_project(board, tmp_path, microphone=True)
    assert "Configuration is valid!" in esphome("config", project.config)
    with pytest.raises(UsageError, match="is not overwritten"):
        write_project(board, tmp_path, microphone=True)


def pins(build: Path) -> dict[str, object]:
    """The interpreter, its kernels and the front-end, as ESP-IDF's component manager gets them."""
    content = yaml.safe_load((build / "src/idf_component.yml").read_text())
    return {name: pin for name, pin in content["dependencies"].items() if name in RUNTIME}


def flags(build: Path) -> set[str]:
    """What could change the code that the compiler makes of them; how much is logged cannot."""
    if (build / "platformio.ini").exists():  # before ESPHome 2026.7, or with that toolchain
        lines = list(map(str.strip, (build / "platformio.ini").read_text().splitlines()))
    else:
        lines = re.findall(r'COMPILE_OPTIONS "([^"]+)" APPEND', (build / "CMakeLists.txt").read_text())
    return {line for line in lines if line.startswith(("-D", "-f", "-std", "-O")) and "LOG_LEVEL" not in line}


def check_harness(build: Path, board: str) -> None:
    """The model partition is there, the sources are the chip's, and nothing but the link speaks on its port."""
    assert "mww_model, data, 0x40, , 0x80000," in (build / "partitions.csv").read_text().splitlines()
    sources = {path.name for path in (build / "src/esphome/components/mww_harness").iterdir()}
    assert {"mww_harness.cpp", "session.cpp", "board_esp32.cpp", "model_partition_esp32.cpp"} <= sources
    assert not {name for name in sources if "host" in name and name.endswith(".cpp")}
    main = (build / "src/main.cpp").read_text()
    settings = (build / f"sdkconfig.mww-{board}").read_text()
    assert "logger::Logger(0);" in main
    assert "CONFIG_ESP_CONSOLE_SECONDARY_NONE=y" in settings
    assert ("mww_harness::UsbSerialJtag();" in main) == (board in ON_USB)
    assert board not in ON_USB or "CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG=y" not in settings
    assert ("CONFIG_SPIRAM=y" in settings) == (board in WITH_PSRAM)
