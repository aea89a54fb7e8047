"""The component's options, as ESPHome's own validation takes or refuses them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mww.core.resources import firmware_dir
from tests.firmware.conftest import Esphome

Config = dict[str, object]
Check = Callable[..., str]

UART = {"id": "link_uart", "tx_pin": 43, "rx_pin": 44, "baud_rate": 921600, "rx_buffer_size": 4096}


@pytest.fixture
def check(esphome: Esphome, tmp_path: Path) -> Check:
    def check(harness: Config, *, fails: bool = False, verb: tuple[str, ...] = ("config",), **sections: object) -> str:
        content = {
            "esphome": {"name": "options"},
            "esp32": {"variant": "esp32s3", "framework": {"type": "esp-idf"}},
            "external_components": [{"source": {"type": "local", "path": str(firmware_dir() / "components")}}],
            "logger": {"baud_rate": 0},
            "mww_harness": harness,
            **sections,
        }
        config = tmp_path / "options.yaml"
        config.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        return " ".join(esphome(*verb, config, fails=fails).split())

    return check


def test_every_option_reaches_the_firmware(check: Check, tmp_path: Path) -> None:
    harness = {
        "board": "bench-7",
        "uart_id": "link_uart",
        "model_partition": {"name": "models", "size": 0x20000},
        "tensor_arena": {"source": "manifest", "memory": "psram"},
        "esp_nn_version": "1.2.1",
        "window": 16,
        "frames_per_packet": 12,
    }
    check(harness, verb=("compile", "--only-generate"), uart=UART, psram={"mode": "octal"})
    build = tmp_path / ".esphome/build/options"
    main = (build / "src/main.cpp").read_text()
    assert 'set_board("bench-7");' in main
    assert 'set_model_partition("models", 131072);' in main
    assert "set_arena(mww_harness::ArenaSource::MANIFEST, mww_harness::ArenaMemory::PSRAM);" in main
    defines = (build / "src/esphome/core/defines.h").read_text()
    assert "#define MWW_HARNESS_WINDOW 16\n" in defines
    assert "#define MWW_HARNESS_MAX_FRAMES 12\n" in defines
    assert "#define MWW_HARNESS_MAX_PAYLOAD 1442\n" in defines
    assert '#define MWW_HARNESS_ESP_NN_VERSION "1.2.1"\n' in defines
    pins = yaml.safe_load((build / "src/idf_component.yml").read_text())["dependencies"]
    assert pins["espressif/esp-nn"]["version"] == "1.2.1"
    assert "models, data, 0x40, , 0x20000," in (build / "partitions.csv").read_text()
    assert "CONFIG_UART_ISR_IN_IRAM=y" in (build / "sdkconfig.options").read_text()


def test_the_options_in_the_documentation_are_those_of_the_component(check: Check) -> None:
    page = (Path(__file__).parents[2] / "docs/firmware.md").read_text()
    (block,) = re.findall(r"```yaml\n(mww_harness:.*?)```", page, re.DOTALL)
    documented = yaml.safe_load(block)["mww_harness"]
    message = check(documented, uart=UART)
    resolved = message[message.index("mww_harness:") :]
    for name, value in (*documented.items(), *documented["model_partition"].items()):
        assert f"{name}:" in resolved
        assert isinstance(value, dict) or f"{name}: {value}" in resolved


def test_the_defaults_are_those_of_micro_wake_word(check: Check, tmp_path: Path) -> None:
    check({"transport": "usb_serial_jtag"}, verb=("compile", "--only-generate"))
    main = (tmp_path / ".esphome/build/options/src/main.cpp").read_text()
    assert "set_arena(mww_harness::ArenaSource::PROBE, mww_harness::ArenaMemory::ANY);" in main
    assert 'set_board("options");' in main


def test_a_logger_elsewhere_is_left_alone(check: Check) -> None:
    check({"transport": "usb_serial_jtag"}, logger={"hardware_uart": "UART0"})
    check({"uart_id": "link_uart"}, uart=UART, logger={"hardware_uart": "USB_SERIAL_JTAG"})
    check({"uart_id": "link_uart"}, uart=UART, logger=None)


@pytest.mark.parametrize(
    ("harness", "sections", "said"),
    [
        pytest.param(
            {"transport": "usb_serial_jtag"},
            {"logger": {"hardware_uart": "USB_SERIAL_JTAG"}},
            "The logger holds USB-Serial-JTAG; set its baud_rate to 0",
            id="logger on the USB port of the link",
        ),
        pytest.param(
            {"uart_id": "link_uart"},
            {"uart": UART, "logger": {"hardware_uart": "UART0"}},
            "The logger writes to the pins of this uart; set its baud_rate to 0",
            id="logger on the pins of the link",
        ),
        pytest.param(
            {"transport": "usb_serial_jtag"},
            {"esp32": {"variant": "esp32", "framework": {"type": "esp-idf"}}},
            "USB-Serial-JTAG is only available on ESP32C3,",
            id="a chip without the port",
        ),
        pytest.param(
            {"uart_id": "link_uart"},
            {"uart": UART | {"rx_buffer_size": 512}},
            "needs an rx_buffer_size of at least 1056",
            id="a buffer that one message overflows",
        ),
        pytest.param(
            {},
            {"uart": {key: value for key, value in UART.items() if key != "rx_pin"}},
            "to declare a rx_pin",
            id="a uart that cannot receive",
        ),
        pytest.param(
            {"transport": "usb_serial_jtag", "tensor_arena": {"memory": "psram"}},
            {},
            "requires component psram",
            id="an arena in PSRAM without any",
        ),
        pytest.param(
            {"transport": "usb_serial_jtag", "esp_nn_version": ">=1.1.0"},
            {},
            "Expected one version of the component, such as 1.2.1",
            id="a range of versions, which results could not name",
        ),
        pytest.param(
            {"transport": "usb_serial_jtag", "model_partition": {"size": 100_000}},
            {},
            "Partition size must be 4KB (0x1000) aligned",
            id="part of a sector",
        ),
        pytest.param(
            {"transport": "usb_serial_jtag", "model_partition": {"size": 0x3000}},
            {},
            "value must be at least 16384",
            id="a partition without room",
        ),
        pytest.param({"transport": "bluetooth"}, {}, "Unknown value 'bluetooth'", id="an unknown transport"),
        pytest.param({"transport": "usb_serial_jtag", "window": 0}, {}, "value must be at least 1", id="no window"),
        pytest.param(
            {"transport": "usb_serial_jtag", "window": 65}, {}, "value must be at most 64", id="a window too long"
        ),
    ],
)
def test_what_cannot_work_is_refused(check: Check, harness: Config, sections: Config, said: str) -> None:
    assert said in check(harness, fails=True, **sections)
