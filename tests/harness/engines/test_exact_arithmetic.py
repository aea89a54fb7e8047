"""The exact engine's arithmetic: against C's rules in plain integers, and at the edges of what floats can do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engines import canary
from harness.engines.exact import blas, checked
from harness.engines.exact.checked import ExactEngine
from harness.engines.exact.engine import ExactModel, prepared
from harness.engines.exact.fixed_point import LEAST_SHIFT, Scaling, least_input, multiply, quantize_multiplier
from harness.engines.exact.float_form import fit
from harness.engines.exact.kernels import Convolution
from harness.engines.exact.requantiser import Requantiser
from harness.engines.exact.scratch import Calls
from harness.engines.process import EngineProcess
from mww.core.errors import EngineError
from tests.support.examples import examples
from tests.support.needs import needs_tflm
from tests.support.synthetic import Graph, pack

MULTIPLIERS = st.one_of(st.just(1 << 30), st.just((1 << 31) - 1), st.integers(1 << 30, (1 << 31) - 1))


def in_c(value: int, multiplier: int, shift: int) -> int:
    """`MultiplyByQuantizedMultiplier` as it is written in C, with two roundings."""
    product = (value << max(shift, 0)) * multiplier
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)
    right = max(-shift, 0)
    mask = (1 << right) - 1
    return (high >> right) + int((high & mask) > (mask >> 1) + (high < 0))


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(-(2**26), 2**26), MULTIPLIERS, st.integers(-24, 4))
def test_products_are_rounded_as_in_c(value: int, multiplier: int, shift: int) -> None:
    assert multiply(value, multiplier, shift) == in_c(value, multiplier, shift)


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(-256, 256), MULTIPLIERS, st.integers(LEAST_SHIFT, 4))
def test_the_least_input_of_a_result_is_at_the_step(result: int, multiplier: int, shift: int) -> None:
    least = int(least_input(*(np.int64(value) for value in (result, multiplier, shift))))
    assert in_c(least, multiplier, shift) >= result > in_c(least - 1, multiplier, shift)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(MULTIPLIERS, st.integers(-24, 2), st.integers(-(2**20), 2**20)), min_size=1, max_size=8),
    st.integers(-128, 127),
    st.sampled_from(["none", "from zero", "narrow"]),
    st.integers(2, 24),
)
def test_bytes_are_the_integers_ones_at_every_step_and_between(
    channels: list[tuple[int, int, int]], zero_point: int, limits: str, bits: int
) -> None:
    multiplier, shift, bias = (np.array(values, np.int64) for values in zip(*channels, strict=True))
    low = -128 if limits == "none" else zero_point
    high = 127 if limits != "narrow" else min(127, zero_point + 20)
    reach = np.full(len(channels), (1 << bits) - 1, np.int64)
    scaling = Scaling(multiplier, shift, bias, -reach, reach, zero_point, low, high)
    requantiser = Requantiser(scaling)
    results = np.arange(low, high + 2)[:, None] - zero_point
    steps = least_input(results, multiplier, shift) - bias
    random = np.random.default_rng(bits).integers(-reach, reach + 1, (64, len(channels)))
    sums = np.clip(np.concatenate([steps - 1, steps, steps + 1, -reach[None], reach[None], random]), -reach, reach)
    calls, output = Calls(len(sums)), np.empty(sums.shape, np.float32)
    requantiser.bind(calls, sums.astype(np.float32), output)
    for call in calls.list:
        call()
    factors = list(zip(*(values.tolist() for values in (multiplier, shift, bias)), strict=True))
    for row, bytes_ in zip(sums.tolist(), output.tolist(), strict=True):
        for value, byte, (factor, power, added) in zip(row, bytes_, factors, strict=True):
            assert byte == min(max(in_c(value + added, factor, power) + zero_point, low), high)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-11, -6), st.integers(-128, 127), st.booleans())
def test_a_float_form_is_right_for_every_sum_that_there_is(seed: int, shift: int, zero_point: int, relu: bool) -> None:
    random, channels, reach = np.random.default_rng(seed), 5, np.full(5, 2**16, np.int64)
    multiplier = random.integers(1 << 30, 1 << 31, channels)
    bias = random.integers(-(2**15), 2**15, channels)
    low = zero_point if relu and zero_point < 127 else -128
    scaling = Scaling(multiplier, np.full(channels, shift + 1, np.int64), bias, -reach, reach, zero_point, low, 127)
    form = fit(scaling)
    assert form is not None
    sums = np.arange(-(2**16), 2**16 + 1)[:, None]
    assert np.array_equal(np.clip(form.evaluate(sums), low, 127), scaling.apply(np.broadcast_to(sums, (len(sums), 5))))


def test_most_layers_of_published_models_need_no_more_than_float32(models: Path) -> None:
    for name in ("okay_nabu", "hey_jarvis", "alexa", "hey_mycroft"):
        kernels = prepared((models / f"{name}.tflite").read_bytes()).kernels.values()
        forms = [kernel.weighted.requantiser.form for kernel in kernels if isinstance(kernel, Convolution)]
        assert sum(form is not None and form.constants.dtype == np.float32 for form in forms) >= len(forms) // 2


def test_a_float_form_that_is_not_proven_is_not_used() -> None:
    wide = np.array([2**40], np.int64)
    multiplier, shift = np.array([1_500_000_001], np.int64), np.array([-24], np.int64)
    scaling = Scaling(multiplier, shift, np.zeros(1, np.int64), -wide, wide, 0, -128, 127)
    assert fit(scaling) is None
    zero = Scaling(np.zeros(1, np.int64), shift, np.zeros(1, np.int64), -wide, wide, 5, -128, 127)
    assert fit(zero) is None
    assert zero.apply(np.array([[1000.0]])).tolist() == [[5]]


@needs_tflm
def test_logistic_is_the_same_for_every_input_at_many_scales() -> None:
    stored = np.arange(-128, 128).astype(np.int8)
    with EngineProcess("tflm") as tflm:
        for index, scale in enumerate(np.geomspace(1e-4, 1.0, 25)):
            graph = Graph()
            source = graph.tensor([1, 256], scales=(float(scale),), zero_points=(index * 10 - 120,))
            output = graph.tensor([1, 256], scales=(1 / 256,), zero_points=(-128,))
            graph.inputs, graph.outputs = [source], [output]
            graph.operator("LOGISTIC", [source], [output])
            model = pack(graph)
            tflm.load(model)
            assert ExactModel(model).infer(stored[None]).tobytes() == tflm.infer(stored.tobytes()), scale


def logistic_of(scale: float) -> bytes:
    graph = Graph()
    source = graph.tensor([1, 256], scales=(scale,))
    output = graph.tensor([1, 256], scales=(1 / 256,), zero_points=(-128,))
    graph.inputs, graph.outputs = [source], [output]
    graph.operator("LOGISTIC", [source], [output])
    return pack(graph)


def test_a_scale_of_logistic_for_which_c_has_no_result_is_refused() -> None:
    assert len(ExactModel(logistic_of(2.0**34)).infer(np.zeros((1, 256), np.int8))) == 1
    with pytest.raises(EngineError, match="LOGISTIC 0: an input scale so coarse"):
        ExactModel(logistic_of(2.0**35))


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(canary, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "mww-harness" / "engines"


@needs_tflm
def test_the_first_clips_of_a_model_run_in_tflite_micro_too_once(
    models: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (models / "okay_nabu.tflite").read_bytes()
    frames = np.random.default_rng(0).integers(-128, 128, (50, 120), np.int8).tobytes()
    with ExactEngine() as engine:
        engine.load(content)
        for _ in range(checked.CHECKED_CLIPS):
            assert not notes.exists()
            engine.infer(frames)
            engine.reset()
        assert len(list(notes.iterdir())) == 1
    monkeypatch.setattr(checked, "EngineProcess", None)
    with ExactEngine() as engine:
        engine.load(content)
        assert len(engine.infer(frames)) == engine.inferences == 50


@needs_tflm
def test_engines_take_clips_together_each_from_the_initial_state(models: Path, notes: Path) -> None:
    frames = np.random.default_rng(0).integers(-128, 128, (90, 120), np.int8)
    clips = [part.tobytes() for part in np.split(frames, [3, 3, 40, 70])]
    given = []
    for engine in (EngineProcess("tflm"), ExactEngine(), ExactEngine()):
        with engine:
            engine.load((models / "okay_nabu.tflite").read_bytes())
            engine.infer(frames[:5].tobytes())
            given += [engine.infer_clips(clips), engine.infer_clips(clips[1:4]), engine.infer(frames[:9].tobytes())]
    assert given[:3] == given[3:6] == given[6:]
    assert list(map(len, given[0])) == [3, 0, 37, 30, 20]
    assert len(list(notes.iterdir())) == 1


@needs_tflm
def test_a_difference_is_an_error_that_names_both(models: Path, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ExactModel.infer

    def wrong(model: ExactModel, frames: np.ndarray) -> np.ndarray:
        outputs = right(model, frames)
        outputs[7] ^= 1
        return outputs

    monkeypatch.setattr(ExactModel, "infer", wrong)
    with ExactEngine() as engine:
        engine.load((models / "okay_nabu.tflite").read_bytes())
        with pytest.raises(EngineError, match=r"engine exact 1 and tflm 0\.dev\d+ disagree .* at inference 7"):
            engine.infer(bytes(120 * 20))
        with pytest.raises(EngineError, match="disagree"):
            engine.reset()
        with pytest.raises(EngineError, match="disagree"):
            engine.infer_clips([bytes(120), bytes(120)])
    assert not notes.exists()


def test_scale_factors_that_c_cannot_have_are_refused() -> None:
    with pytest.raises(ValueError, match="a scale factor of nan"):
        quantize_multiplier(float("nan"))
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(1e-12) == (0, 0)


_HASH = """
import hashlib, sys, numpy as np
from harness.engines.exact.engine import ExactModel
from tests.harness.engines.test_exact import every_tensor
model = every_tensor(open(sys.argv[1], "rb").read())
frames = np.random.default_rng(1).integers(-128, 128, (70, 120), np.int8)
print(hashlib.sha256(ExactModel(model).infer(frames).tobytes()).hexdigest())
"""


KERNELS = {"Prescott": "pni", "Sandybridge": "avx", "Haswell": "avx2", "SkylakeX": "avx512vl"}
"""OpenBLAS's kernels by the newest instructions that they need, as Linux names these."""


