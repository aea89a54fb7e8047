from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mww.core.errors import ModelFileError
from mww.verification import verify_esphome_compatibility


def status(path: Path, identifier: str) -> str:
    return next(check.status for check in verify_esphome_compatibility(path).checks if check.id == identifier)


def ends(model: Any) -> tuple[Any, Any]:
    main = model.subgraphs[0]
    return main.tensors[main.inputs[0]], main.tensors[main.outputs[0]]


@pytest.mark.parametrize("name", ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"])
def test_published_models_pass_without_a_warning(published: dict[str, Path], name: str) -> None:
    report = verify_esphome_compatibility(published[name])
    assert report.compatible
    assert not report.warnings
    assert report.model_sha256 is not None
    assert len({check.id for check in report.checks}) == len(report.checks)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1.0, "pass"), (1.0009, "pass"), (1.0011, "warn"), (0.9905, "warn"), (1.011, "fail"), (0.96, "fail")],
)
def test_the_input_scale_warns_beyond_a_thousandth_and_fails_beyond_a_hundredth(
    edit: Any, factor: float, expected: str
) -> None:
    def change(model: Any) -> None:
        ends(model)[0].quantization.scale = [26 / 255 * factor]

    assert status(edit(change), "input-scale") == expected


@pytest.mark.parametrize(
    ("shape", "expected"), [([1, 1, 40], "pass"), ([1, 255, 40], "pass"), ([1, 256, 40], "fail"), ([3, 40], "fail"),
                            ([2, 3, 40], "fail"), ([1, 3, 39], "fail"), ([1, 3, 40, 1], "fail"), ([1, 0, 40], "fail")]
)  # fmt: skip
def test_the_input_is_one_frame_whose_stride_fits_a_byte(edit: Any, shape: list[int], expected: str) -> None:
    def change(model: Any) -> None:
        ends(model)[0].shape = shape
        ends(model)[0].shapeSignature = None

    assert status(edit(change), "input-shape") == expected


def test_quantisation_of_both_ends_is_what_the_device_takes_it_for(edit: Any) -> None:
    def change(model: Any) -> None:
        source, output = ends(model)
        source.quantization.zeroPoint = [0]
        output.quantization.zeroPoint = [3]
        output.quantization.scale = [1 / 128]

    report = verify_esphome_compatibility(edit(change))
    assert {"input-zero-point", "output-zero-point", "output-scale"} <= {check.id for check in report.failures}


def test_types_and_shapes_of_both_ends(edit: Any) -> None:
    def change(model: Any) -> None:
        source, output = ends(model)
        source.type = 3  # UINT8
        output.type = 9  # INT8
        output.shape = [1, 2]

    failures = {check.id: check for check in verify_esphome_compatibility(edit(change)).failures}
    assert failures["input-dtype"].found == "UINT8"
    assert failures["output-dtype"].found == "INT8"
    assert failures["output-shape"].found == "[1, 2]"
    assert all(failure.hint for failure in failures.values())


def test_garbage_is_no_verdict(tmp_path: Path) -> None:
    garbage = tmp_path / "model.tflite"
    garbage.write_bytes(b"\x20\0\0\0TFL3" + bytes(range(200)))
    with pytest.raises(ModelFileError):
        verify_esphome_compatibility(garbage)
    with pytest.raises(ModelFileError):
        verify_esphome_compatibility(tmp_path / "absent.tflite")
    with pytest.raises(ModelFileError):
        verify_esphome_compatibility(tmp_path)
