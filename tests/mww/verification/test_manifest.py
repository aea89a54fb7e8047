from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mww.core.errors import ManifestError
from mww.verification import Check, VerificationReport, verify_esphome_compatibility

Write = Callable[..., Path]


@pytest.fixture
def manifest(tmp_path: Path, published: dict[str, Path]) -> Write:
    """Write okay_nabu's manifest with other values beside its model; a value of None leaves the key out."""

    def write(**changes: Any) -> Path:
        shutil.copy(published["okay_nabu"], tmp_path / "okay_nabu.tflite")
        content = json.loads(published["okay_nabu"].with_suffix(".json").read_text())
        for key, value in changes.items():
            target = content["micro"] if key in content["micro"] else content
            target.pop(key, None)
            if value is not None:
                target[key] = value
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(content))
        return path

    return write


def checks(report: VerificationReport) -> dict[str, Check]:
    return {check.id: check for check in report.checks}


@pytest.mark.parametrize("name", ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"])
def test_published_manifests_pass_without_a_warning(published: dict[str, Path], name: str) -> None:
    report = verify_esphome_compatibility(published[name].with_suffix(".json"))
    assert report.compatible
    assert not report.warnings
    assert report.model.endswith(f"{name}.tflite")


@pytest.mark.parametrize(("cutoff", "byte"), [(0.97, 247), (0.5, 127), (0.004, 1), (0.9999, 254)])
def test_the_cutoff_is_told_as_the_byte_of_the_device(manifest: Write, cutoff: float, byte: int) -> None:
    check = checks(verify_esphome_compatibility(manifest(probability_cutoff=cutoff)))["manifest-cutoff"]
    assert check.status == "pass"
    assert check.found == str(byte)
    assert f"byte {byte}" in check.message
    assert check.hint is None


@pytest.mark.parametrize(
    ("cutoff", "effect"), [(1.0, "no output is above it"), (0.003, "ESPHome listens after outputs below it")]
)
def test_a_cutoff_that_no_output_or_any_output_exceeds(manifest: Write, cutoff: float, effect: str) -> None:
    check = checks(verify_esphome_compatibility(manifest(probability_cutoff=cutoff)))["manifest-cutoff"]
    assert check.status == "fail"
    assert effect in check.message


def test_an_output_that_cannot_reach_the_manifests_cutoff(manifest: Write, edit: Any) -> None:
    def cap(model: Any) -> None:
        main = model.subgraphs[0]
        logit = main.tensors[main.operators[-2].inputs[0]].quantization
        logit.scale, logit.zeroPoint = [0.153], [100]  # (127 - 100) * 0.153 = 4.13, whose sigmoid is 0.984

    path = manifest(probability_cutoff=0.97)
    shutil.copy(edit(cap), path.with_name("okay_nabu.tflite"))
    assert checks(verify_esphome_compatibility(path))["highest-output"].status == "pass"
    path = manifest(probability_cutoff=0.99)
    shutil.copy(edit(cap), path.with_name("okay_nabu.tflite"))
    check = checks(verify_esphome_compatibility(path))["highest-output"]
    assert (check.status, check.expected, check.found) == ("fail", "> 252", "252")
    assert "the model itself stays low" in check.message
    assert "mww cutoff" in check.hint


def test_the_arena_is_judged_per_chip(manifest: Write) -> None:
    check = checks(verify_esphome_compatibility(manifest(tensor_arena_size=30_000)))["manifest-arena"]
    assert check.status == "warn"  # the probe may find a size that does
    assert "can crash the chip" in check.message
    assert "esp32s3 needs 34512 bytes" in check.message
    assert "esp32p4 needs 34480 bytes" in check.message
    assert "esp32c3" not in check.message
    check = checks(verify_esphome_compatibility(manifest(tensor_arena_size=34_500)))["manifest-arena"]
    assert check.status == "pass"  # 34500 rounds up to 34512, which is what the S3 needs
    check = checks(verify_esphome_compatibility(manifest(tensor_arena_size=9_000)))["manifest-arena"]
    assert "does not load at all" in check.message


@pytest.mark.parametrize(
    ("changes", "identifier", "status"),
    [
        ({"feature_step_size": 0}, "manifest-feature-step", "fail"),
        ({"feature_step_size": 20}, "manifest-feature-step", "warn"),
        ({"minimum_esphome_version": "2099.1.0"}, "manifest-esphome-version", "warn"),
        ({"minimum_esphome_version": "2026.10.0"}, "manifest-esphome-version", "pass"),
        ({"sliding_window_size": 0}, "manifest-schema", "fail"),
        ({"probability_cutoff": 97}, "manifest-schema", "fail"),
        ({"author": None}, "manifest-schema", "fail"),
        ({"type": "macro"}, "manifest-schema", "fail"),
        ({"version": 3}, "manifest-schema", "fail"),
    ],
)
def test_a_manifest_that_breaks_a_rule(manifest: Write, changes: dict[str, Any], identifier: str, status: str) -> None:
    report = verify_esphome_compatibility(manifest(**changes))
    assert checks(report)[identifier].status == status
    assert report.compatible == (status != "fail")


def test_a_manifest_that_breaks_the_schema_still_has_its_model_checked(manifest: Write) -> None:
    report = verify_esphome_compatibility(manifest(author=None))
    assert checks(report)["input-scale"].status == "pass"
    assert report.model_sha256 is not None


@pytest.mark.parametrize("name", ["../secret.tflite", "/etc/passwd", "..\\secret.tflite", "link.tflite", "C:model"])
def test_a_model_outside_the_manifests_folder_is_never_opened(manifest: Write, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = manifest(model=name).rename(folder / "manifest.json")
    (tmp_path / "secret.tflite").write_bytes(b"not a model")
    (folder / "link.tflite").symlink_to(tmp_path / "secret.tflite")
    report = verify_esphome_compatibility(path)
    assert checks(report)["manifest-model"].status == "fail"
    assert report.model_sha256 is None
    assert not report.compatible


def test_a_manifest_without_its_model_is_no_verdict(manifest: Write) -> None:
    with pytest.raises(ManifestError, match="missing"):
        verify_esphome_compatibility(manifest(model="absent.tflite"))


def test_a_version_1_manifest_runs_at_twenty_milliseconds(manifest: Write, published: dict[str, Path]) -> None:
    path = manifest()
    content = json.loads(path.read_text())
    micro = content["micro"]
    content |= {"version": 1, "micro": {"probability_cutoff": 0.9, "sliding_window_average_size": 10}}
    assert micro
    del content["trained_languages"]
    path.write_text(json.dumps(content))
    report = verify_esphome_compatibility(path)
    assert report.compatible
    assert [check.id for check in report.warnings] == ["manifest-feature-step"]


def test_what_esphome_takes_is_a_warning_that_says_what_it_means(manifest: Write) -> None:
    check = checks(verify_esphome_compatibility(manifest(minimum_esphome_version="2024.7")))["manifest-esphome-version"]
    assert check.status == "warn"
    assert "20.4.7" in check.message
    report = verify_esphome_compatibility(manifest(model="https://example.org/okay_nabu.tflite"))
    assert checks(report)["manifest-model"].status == "warn"
    assert report.compatible


def test_figures_are_judged_beside_a_surplus_key(manifest: Write) -> None:
    report = checks(verify_esphome_compatibility(manifest(surprise=1, tensor_arena_size=9_000)))
    assert report["manifest-schema"].status == "fail"
    assert report["manifest-arena"].status == "fail"
