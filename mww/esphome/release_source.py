"""What one ESPHome release says about micro_wake_word in its own source: pins, probe, run-time models, toolchain.

Reads text alone, from an installed package or a wheel; nothing of ESPHome is imported or run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mww.core.errors import EsphomeError

_COMPONENT: Final = "esphome/components/micro_wake_word"
_PIN: Final = re.compile(
    r'add_idf_component\(\s*name="(?:espressif/)?(esp-tflite-micro|esp-nn)",\s*(?:repo="[^"]*",\s*)?ref="v?([^"]+)"'
)
"""The two forms over ESPHome's releases: a git tag such as v1.3.3.1, and the component registry's 1.3.3~1."""
_IDF: Final = (
    re.compile(r'ESP_IDF_FRAMEWORK_VERSION_LOOKUP = \{\s*"recommended": cv\.Version\((\d+), (\d+), (\d+)'),
    re.compile(r"RECOMMENDED_ESP_IDF_FRAMEWORK_VERSION = cv\.Version\((\d+), (\d+), (\d+)"),
)
_PYTHON: Final = re.compile(r"^Requires-Python: .*?>=\s*(\d+\.\d+)", re.MULTILINE)
_OWN_TOOLCHAIN: Final = re.compile(
    r'value\.get\(CONF_TOOLCHAIN, Toolchain\.ESP_IDF\)|resolve_toolchain\(\s*"ESP32",[^)]*Toolchain\.ESP_IDF\s*\)'
)
"""How 2026.7 and 2026.8, and releases from 2026.9 on, say that ESP-IDF's own tools build by default."""


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What a release fixes.

    Attributes:
        esp_tflite_micro: The version of espressif/esp-tflite-micro.
        esp_nn: The version of espressif/esp-nn; None where ESP-IDF's component manager takes the newest 1.x on the day
            of the build.
        probes: Whether a model that does not load in the manifest's size is tried with more (`probe_arena_size_`).
        runtime_models: Whether models can be added at run time (`add_runtime_model`).
        python: The oldest Python that runs it, such as `3.12`.
        esp_idf: The ESP-IDF that it recommends, such as `5.5.6`.
        toolchain: What builds by default: `platformio`, or ESP-IDF's own (`esp-idf`).
    """

    esp_tflite_micro: str
    esp_nn: str | None
    probes: bool
    runtime_models: bool
    python: str
    esp_idf: str
    toolchain: str


def read_release(release: str, metadata: str, read: Callable[[str], str]) -> ReleaseFacts:
    """Read the facts of a release.

    Args:
        release: Its number, for messages.
        metadata: The package's METADATA.
        read: Gives the text of a file by its path in the package, such as `esphome/components/esp32/__init__.py`.

    Raises:
        EsphomeError: The source pins its libraries in a form that is not known.
        OSError, KeyError: As `read` raises them.
    """
    component = read(f"{_COMPONENT}/__init__.py")
    esp32 = read("esphome/components/esp32/__init__.py")
    versions = {name: re.sub(r"^(\d+\.\d+\.\d+)\.", r"\1~", version) for name, version in _PIN.findall(component)}
    idf = next((match for pattern in _IDF if (match := pattern.search(esp32))), None)
    python = _PYTHON.search(metadata)
    if "esp-tflite-micro" not in versions or idf is None or python is None:
        hint = "name the library versions with --runtime"
        raise EsphomeError(f"ESPHome {release} pins its libraries in a form that is not known", hint=hint)
    return ReleaseFacts(
        esp_tflite_micro=versions["esp-tflite-micro"],
        esp_nn=versions.get("esp-nn"),
        probes="probe_arena_size_" in read(f"{_COMPONENT}/streaming_model.h"),
        runtime_models="add_runtime_model" in read(f"{_COMPONENT}/micro_wake_word.h"),
        python=python[1],
        esp_idf=".".join(idf.groups()),
        toolchain="esp-idf" if _OWN_TOOLCHAIN.search(esp32) else "platformio",
    )
