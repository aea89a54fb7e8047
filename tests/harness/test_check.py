from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from harness.check import check
from harness.clips.golden import Golden, Provenance, RecordedClip, write_golden
from harness.clips.npz import write_archive
from harness.run.results import RunResult
from mww.core.errors import GoldenError, UsageError
from mww.esphome.model import load_model
from tests.support.needs import engine_params
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("real_children")  # a test ends the interpreter's process

Slices = npt.NDArray[np.int8]
FOLDER = "okay_nabu"


def direct(model: Path, slices: Slices) -> bytes:
    """What the tflite_micro package gives, asked in a process of its own."""
    code = """
import sys, numpy as np
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1])
slices = np.frombuffer(sys.stdin.buffer.read(), np.int8).reshape(-1, 40)
for frame in slices[: len(slices) // 3 * 3].reshape(-1, 1, 3, 40):
    interpreter.set_input(frame, 0)
    interpreter.invoke()
    sys.stdout.buffer.write(interpreter.get_output(0).tobytes())
"""
    words = [sys.executable, "-c", code, str(model)]
    return subprocess.run(words, input=slices.tobytes(), capture_output=True, check=True).stdout


def recorded(model: Path, path: Path, slices: tuple[Slices, ...], change: Callable[[bytearray], None]) -> Path:
    """A golden of the spoken clips, with the second one's outputs changed."""
    loaded, outputs = load_model(model), [bytearray(direct(model, clip)) for clip in slices]
    change(outputs[1])
    provenance = Provenance(loaded.name, loaded.sha256, loaded.stride, "tflm", (("tflite-micro", "1"),), 1.0)
    clips = [
        RecordedClip(f"clip {n}", clip, np.frombuffer(bytes(output), np.uint8))
        for n, (clip, output) in enumerate(zip(slices, outputs, strict=True))
    ]
    write_golden(path, provenance, clips)
    return path


def without_times(result: RunResult) -> RunResult:
    return replace(result, started="", seconds=0)


def test_every_clip_gives_what_the_package_gives_alone(models: Path, spoken: tuple[Slices, ...]) -> None:
    model = models / "okay_nabu.json"
    result = check(model, {"a": spoken[0], "b": spoken[1], "a again": spoken[0]})
    assert (result.verdict, result.golden, result.target.engine) == ("pass", None, "tflm")
    expected = [direct(models / "okay_nabu.tflite", clip) for clip in (spoken[0], spoken[1], spoken[0])]
    assert [clip.outputs_sha256 for clip in result.clips] == [hashlib.sha256(out).hexdigest() for out in expected]
    for clip, slices, outputs in zip(result.clips, (spoken[0], spoken[1], spoken[0]), expected, strict=True):
        assert (clip.slices, clip.inferences, clip.device_inferences) == (len(slices), len(outputs), len(outputs))
        assert (clip.mismatches, clip.max_abs_difference, clip.golden_detections) == (None, None, None)
        assert clip.max_output == max(outputs)
        assert clip.frames_sha256 == hashlib.sha256(slices.tobytes()).hexdigest()
        assert len(clip.detections) == 1
        assert clip.latency_us is None


@pytest.mark.parametrize("engine", engine_params("tflite-runtime", "litert"))
def test_other_engines_are_compared_with_tflm_and_within_one(models: Path, clips: Path, engine: str) -> None:
    result = check(models / "okay_nabu.json", clips / FOLDER, engine=engine, lead_in=1.0)
    assert (result.verdict, result.tolerance, result.lead_in) == ("pass", 1, 1.0)
    assert result.golden is not None
    assert (result.golden.origin, result.golden.engine, result.golden.sha256) == ("worker", "exact", None)
    for clip in result.clips:
        assert clip.mismatches == 0
        assert clip.max_abs_difference is not None
        assert clip.max_abs_difference <= 1
        assert clip.golden_detections == clip.detections != ()


def test_jobs_change_nothing_but_the_time(models: Path, clips: Path) -> None:
    item, two = (check(models / "alexa.json", clips, lead_in=1.0, jobs=jobs) for jobs in (1, 2))
    assert without_times(item) == without_times(two)
    assert [clip.trace.outputs.tobytes() for clip in item.clips] == [clip.trace.outputs.tobytes() for clip in two.clips]


def test_clips_are_streamed_in_blocks_as_if_whole(models: Path, spoken: tuple[Slices, ...]) -> None:
    long = np.concatenate([spoken[0], spoken[1]] * 50)  # more than two blocks, and no multiple of the stride
    result = check(models / "okay_nabu.tflite", {"long": long[:28_001]})
    assert result.clips[0].trace.outputs.tobytes() == direct(models / "okay_nabu.tflite", long[:28_001])


