"""Every trap of an export, made for real with TensorFlow, is found and named with its cure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mww.verification import Check, verify_esphome_compatibility
from tests.support.needs import needs_tensorflow

pytestmark = [pytest.mark.slow, needs_tensorflow]


@pytest.fixture(scope="session")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model a trap, written in a process of its own: this one never loads TensorFlow."""
    folder = tmp_path_factory.mktemp("traps")
    script = Path(__file__).with_name("make_traps.py")
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def failures(path: Path) -> dict[str, Check]:
    return {check.id: check for check in verify_esphome_compatibility(path).failures}


def test_the_sound_export_passes_without_a_warning(traps: Path) -> None:
    report = verify_esphome_compatibility(traps / "sound.tflite")
    assert report.compatible
    assert not report.warnings


@pytest.mark.parametrize(
    ("name", "broken", "trap", "named", "cure"),
    [
        ("model_export", {"operators", "dynamic-shapes"}, "trap-model-export", "model.export()", "ExportArchive"),
        (
            "variable_quantisation",
            {"operators", "variable-types", "float-tensors"},
            "trap-variable-quantisation",
            "3 ring buffers are float",
            "_experimental_variable_quantization = True",
        ),
        ("int8_output", {"output-dtype"}, "trap-int8-output", "int8", "inference_output_type = tf.uint8"),
        (
            "float_ends",
            {"input-dtype", "output-dtype", "operators"},
            "trap-float-ends",
            "the input and output are float",
            "inference_input_type = tf.int8",
        ),
        ("no_calibration", {"input-dtype", "variable-types"}, "trap-no-calibration", "no representative", "500"),
        ("no_anchors", {"input-scale"}, "trap-calibration-range", "no cell forced to 0.0 and 26.0", "forced to 0.0"),
        ("raw_features", {"input-scale"}, "trap-calibration-range", "raw values, 0..680", "/ 25.6"),
        ("unit_features", {"input-scale"}, "trap-calibration-range", "scaled to 0..1", "0..26"),
        ("not_streaming", set(), "trap-not-streaming", "[1, 29, 40]", "streaming form"),
    ],
)
def test_a_trap_is_named_with_its_cure(
    traps: Path, name: str, broken: set[str], trap: str, named: str, cure: str
) -> None:
    result = failures(traps / f"{name}.tflite")
    assert {identifier for identifier in result if identifier.startswith("trap-")} == {trap}
    assert broken <= set(result)
    assert named in result[trap].message
    assert cure in (result[trap].hint or "")


def test_a_calibration_set_without_the_wake_word_caps_the_output(traps: Path) -> None:
    report = verify_esphome_compatibility(traps / "wake_word_absent.tflite")
    assert report.compatible  # nothing says which cutoff it is for
    (warning,) = report.warnings
    assert warning.id == "highest-output"
    assert "128 of 255 (0.50)" in warning.message
    assert "no clip of the calibration raised it" in warning.message
    assert "calibrate again with the wake word spoken" in (warning.hint or "")
    assert not report.strict().compatible
