"""A model made smaller: the same outputs, a smaller file, the smallest arena that an order of operators can give."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pymicro_wakeword
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporter.optimization.bounds import lowest_minimum
from exporter.optimization.live_memory import measure
from exporter.optimization.optimize import find_operator_order, optimize_for_edge
from exporter.optimization.precedence import find_precedence, legal_orders
from exporter.optimization.rewriting import rewrite
from harness.engines.process import EngineProcess
from mww.core.errors import ModelFileError, UnknownRuntimeError, UnsupportedModelError
from mww.core.resources import fixtures_dir
from mww.esphome.chips import CHIP_NAMES
from mww.esphome.frontend import quantize_features, wav_to_features
from mww.tflite.model_file import ModelFile, Tensor, read_model
from mww.tflm.arena import predict_arenas
from tests.mww.tflm.test_arena_synthetic import RECORDED, convolve, streaming
from tests.support.needs import engine_params
from tests.support.synthetic import Graph, pack

MODELS = Path(pymicro_wakeword.__file__).parent / "models"

# Largest minimum over the chips before and after, and that of the esp32. The figures after, too, were measured as
# `test_arena` says, on the models as `optimize_for_edge` writes them.
MINIMA = {
    "alexa": (22144, 20592, 16144, 15872),
    "hey_jarvis": (22496, 19712, 15520, 15392),
    "hey_mycroft": (23424, 21248, 17424, 16528),
    "okay_nabu": (34512, 32576, 21520, 21504),
}


@cache
def published(name: str) -> tuple[bytes, bytes]:
    """A published model, and the same made smaller."""
    content = (MODELS / f"{name}.tflite").read_bytes()
    return content, optimize_for_edge(content)


def constant(model: ModelFile, tensor: Tensor) -> bytes:
    data = model.buffers[tensor.buffer]
    return model.content[data.offset : data.offset + data.size]


@pytest.mark.parametrize("name", MINIMA)
def test_a_published_model_needs_less_and_no_order_would_need_less_still(name: str) -> None:
    content, smaller = published(name)
    result = find_operator_order(read_model(content))
    before = {arena.chip: arena.minimum for arena in predict_arenas(content)}
    after = {arena.chip: arena.minimum for arena in predict_arenas(smaller)}
    assert all(after[chip] <= before[chip] for chip in CHIP_NAMES)
    assert (max(before.values()), max(after.values()), before["esp32"], after["esp32"]) == MINIMA[name]
    assert (result.before, result.after, result.proven) == (*MINIMA[name][:2], True)
    assert len(smaller) < 0.8 * len(content)
    assert optimize_for_edge(content) == smaller


@pytest.mark.parametrize("engine", engine_params("tflm", "tflite-runtime"))
@pytest.mark.parametrize("name", MINIMA)
def test_no_output_byte_changes(name: str, engine: str) -> None:
    clip = sorted((fixtures_dir() / "clips" / name).rglob("*.wav"))[0]
    slices = quantize_features(wav_to_features(clip, lead_in=1.0))
    frames = slices[: len(slices) // 3 * 3].tobytes() + np.random.default_rng(1).bytes(120 * 30)
    outputs = []
    with EngineProcess(engine) as interpreter:
        for model in published(name):
            interpreter.load(model)
            outputs.append(interpreter.infer(frames))
    assert len(set(outputs[0])) > 1
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    "model", [model for model in RECORDED if model is not streaming], ids=lambda model: model.__name__
)
def test_of_few_orders_the_best_is_found_and_none_goes_below_the_bound(model: Callable[[], bytes]) -> None:
    parsed = read_model(model())
    memory = measure(parsed, find_precedence(parsed), CHIP_NAMES)
    orders = legal_orders(memory.precedence, 300)
    assert orders
    minima = [memory.load(order) for order in orders]
    bounds = [lowest_minimum(memory, chip).size for chip in memory.chips]
    assert all(size >= bound for sizes in minima for size, bound in zip(sizes, bounds, strict=True))
    unharmed = [
        sizes for sizes in minima if all(size <= chip.minimum for size, chip in zip(sizes, memory.chips, strict=True))
    ]
    assert find_operator_order(parsed).after == min(map(max, unharmed))


def test_the_chips_that_are_asked_decide() -> None:
    """Two branches of which one has much scratch memory on the esp32s3, and the other is large everywhere."""
    graph = Graph()
    source = graph.tensor([1, 8, 8, 8])
    graph.inputs = [source]
    wide = convolve(graph, source, [40, 1, 1, 8], [1, 8, 8, 40], padding=1)
    narrow = graph.tensor([1, 1, 1, 40])
    graph.operator("MEAN", [wide, graph.constant([1, 2])], [narrow], keepDims=True)
    deep = convolve(graph, source, [40, 8, 8, 8], [1, 1, 1, 40], padding=1)
    summed = graph.tensor([1, 1, 1, 40])
    graph.operator("ADD", [narrow, deep], [summed])
    graph.outputs = [summed]
    model = pack(graph)
    for chip in ("esp32", "esp32s3"):
        sizes = {
            other: predict_arenas(optimize_for_edge(model, chips=(other,)), (chip,))[0].minimum for other in CHIP_NAMES
        }
        assert sizes[chip] == min(sizes.values())


def test_state_is_read_and_written_in_the_same_turn_as_before() -> None:
    """Two readers and two writers of one variable, which data alone would let change places."""
    graph = Graph()
    source = graph.tensor([1, 64])
    handle = graph.tensor([], "RESOURCE", scales=())
    before, between, after = (graph.tensor([1, 64]) for _ in range(3))
    doubled, summed = graph.tensor([1, 64]), graph.tensor([1, 64])
    graph.inputs, graph.outputs = [source], [summed, after]
    graph.operator("VAR_HANDLE", [], [handle], sharedName=b"state")
    graph.operator("READ_VARIABLE", [handle], [before])
    graph.operator("ASSIGN_VARIABLE", [handle, source], [])
    graph.operator("READ_VARIABLE", [handle], [between])
    graph.operator("ADD", [source, source], [doubled])
    graph.operator("ASSIGN_VARIABLE", [handle, doubled], [])
    graph.operator("READ_VARIABLE", [handle], [after])
    graph.operator("ADD", [before, between], [summed])
    model = read_model(pack(graph))
    orders = legal_orders(find_precedence(model), 100)
    assert orders
    for order in orders:
        stateful = [index for index in order if model.main.operators[index].op.endswith("_VARIABLE")]
        assert stateful == sorted(stateful)


def test_the_initialiser_runs_before_any_state_is_touched() -> None:
    model, smaller = map(read_model, published("okay_nabu"))
    operators = [operator.op for operator in smaller.main.operators]
    assert operators.index("CALL_ONCE") < operators.index("READ_VARIABLE")
    assert sorted(operators) == sorted(operator.op for operator in model.main.operators)


@pytest.mark.parametrize("name", [*MINIMA, *(model.__name__ for model in RECORDED)])
def test_what_is_written_again_says_the_same(name: str) -> None:
    synthetic = {model.__name__: model for model in RECORDED}
    content = synthetic[name]() if name in synthetic else (MODELS / f"{name}.tflite").read_bytes()
    model, again = read_model(content), read_model(rewrite(content))
    assert len(model.subgraphs) == len(again.subgraphs)
    for item, other in zip(model.subgraphs, again.subgraphs, strict=True):
        assert (item.inputs, item.outputs, item.operators) == (other.inputs, other.outputs, other.operators)
        for tensor, copy in zip(item.tensors, other.tensors, strict=True):
            assert (tensor.shape, tensor.dtype, tensor.is_variable) == (copy.shape, copy.dtype, copy.is_variable)
            assert tensor.quantization == copy.quantization
            assert constant(model, tensor) == constant(again, copy)
            assert copy.name == ""
    assert not again.metadata
    assert not again.signatures
    data = [again.content[buffer.offset : buffer.offset + buffer.size] for buffer in again.buffers]
    assert len(set(data)) == len(data)
    assert all(buffer.offset % 16 == 0 for buffer in again.buffers if buffer.size)
    assert rewrite(again.content) == again.content


def test_what_cannot_be_kept_leaves_the_file_as_it_is() -> None:
    def sparse(model: Any) -> None:
        model.subgraphs[0].tensors[5].sparsity = schema.SparsityParametersT()

    def debugged(model: Any) -> None:
        model.subgraphs[0].operators[3].largeCustomOptionsOffset = 4

    for change in (sparse, debugged):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((MODELS / "alexa.tflite").read_bytes()))
        change(model)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        content = bytes(builder.Output())
        assert optimize_for_edge(content) == content


def test_what_is_no_model_for_the_device_is_an_error() -> None:
    with pytest.raises(ModelFileError):
        optimize_for_edge(b"no model")
    with pytest.raises(UnknownRuntimeError):
        optimize_for_edge((MODELS / "alexa.tflite").read_bytes(), chips=("esp8266",))
    graph = Graph()
    source, output = graph.tensor([4]), graph.tensor([4])
    graph.operator("SOFTMAX", [source], [output])
    with pytest.raises(UnsupportedModelError):
        optimize_for_edge(pack(graph))