def test_a_golden_is_compared_byte_for_byte(models: Path, spoken: tuple[Slices, ...], tmp_path: Path) -> None:
    def wrong(outputs: bytearray) -> None:
        outputs[40] ^= 2
        outputs[41] ^= 1

    path = recorded(models / "okay_nabu.tflite", tmp_path / "golden.npz", spoken, wrong)
    result = check(models / "okay_nabu.json", path)
    good, bad = result.clips
    assert (result.verdict, good.status, bad.status) == ("fail", "pass", "fail")
    assert (good.mismatches, good.max_abs_difference, good.first_mismatch) == (0, 0, None)
    assert (bad.mismatches, bad.max_abs_difference) == (2, 2)
    assert bad.first_mismatch is not None
    assert bad.first_mismatch.inference == 40
    assert bad.first_mismatch.expected == bad.first_mismatch.found ^ 2
    assert result.golden is not None
    assert result.golden.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (result.golden.origin, result.golden.version, result.lead_in) == ("file", "1", 1.0)
    loose = check(models / "okay_nabu.json", path, tolerance=2)
    assert (loose.verdict, loose.clips[1].mismatches, loose.clips[1].max_abs_difference) == ("pass", 0, 2)


def test_a_difference_of_one_fails_and_names_the_allowance(
    models: Path, spoken: tuple[Slices, ...], tmp_path: Path
) -> None:
    def wrong(outputs: bytearray) -> None:
        outputs[7] ^= 1

    result = check(models / "okay_nabu.json", recorded(models / "okay_nabu.tflite", tmp_path / "g.npz", spoken, wrong))
    assert (result.verdict, [problem.code for problem in result.problems]) == ("fail", ["rounding"])
    assert result.proposed_allowance is not None
    assert (result.proposed_allowance.max_difference, result.proposed_allowance.clips) == (1, {"clip 1": 1})


def test_a_golden_of_another_model_is_refused(models: Path, spoken: tuple[Slices, ...], tmp_path: Path) -> None:
    path = recorded(models / "okay_nabu.tflite", tmp_path / "golden.npz", spoken, lambda outputs: None)
    with pytest.raises(GoldenError, match="was recorded from okay_nabu"):
        check(models / "alexa.json", path)


def test_a_golden_that_does_not_fit_itself_is_refused(models: Path, spoken: tuple[Slices, ...], tmp_path: Path) -> None:
    path = recorded(models / "okay_nabu.tflite", tmp_path / "golden.npz", spoken, lambda outputs: outputs.pop())
    with pytest.raises(GoldenError, match="clip 1 has outputs"):
        Golden.open(path)
    write_archive(path, [], {"golden.json": '{"schema": "mww.golden/2"}'})
    with pytest.raises(GoldenError, match=r"schema must be mww\.golden/1, not 'mww\.golden/2'"):
        Golden.open(path)
    good = {"schema": "mww.golden/1", "model": "x", "model_sha256": "0", "engine": "tflm", "versions": {}, "lead_in": 0}
    for text, message in (
        ("[]", "must be an object"),
        ("{", "is not readable JSON"),
        ("[" * 100_000, "is not readable JSON"),
        (json.dumps({**good, "stride": {}}), "stride must be a whole number from 1 to 255, not {}"),
        (json.dumps({**good, "stride": 1, "lead_in": 1e10}), "lead_in must be a number from 0 to 1e"),
    ):
        write_archive(path, [], {"golden.json": text})
        with pytest.raises(GoldenError, match=message):
            Golden.open(path)


def test_a_crash_costs_one_clip_and_names_the_inference(
    models: Path, spoken: tuple[Slices, ...], tmp_path: Path
) -> None:
    def crash(description: str, done: int, total: int) -> None:
        if done == 1:
            engines = [child for child in psutil.Process().children() if "harness.engines.worker" in child.cmdline()]
            for child in engines:
                os.kill(child.pid, signal.SIGSEGV)
            wait_for(lambda: all(child.status() == psutil.STATUS_ZOMBIE for child in engines))

    result = check(models / "okay_nabu.json", {"a": spoken[0], "b": spoken[1], "c": spoken[0]}, progress=crash)
    assert [clip.status for clip in result.clips] == ["pass", "error", "pass"]
    assert result.verdict == "error"
    error = result.clips[1].error
    assert error is not None
    assert (error.code, error.message) == ("engine", "engine tflm was ended by SIGSEGV")
    assert (result.clips[1].outputs_sha256, result.clips[1].detections) == (None, ())
    assert result.clips[2].outputs_sha256 == result.clips[0].outputs_sha256


