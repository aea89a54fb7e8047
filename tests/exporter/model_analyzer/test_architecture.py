from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pymicro_wakeword
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporter.model_analyzer import (
    QualityThresholds,
    analyze_model_architecture,
    check_gpu_compatibility,
    estimate_performance,
    validate_model_quality,
)
from exporter.model_analyzer.performance import FIGURES, counts, estimate_instructions
from mww.core.errors import ModelFileError, UnknownRuntimeError
from mww.esphome.chips import CHIP_NAMES, INSTRUCTION_SETS

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
OKAY_NABU = MODELS / "okay_nabu.tflite"


def test_a_published_model_taken_apart() -> None:
    analysis = analyze_model_architecture(MODELS / "alexa.tflite")
    assert analysis.stride == 3
    assert analysis.input is not None
    assert (analysis.input.dtype, analysis.input.zero_point) == ("INT8", -128)
    assert analysis.highest_output == 255
    # 32 filters of 5 x 40 at stride 3, then depthwise and 1x1 convolutions of 64, one dense layer
    assert analysis.cost.macs == sum(layer.cost.macs for layer in analysis.layers)
    first = next(layer for layer in analysis.layers if layer.op == "CONV_2D")
    assert (first.window, first.stride, first.cost.macs) == ((5, 1), (3, 1), 32 * 5 * 40)
    assert first.parameters == 32 * 5 * 40 + 32
    assert analysis.operators["READ_VARIABLE"] == len(analysis.states)
    assert analysis.state_bytes == sum(state.size for state in analysis.states)


@pytest.mark.parametrize("name", ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"])
def test_the_context_is_the_sum_of_the_ring_buffers_in_slices(name: str) -> None:
    """First window plus, at three slices a step, all that the later ring buffers keep; a slice buffer counts once."""
    analysis = analyze_model_architecture(MODELS / f"{name}.tflite")
    assert analysis.context_slices is not None
    longest = 5 + 3 * sum(state.slices for state in analysis.states)
    assert 100 < analysis.context_slices <= longest


def test_a_manifest_tells_the_feature_step() -> None:
    assert analyze_model_architecture(OKAY_NABU).feature_step_ms is None
    assert analyze_model_architecture(OKAY_NABU.with_suffix(".json")).feature_step_ms == 10


def test_macs_are_what_the_shapes_say() -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(OKAY_NABU.read_bytes()))
    main = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    total = 0
    for operator in main.operators:
        code = codes[operator.opcodeIndex]
        if code in (3, 4, 9):  # CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED
            weights = main.tensors[operator.inputs[1]].shape
            height, width = main.tensors[operator.outputs[0]].shape[1:3] if code != 9 else (1, 1)
            product = 1
            for size in weights:
                product *= int(size)
            total += product * int(height) * int(width)
    assert analyze_model_architecture(OKAY_NABU).cost.macs == total


def test_a_time_is_published_or_scaled_and_says_so() -> None:
    published = estimate_performance(OKAY_NABU, "esp32s3")
    assert [(time.kernels, time.low_ms, time.high_ms, time.kind) for time in published.times] == [
        ("esp-nn", 6.6, 6.8, "published"),
        ("reference", 45.0, 45.0, "published"),
    ]
    scaled = estimate_performance(MODELS / "hey_jarvis.tflite", "esp32s3").times[0]
    assert scaled.kind == "scaled"
    assert scaled.low_ms < 6.6 < scaled.high_ms * 1.5
    assert scaled.high_ms > 1.2 * scaled.low_ms
    assert "6.6..6.8 ms" in scaled.basis


@pytest.mark.parametrize("chip", sorted(set(CHIP_NAMES) - {figure.chip for figure in FIGURES}))
def test_without_a_published_figure_there_is_no_time(chip: str) -> None:
    estimate = estimate_performance(OKAY_NABU, chip)
    assert estimate.times == ()
    assert estimate.load is None
    assert estimate.note == f"no published figure for {chip}"
    assert estimate.macs > 0


@pytest.mark.parametrize("chip", ["esp32c3", "esp32"])
def test_instructions_are_counted_for_the_published_models_and_scaled_for_others(chip: str) -> None:
    for counted in counts():
        if INSTRUCTION_SETS[counted.machine] != chip:
            continue
        for model in counted.models:
            analysis = analyze_model_architecture(MODELS / f"{model.name}.tflite")
            assert (analysis.sha256, analysis.cost.macs) == (model.sha256, model.macs)
            (own,) = [each for each in estimate_instructions(analysis, chip) if each.kernels == counted.kernels]
            assert (own.kind, own.low, own.high) == ("measured", model.instructions, model.instructions)
            assert 0.95 < sum(own.by_operator.values()) / own.low < 1.0
            # another file of the same size is within the range that the other models give
            unknown = replace(analysis, sha256="0" * 64)
            (scaled,) = [each for each in estimate_instructions(unknown, chip) if each.kernels == counted.kernels]
            assert (scaled.kind, scaled.by_operator) == ("scaled", {})
            assert scaled.low <= model.instructions <= scaled.high < 2 * scaled.low
    estimate = estimate_performance(OKAY_NABU, chip)
    assert {each.kernels for each in estimate.instructions} >= {"generic_opt", "ansi"}
    assert estimate.times == ()  # a count never becomes a time


def test_an_unknown_chip() -> None:
    with pytest.raises(UnknownRuntimeError):
        estimate_performance(OKAY_NABU, "esp8266")


def test_published_models_are_good_and_thresholds_are_data() -> None:
    assert validate_model_quality(OKAY_NABU.with_suffix(".json")).passed
    strict = validate_model_quality(OKAY_NABU, QualityThresholds(max_arena=30_000, max_macs=10))
    assert not strict.passed
    failed = {measure.name: measure for measure in strict.measures if not measure.passed}
    assert set(failed) == {"arena", "macs"}
    assert failed["arena"].value == 34_512


def test_a_gpu_cannot_keep_the_streaming_state() -> None:
    report = check_gpu_compatibility(OKAY_NABU)
    assert not report.compatible
    assert report.stateful
    assert report.unsupported["READ_VARIABLE"] == report.unsupported["ASSIGN_VARIABLE"]
    assert "RESOURCE" in report.dtypes
    assert "CONV_2D" not in report.unsupported


def test_garbage(tmp_path: Path) -> None:
    garbage = tmp_path / "model.tflite"
    garbage.write_bytes(b"garbage")
    for function in (
        analyze_model_architecture,
        estimate_performance,
        validate_model_quality,
        check_gpu_compatibility,
    ):
        with pytest.raises(ModelFileError):
            function(garbage)
