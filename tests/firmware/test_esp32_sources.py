"""What a chip's compiler would refuse is found without it: the sources that ESPHome generates for a board on the chip's
USB port pass the compiler of this machine, over declarations of what they use of ESP-IDF and TFLite Micro."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.boards.firmware_project import write_project
from tests.firmware.conftest import Esphome

STUBS = Path(__file__).with_name("idf_stubs")
IDF_HEADERS = (
    "driver/gpio.h",
    "driver/uart.h",
    "driver/usb_serial_jtag.h",
    "esp_attr.h",
    "esp_chip_info.h",
    "esp_cpu.h",
    "esp_err.h",
    "esp_heap_caps.h",
    "esp_idf_version.h",
    "esp_log.h",
    "esp_partition.h",
    "esp_system.h",
    "esp_task_wdt.h",
    "esp_timer.h",
    "freertos/FreeRTOS.h",
    "freertos/ringbuf.h",
    "freertos/semphr.h",
    "freertos/task.h",
    "sdkconfig.h",
    "soc/soc_caps.h",
)
TFLM_HEADERS = [
    f"tensorflow/lite/micro/micro_{name}.h"
    for name in ("allocator", "interpreter", "mutable_op_resolver", "profiler_interface", "resource_variable")
]
FRONTEND_HEADERS = ("frontend.h", "frontend_util.h")
SOURCES = (
    *("board_esp32", "ear", "link", "microphone_input", "model_partition_esp32", "model_store", "mww_harness"),
    *("recording", "session", "speech_features", "usb_serial_jtag"),
)
CONCRETE = """
#include <type_traits>
#include "esphome/components/mww_harness/usb_serial_jtag.h"
static_assert(!std::is_abstract_v<esphome::mww_harness::UsbSerialJtag>, "a function of uart::UARTComponent is missing");
"""


@pytest.fixture
def includes(tmp_path: Path) -> list[str]:
    """Options that find every header of the chip's libraries among the stubs."""
    folder = tmp_path / "include"
    stubs = {"idf_stubs.h": IDF_HEADERS, "tflm_stubs.h": TFLM_HEADERS, "frontend_stubs.h": FRONTEND_HEADERS}
    for stub, names in stubs.items():
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'#include "{STUBS / stub}"\n')
    return ["-isystem", str(folder)]


def test_the_component_compiles_for_a_board_on_its_usb_port(
    tmp_path: Path, esphome: Esphome, includes: list[str]
) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++: sudo apt-get install g++")
    project = write_project("voice-pe", tmp_path, microphone=True)
    esphome("compile", "--only-generate", project.config)
    source = tmp_path / ".esphome/build/mww-voice-pe/src"
    (concrete := tmp_path / "concrete.cpp").write_text(CONCRETE)
    component = source / "esphome/components/mww_harness"
    command = [compiler, "-std=gnu++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
    command += ["-DUSE_ESP32", "-DUSE_ESP_IDF", "-DUSE_ESP32_VARIANT_ESP32S3", "-DESPHOME_LOG_LEVEL=5"]
    command += [*includes, "-isystem", str(source)]
    assert "USE_MWW_HARNESS_MICROPHONE" in (source / "esphome/core/defines.h").read_text()
    for path in (*(component / f"{name}.cpp" for name in SOURCES), concrete):
        result = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
