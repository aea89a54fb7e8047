"""The real ESPHome, asked whether it takes a configuration."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from pymicro_wakeword import __file__ as package

from harness.matrix import esphome
from harness.matrix.esphome import check_configurations, read_installed
from harness.matrix.findings import Finding, choose_rows
from harness.matrix.prediction import read_subject
from mww.esphome.contract import DEFAULT_RUNTIME
from mww.esphome.releases import entry_of, newest_release
from mww.tflm.builds import builds_of, builds_with
from tests.support.esphome_env import esphome_python

RELEASE = newest_release(sys.version_info[:2])
MODELS = Path(package).parent / "models"


def ask(monkeypatch: pytest.MonkeyPatch, *manifests: Path) -> list[Finding]:
    python = esphome_python()
    monkeypatch.setattr(esphome, "esphome_python", lambda release: python)
    subjects = [read_subject(str(path), path.stem) for path in manifests]
    rows = choose_rows([RELEASE], (), ())
    return list(check_configurations(subjects, rows, [RELEASE], ["esp32c3", "esp32p4"], lambda *_: None))


def test_the_data_say_what_the_installed_release_says(monkeypatch: pytest.MonkeyPatch) -> None:
    python = esphome_python()
    monkeypatch.setattr(esphome, "esphome_python", lambda release: python)
    installed, entry = read_installed(RELEASE), entry_of(RELEASE)
    assert entry is not None
    assert installed.facts == entry.facts
    assert builds_of(installed, RELEASE) == builds_with(RELEASE)
    (row,) = choose_rows(["2099.1.0"], (), (), read_installed)  # a release that is newer than the data
    assert (row.esphome, row.runtime) == ("2099.1.0", DEFAULT_RUNTIME)


def test_a_release_takes_a_wake_word_and_the_firmware_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alexa.tflite").write_bytes((MODELS / "alexa.tflite").read_bytes())
    content = json.loads((MODELS / "alexa.json").read_text())
    content["micro"]["minimum_esphome_version"] = "2099.1.0"
    (later := tmp_path / "later.json").write_text(json.dumps(content))
    firmware, taken, refused = ask(monkeypatch, MODELS / "alexa.json", later)
    assert (taken.aspect, taken.model, taken.chip, taken.holds) == ("configuration", "alexa", "esp32c3", True)
    assert (firmware.aspect, firmware.model, firmware.holds, firmware.said) == ("firmware", "", True, "taken")
    assert refused.holds is False
    assert "2099.1.0" in refused.said


def test_a_release_that_lacks_what_the_firmware_calls_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "raise AttributeError(\"module 'logger' has no attribute 'request_log_listener'\")"
    (script := tmp_path / "python").write_text(f"#!{sys.executable}\n{broken}\n")
    script.chmod(0o755)
    monkeypatch.setattr(esphome, "esphome_python", lambda release: script)
    subject = read_subject(str(MODELS / "alexa.json"), "alexa")
    rows = choose_rows([RELEASE], (), ())
    results = list(check_configurations([subject], rows, [RELEASE], ["esp32"], lambda *_: None))
    assert [item.holds for item in results] == [False, False]
    assert results[0].said == "AttributeError: module 'logger' has no attribute 'request_log_listener'"
