"""The names that other code calls, with arguments that nobody checked: the project's error with a hint, or a result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.calibration.feature_sets import load_clips
from exporter.checkpoint import best_weights, load_checkpoint
from exporter.manifest import calculate_tensor_arena_size, generate_manifest, load_manifest, save_manifest
from exporter.model_analyzer import (
    analyze_model_architecture,
    check_gpu_compatibility,
    compare_models,
    estimate_performance,
    generate_model_report,
    validate_model_quality,
)
from exporter.network.configuration import load_configuration, parse_configuration
from exporter.tflite import (
    create_default_representative_dataset,
    create_representative_dataset_from_data,
    export_to_tflite,
    optimize_for_edge,
    verify_esphome_compatibility,
)
from harness.check import check
from mww.core.errors import MwwError
from mww.esphome.detection import detect
from mww.esphome.frontend import wav_to_features
from mww.tflm.arena import predict_arena

CLIPS = {"a": np.zeros((30, 40), np.int8)}
HUGE = 10**5000
READERS: dict[str, Callable[[Path], object]] = {
    "export_to_tflite": lambda path: export_to_tflite(path, "out"),
    "export_to_tflite, config": lambda path: export_to_tflite("nothing", "out", config=path),
    "verify_esphome_compatibility": verify_esphome_compatibility,
    "calculate_tensor_arena_size": calculate_tensor_arena_size,
    "generate_manifest": lambda path: generate_manifest(path, {}),
    "load_manifest": load_manifest,
    "analyze_model_architecture": analyze_model_architecture,
    "validate_model_quality": validate_model_quality,
    "compare_models": lambda path: compare_models(path, path),
    "estimate_performance": estimate_performance,
    "check_gpu_compatibility": check_gpu_compatibility,
    "generate_model_report": generate_model_report,
    "predict_arena": predict_arena,
    "wav_to_features": wav_to_features,
    "check": lambda path: check(path, CLIPS),
    "check, clips": lambda path: check("nothing.tflite", path),
    "load_checkpoint": lambda path: load_checkpoint(path, {}),
    "best_weights": lambda path: load_checkpoint(best_weights(path), {}),
    "load_configuration": load_configuration,
    "load_clips": load_clips,
}
"""A path that holds nothing useful is an error of all of these."""
VALUES: dict[str, Callable[[Any], object]] = {
    "detect, cutoff": lambda value: detect([0] * 300, cutoff=value, window=5, stride=3),
    "detect, window": lambda value: detect([0] * 300, cutoff=0.5, window=value, stride=3),
    "wav_to_features, lead_in": lambda value: wav_to_features("nothing.wav", lead_in=value),
    "random, stride": lambda value: create_default_representative_dataset(stride=value, clips=1),
    "random, clips": lambda value: create_default_representative_dataset(clips=value),
    "random, seed": lambda value: create_default_representative_dataset(clips=1, seed=value),
    "features, stride": lambda value: create_representative_dataset_from_data([], stride=value),
    "features, minimum": lambda value: create_representative_dataset_from_data([], minimum=value),
    "check, tolerance": lambda value: check("nothing.tflite", CLIPS, tolerance=value),
    "check, jobs": lambda value: check("nothing.tflite", CLIPS, jobs=value),
}


def _hostile_paths(folder: Path) -> Iterator[Path]:
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    with (folder / "sparse").open("wb") as file:
        file.truncate(40 << 30)
    yield from (
        folder / name for name in ("pipe", "loop", "loop/x", "sparse", "a\0b", "a" * 300, "a/" * 3000, "\udcff\x1b")
    )
    yield from (Path("/dev/zero"), Path("/dev/full"), Path("/proc/self/mem"), Path("é" * 200))


def _refused(call: Callable[[], object]) -> MwwError:
    with pytest.raises(MwwError) as caught:
        call()
    assert caught.value.hint
    assert len(caught.value.hint) < 1000
    return caught.value


def test_every_reader_refuses_what_it_cannot_read_with_the_projects_error(tmp_path: Path) -> None:
    for path in _hostile_paths(tmp_path):
        for name, reader in READERS.items():
            assert _refused(lambda path=path, reader=reader: reader(path)).exit_code == 2, (name, path)  # type: ignore[misc]


def test_every_writer_refuses_where_it_cannot_write_with_the_projects_error(tmp_path: Path, models: Path) -> None:
    for name in ("a\0b", "a\0b/c", "a" * 300, "a/" * 3000):
        _refused(lambda name=name: save_manifest({}, tmp_path / name))  # type: ignore[misc]
    _refused(lambda: generate_model_report(models / "vad.tflite", tmp_path / "a\0b", format="json"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", VALUES)
def test_numbers_of_any_size_are_taken_or_refused(name: str) -> None:
    for value in (HUGE, -HUGE, -1, 2**64):
        try:
            VALUES[name](value)
        except MwwError as error:
            assert error.hint


def test_bytes_and_names_that_are_nothing_are_refused(models: Path) -> None:
    model = models / "okay_nabu.tflite"
    for content in (b"", b"TFL3" * 100, bytes(100)):
        _refused(lambda content=content: optimize_for_edge(content))  # type: ignore[misc]
    for name in ("", "x" * 100_000, "\x1b[2J\n"):
        error = _refused(lambda name=name: predict_arena(model, name))  # type: ignore[misc]
        assert len(error.message) < 200
        assert error.message.isprintable()


DEEP: list[object] = []
for _ in range(5000):
    DEEP = [DEEP]
LOOP: dict[str, Any] = {}
LOOP["model"] = LOOP
NOT_VALUES = (
    HUGE,
    -HUGE,
    float("nan"),
    "9" * 5000,
    "[" * 5000,
    [HUGE] * 3,
    [[[HUGE]]],
    {"a": HUGE},
    "\udcff",
    LOOP,
    DEEP,
)
CONFIGURATIONS: tuple[dict[Any, Any], ...] = (
    *({"model": {name: value}} for name in ("stride", "pointwise_filters", "architecture") for value in NOT_VALUES),
    *(
        {"flags": {name: value}}
        for name in ("stride", "pointwise_filters", "mixconv_kernel_sizes")
        for value in NOT_VALUES
    ),
    *({name: value} for name in ("model", "manifest", "flags", "stride", "window_step_ms") for value in NOT_VALUES),
    *({key: 1} for key in (HUGE, None, (1, 2), "\x1b[2J", "x" * 100_000)),
    *({"model": {key: 1}} for key in (HUGE, None, (1, 2), "\x1b[2J", "x" * 100_000)),
)


def test_a_configuration_from_a_script_is_taken_or_refused() -> None:
    for document in CONFIGURATIONS:
        try:
            parse_configuration(document)
        except MwwError as error:
            assert error.hint
            assert len(error.message) < 300
            assert error.message.isprintable()


def test_options_of_a_manifest_are_taken_or_refused(models: Path) -> None:
    options = ("probability_cutoff", "sliding_window_size", "tensor_arena_size", "arena_margin", "trained_languages")
    for name in (*options, "chips", "minimum_esphome_version", "x" * 100_000):
        for value in (HUGE, -HUGE, float("nan"), "x" * 100_000, "\udcff"):
            try:
                generate_manifest(models / "okay_nabu.tflite", {name: value})
            except MwwError as error:
                assert error.hint
                assert len(error.message) < 1000
