"""Models that crash, hang or starve a real interpreter: one error each, and the next model runs in the same engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.check import check_models
from harness.engines.process import ATTEMPTS, EngineProcess
from harness.engines.worker import ADDRESS_SPACE
from harness.run.options import RunOptions
from mww.core.errors import EngineError
from mww.core.resources import fixtures_dir
from mww.esphome.model import load_model
from tests.support.needs import INTERPRETERS, needs_engine
from tests.support.synthetic import Graph, pack

CANARY = (fixtures_dir() / "canary" / "canary.tflite").read_bytes()


LITE_CRASHES = (
    (6332, 34, "SIGABRT"),
    (5732, 38, "SIGABRT at inference 0"),
    (6984, 29, "SIGSEGV at inference 0"),
)
"""A byte of the canary, its new value, and how TensorFlow Lite ends."""


def altered(offset: int, value: int) -> bytes:
    """The canary with one byte changed, as a fuzzer found it."""
    content = bytearray(CANARY)
    content[offset] = value
    return bytes(content)


def endless() -> bytes:
    """A WHILE whose condition always holds."""
    main, condition, body = Graph(), Graph(), Graph()
    for graph in (main, condition, body):
        graph.inputs, graph.outputs = [graph.tensor([1, 3, 40])], [graph.tensor([1, 3, 40])]
    main.operator("WHILE", main.inputs, main.outputs, condSubgraphIndex=1, bodySubgraphIndex=2)
    body.operator("ADD", body.inputs * 2, body.outputs)
    first = condition.constant([1])
    condition.outputs = [condition.tensor([1], "BOOL", scales=())]
    condition.operator("EQUAL", [first, first], condition.outputs)
    return pack(main, condition, body)


def filled(*shape: int) -> bytes:
    """An output as large as `shape` asks for."""
    graph = Graph()
    value, output = graph.constant(1, "INT8", scales=(0.1,)), graph.tensor(shape)
    graph.operator("FILL", [graph.constant(shape), value], [output])
    graph.inputs, graph.outputs = [graph.tensor([1, 3, 40])], [output]
    return pack(graph)


@pytest.mark.parametrize(
    ("name", "content", "end"),
    [
        *(
            pytest.param(name, altered(offset, value), end, marks=needs_engine(name))
            for name in ("tflite-runtime", "litert")
            for offset, value, end in LITE_CRASHES
        ),
        ("tflm", altered(12928, 61), "SIGABRT"),
        ("tflm", altered(10043, 1), "SIGSEGV"),
        ("tflm", altered(6867, 8), "SIGSEGV at inference 0"),
        ("tflm", altered(7653, 3), "SIGFPE at inference 0"),
    ],
)
def test_a_crash_is_one_error_and_the_next_model_runs(name: str, content: bytes, end: str) -> None:
    with EngineProcess(name) as engine:
        with pytest.raises(EngineError) as caught:
            engine.load(content)
            engine.infer(bytes(engine.frame_size * 2))
        assert str(caught.value) == f"engine {name} was ended by {end}"
        engine.load(CANARY)
        assert len(engine.infer(bytes(engine.frame_size * 2))) == 2 * engine.output_size


@pytest.mark.parametrize("name", INTERPRETERS)
def test_an_endless_loop_ends_at_the_deadline(name: str) -> None:
    with EngineProcess(name, deadline=1.0) as engine:
        engine.load(endless())
        with pytest.raises(EngineError, match="did not answer within 1 s at inference 0"):
            engine.infer(bytes(engine.frame_size))
        engine.load(CANARY)


@pytest.mark.parametrize("name", INTERPRETERS)
@pytest.mark.parametrize("shape", [(2 * ADDRESS_SPACE >> 16, 1 << 16), (1 << 30, 64), (1 << 24, 1)])
def test_a_tensor_beyond_every_limit_is_refused_before_it_takes_the_memory(name: str, shape: tuple[int, int]) -> None:
    with EngineProcess(name) as engine:
        with pytest.raises(EngineError, match="does not take this model"):
            engine.load(filled(*shape))
        engine.load(CANARY)
        assert len(engine.infer(bytes(engine.frame_size))) == engine.output_size


@pytest.mark.parametrize("name", INTERPRETERS)
def test_an_input_or_output_without_a_size_is_refused(name: str) -> None:
    with EngineProcess(name) as engine, pytest.raises(EngineError):
        engine.load(filled(0, 1))


def test_a_model_that_costs_a_process_again_is_given_up_and_the_other_models_run(models: Path, tmp_path: Path) -> None:
    crashing = bytearray((models / "hey_jarvis.tflite").read_bytes())
    crashing[45030] = 1  # a bias that says it is 16 MB larger than its buffer
    (tmp_path / "crashing.tflite").write_bytes(crashing)
    clips = {f"clip {number}": np.zeros((30, 40), np.int8) for number in range(ATTEMPTS + 2)}
    loaded = [load_model(tmp_path / "crashing.tflite"), load_model(models / "okay_nabu.json")]
    bad, good = check_models(loaded, clips, RunOptions())
    results = [clip.error.message for clip in bad.clips if clip.error]
    assert results[:ATTEMPTS] == ["engine tflm was ended by SIGSEGV"] * ATTEMPTS
    assert results[ATTEMPTS:] == [f"{results[0]} at inference 0, {ATTEMPTS} times: no further attempt is made"] * 2
    assert [clip.status for clip in good.clips] == ["pass"] * len(clips)


def test_a_model_that_was_given_up_may_be_loaded_anew() -> None:
    with EngineProcess("tflm") as engine:
        for _ in range(2):
            engine.load(altered(6867, 8))
            for attempt in range(ATTEMPTS):
                if attempt:
                    engine.reset()
                with pytest.raises(EngineError, match=r"SIGSEGV at inference 0$"):
                    engine.infer(bytes(engine.frame_size))
            with pytest.raises(EngineError, match="no further attempt"):
                engine.reset()