def test_the_vad_model_gates_detections(models: Path, spoken: tuple[Slices, ...]) -> None:
    """alexa's model stands in for a VAD: it hears nothing in these clips, okay_nabu's hears everything."""
    deaf = check(models / "okay_nabu.json", {"a": spoken[0]}, vad=models / "alexa.json")
    hearing = check(models / "okay_nabu.json", {"a": spoken[0]}, vad=models / "okay_nabu.json")
    assert [entry.vad_blocked for entry in deaf.clips[0].detections][:1] == [True]
    assert [entry.vad_blocked for entry in hearing.clips[0].detections] == [False]
    assert deaf.vad is not None
    assert (deaf.vad.model, deaf.vad.engine) == ("alexa", "exact")


def test_labels_give_recall_and_false_accepts(models: Path, clips: Path) -> None:
    result = check(models / "okay_nabu.json", [clips / FOLDER, clips / "negative"], lead_in=1.0)
    assert result.evaluation is not None
    assert (result.evaluation.at.recall.hits, result.evaluation.at.recall.trials) == (3, 3)
    assert result.evaluation.at.false_accepts.count == 0


def test_a_clip_too_short_to_detect_anything_is_warned_of(models: Path, spoken: tuple[Slices, ...]) -> None:
    short = check(models / "okay_nabu.json", {"short": spoken[0][:101], "empty": spoken[0][:0]})
    assert short.verdict == "pass"
    assert short.clips[1].max_output is None
    assert ["2 clips (short, ...) are too short" in text and "--lead-in" in text for text in short.warnings] == [True]
    assert check(models / "okay_nabu.json", {"long enough": spoken[0][:102]}).warnings == ()


def test_an_arena_that_is_too_small_for_the_chip_fails(models: Path, spoken: tuple[Slices, ...]) -> None:
    model = replace(load_model(models / "okay_nabu.json"), tensor_arena_size=30_000)
    result = check(model, {"a": spoken[0]})
    assert result.arena is not None
    assert (result.verdict, result.arena.fits, result.arena.source) == ("fail", False, "predicted")
    assert any("30000 is too small" in warning for warning in result.warnings)
    assert check(model, {"a": spoken[0]}, chip="esp32").verdict == "pass"


def test_a_model_that_crashes_the_engine_is_an_error_of_every_clip(
    models: Path, spoken: tuple[Slices, ...], tmp_path: Path
) -> None:
    crashing = bytearray((models / "hey_jarvis.tflite").read_bytes())
    crashing[45030] = 1  # a bias that says it is 16 MB larger than its buffer
    (tmp_path / "model.tflite").write_bytes(crashing)
    result = check(tmp_path / "model.tflite", {"a": spoken[0], "b": spoken[1]})
    assert (result.verdict, [clip.status for clip in result.clips]) == ("error", ["error"] * 2)
    assert [clip.error.inference for clip in result.clips if clip.error] == [0, 0]


def test_what_cannot_be_meant_is_refused(models: Path, clips: Path, spoken: tuple[Slices, ...], tmp_path: Path) -> None:
    model, features = models / "okay_nabu.json", tmp_path / "features.npz"
    write_archive(features, [("a", spoken[0])])
    with pytest.raises(UsageError, match="lead-in for a feature file"):
        check(model, features, lead_in=1.0)
    with pytest.raises(UsageError, match="unknown target 'emulatr'"):
        check(model, features, target="emulatr")
    with pytest.raises(UsageError, match="unknown chip 'esp8266'"):
        check(model, features, chip="esp8266")
    with pytest.raises(UsageError, match="no baud rate"):
        check(model, features, baud=115200)
    with pytest.raises(UsageError, match="tolerance of -1"):
        check(model, features, tolerance=-1)
    with pytest.raises(UsageError, match="2 jobs on the target /dev/ttyUSB0"):
        check(model, features, target="/dev/ttyUSB0", jobs=2)
    with pytest.raises(UsageError, match="no clips"):
        check(model, {})
    slow = replace(load_model(model), feature_step_size=20)
    fast = check(model, clips / FOLDER).clips[0].slices
    assert check(slow, clips / FOLDER).clips[0].slices == (fast + 1) // 2
    assert check(slow, features).clips[0].detections[0].time_s > 2
