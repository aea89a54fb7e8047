"""The releases' data are written from the releases' own packages."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mww.core.errors import EsphomeError
from mww.core.resources import read_toml
from mww.esphome.releases import DATA, known_releases, read_releases
from tools import update_releases
from tools.update_releases import main, merge, read_wheels, render

COMPONENT = "esphome/components/micro_wake_word"
PINS = """
    esp32.add_idf_component(name="espressif/esp-tflite-micro", ref="1.3.3~1")
    esp32.add_idf_component(name="espressif/esp-nn", ref="1.1.2")
"""


def wheel(folder: Path, release: str, *, pins: str = PINS, python: str = ">=3.12.0", probe: str = "") -> Path:
    path = folder / f"esphome-{release}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"esphome-{release}.dist-info/METADATA", f"Name: esphome\nRequires-Python: <3.15,{python}\n")
        archive.writestr(f"{COMPONENT}/__init__.py", pins)
        archive.writestr(f"{COMPONENT}/streaming_model.h", f"size_t {probe};")
        archive.writestr(f"{COMPONENT}/micro_wake_word.h", "bool add_runtime_model(int);")
        idf = 'ESP_IDF_FRAMEWORK_VERSION_LOOKUP = {\n    "recommended": cv.Version(5, 5, 6),\n}\n'
        default = '_resolve_toolchain = cv.resolve_toolchain("ESP32", _TOOLCHAINS, Toolchain.ESP_IDF)\n'
        archive.writestr("esphome/components/esp32/__init__.py", idf + default)
    return path


def test_a_wheel_says_what_its_release_builds_with(tmp_path: Path) -> None:
    wheel(tmp_path, "2026.12.0", probe="probe_arena_size_")
    (facts,) = read_wheels(tmp_path).values()
    assert (facts.esp_tflite_micro, facts.esp_nn, facts.esp_idf) == ("1.3.3~1", "1.1.2", "5.5.6")
    assert (facts.probes, facts.runtime_models, facts.python, facts.toolchain) == (True, True, "3.12", "esp-idf")


def test_a_git_tag_is_the_registry_s_version(tmp_path: Path) -> None:
    pins = 'esp32.add_idf_component(\n name="esp-tflite-micro",\n repo="https://x/y",\n ref="v1.3.3.1",\n)'
    wheel(tmp_path, "2025.5.0", pins=pins)
    (facts,) = read_wheels(tmp_path).values()
    assert (facts.esp_tflite_micro, facts.esp_nn) == ("1.3.3~1", None)


def test_pins_in_another_form_are_an_error(tmp_path: Path) -> None:
    wheel(tmp_path, "2027.1.0", pins="pins = load('pins.toml')")
    with pytest.raises(EsphomeError, match=r"ESPHome 2027\.1\.0 pins its libraries"):
        read_wheels(tmp_path)


def test_an_entry_stands_for_the_releases_that_say_the_same(tmp_path: Path) -> None:
    for release in ("2026.11.0", "2026.12.0", "2027.1.0"):
        wheel(tmp_path, release, python=">=3.13.0" if release == "2027.1.0" else ">=3.12.0")
    merged = merge(known_releases(), read_wheels(tmp_path))
    assert [entry.since for entry in merged if entry not in known_releases()] == ["2026.11.0", "2027.1.0"]
    unpinned = [entry for entry in merged if entry.facts.esp_nn is None]
    assert all(entry.esp_nn_then for entry in unpinned)


def test_the_data_are_what_the_tool_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data := tmp_path / "releases.toml").write_text("")
    monkeypatch.setattr(update_releases, "DATA", data)
    wheel(tmp_path, "2026.12.0", probe="probe_arena_size_")
    assert main(["--wheels", str(tmp_path)]) == 0
    written = read_toml(data)
    assert written["read"] == [*read_releases(), "2026.12.0"]


def test_the_committed_data_need_no_merging() -> None:
    assert merge(known_releases(), {}) == known_releases()
    assert render(known_releases(), read_releases()) == DATA.read_text("utf-8")