@pytest.mark.slow
def test_matrix_kernels_and_threads_of_blas_change_nothing(models: Path) -> None:
    cpu = Path("/proc/cpuinfo")
    instructions = set(cpu.read_text().split()) if cpu.exists() else set()
    settings_ = [{"OPENBLAS_CORETYPE": core} for core, needed in KERNELS.items() if needed in instructions]
    words = [sys.executable, "-c", _HASH, str(models / "okay_nabu.tflite")]
    root = Path(__file__).parents[3]
    hashes = {
        subprocess.run(words, env=os.environ | extra, cwd=root, capture_output=True, check=True, text=True).stdout
        for extra in (*settings_, {"OPENBLAS_NUM_THREADS": "1"}, {"OPENBLAS_NUM_THREADS": "4"})
    }
    assert len(hashes) == 1


INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
flags\t\t: fpu sse2 {}
"""


@pytest.mark.parametrize(
    ("text", "kernels"),
    [
        (INTEL.format("fma avx2 avx512f avx512bw avx512cd avx512dq avx512vl"), "SkylakeX"),
        (INTEL.format("fma avx2 avx512f"), "Haswell"),
        (INTEL.format("avx"), None),
        (INTEL.format("fma avx2").replace("GenuineIntel", "AuthenticAMD"), None),
        ("", None),
    ],
)
def test_the_kernels_are_those_that_an_intel_processor_has_instructions_for(
    text: str, kernels: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(text)
    monkeypatch.setattr(blas, "CPU_INFO", cpu)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    environment: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environment)
    blas.choose_kernels()
    assert environment == {}  # numpy is there already
    monkeypatch.delitem(sys.modules, "numpy")
    blas.set_up_blas()
    assert environment == {"OPENBLAS_NUM_THREADS": "1"} | ({"OPENBLAS_CORETYPE": kernels} if kernels else {})
    environment.update({"OPENBLAS_CORETYPE": "Zen", "OPENBLAS_NUM_THREADS": "3"})
    blas.set_up_blas()
    assert environment == {"OPENBLAS_CORETYPE": "Zen", "OPENBLAS_NUM_THREADS": "3"}


def test_products_that_are_not_exact_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    blas.check_products()
    with monkeypatch.context() as patch:
        patch.setattr(np, "array_equal", lambda first, second: False)
        with pytest.raises(EngineError, match="are not exact on this computer"):
            blas.check_products.__wrapped__()
