"""Arena predictions for small models that use every operator that ESPHome registers, in shapes no wake word has.

The figures are the runtime's own, recorded as `test_arena` says. `RECORDED` holds, for the esp32, esp32s3 and esp32p4,
used, head, tail and minimum.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mww.core.errors import MwwError, UnsupportedModelError
from mww.esphome.contract import REGISTERED_OPS, RuntimeVersions
from mww.tflite.model_file import read_model
from mww.tflm.arena import predict_arena
from tests.support.examples import examples
from tests.support.synthetic import Graph, pack

CHIPS = ("esp32", "esp32s3", "esp32p4")
UNIT = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
SAME, VALID = 0, 1


def convolve(graph: Graph, source: int, weights: list[int], output: list[int], **options: int) -> int:
    """Add a CONV_2D with per-channel weights and a bias."""
    kernel = graph.weights(weights, channels=weights[0])
    result = graph.tensor(output)
    graph.operator("CONV_2D", [source, kernel, graph.bias(weights[0])], [result], **{**UNIT, **options})
    return result


def depthwise(graph: Graph, source: int, weights: list[int], output: list[int], **options: int) -> int:
    """Add a DEPTHWISE_CONV_2D with per-channel weights and no bias."""
    kernel = graph.weights(weights, channels=weights[3], dimension=3)
    result = graph.tensor(output)
    graph.operator("DEPTHWISE_CONV_2D", [source, kernel], [result], **{**UNIT, "depthMultiplier": 1, **options})
    return result


def streaming() -> bytes:
    """A wake word in small: state, the usual ways through it, an initialiser."""
    graph, initialiser = Graph(), Graph()
    features = graph.tensor([1, 3, 40])
    graph.inputs = [features]
    graph.operator("CALL_ONCE", [], [], initSubgraphIndex=1)
    frame = graph.tensor([1, 3, 1, 40])
    graph.operator("RESHAPE", [features, graph.constant([1, 3, 1, 40])], [frame], newShape=[1, 3, 1, 40])
    handle = graph.tensor([], "RESOURCE", scales=())
    graph.operator("VAR_HANDLE", [], [handle], container=b"", sharedName=b"stream")
    state, window, kept = graph.tensor([1, 2, 1, 40]), graph.tensor([1, 5, 1, 40]), graph.tensor([1, 2, 1, 40])
    graph.operator("READ_VARIABLE", [handle], [state])
    graph.operator("CONCATENATION", [state, frame], [window], axis=1)
    begin, end, stride = graph.constant([0, -2, 0, 0]), graph.constant([0, 5, 0, 0]), graph.constant([1, 1, 1, 1])
    graph.operator("STRIDED_SLICE", [window, begin, end, stride], [kept], beginMask=13, endMask=13)
    graph.operator("ASSIGN_VARIABLE", [handle, kept], [])
    first = convolve(graph, window, [12, 5, 1, 40], [1, 1, 1, 12], strideH=3, padding=VALID, fusedActivationFunction=1)
    left, right = graph.tensor([1, 1, 1, 5]), graph.tensor([1, 1, 1, 7])
    graph.operator("SPLIT_V", [first, graph.constant([5, 7]), graph.constant(3)], [left, right], numSplits=2)
    joined = graph.tensor([1, 1, 1, 12])
    graph.operator("CONCATENATION", [left, right], [joined], axis=3)
    summed = graph.tensor([1, 1, 1, 12])
    graph.operator("ADD", [first, joined], [summed])
    logit = graph.tensor([1, 1])
    flat = graph.tensor([1, 12])
    graph.operator("RESHAPE", [summed], [flat], newShape=[1, 12])
    graph.operator("FULLY_CONNECTED", [flat, graph.weights([1, 12]), -1], [logit])
    sigmoid = graph.tensor([1, 1], scales=[1 / 256], zero_points=[-128])
    graph.operator("LOGISTIC", [logit], [sigmoid])
    probability = graph.tensor([1, 1], "UINT8", scales=[1 / 256])
    graph.operator("QUANTIZE", [sigmoid], [probability])
    graph.outputs = [probability]
    own = initialiser.tensor([], "RESOURCE", scales=())
    initialiser.operator("VAR_HANDLE", [], [own], container=b"", sharedName=b"stream")
    initialiser.operator("ASSIGN_VARIABLE", [own, initialiser.weights([1, 2, 1, 40])], [])
    return pack(graph, initialiser)


def shared_state() -> bytes:
    """Three handles on two names, one state assigned twice with different sizes, an initialiser that computes."""
    graph, initialiser = Graph(), Graph()
    source = graph.tensor([1, 2, 40])
    graph.inputs = graph.outputs = [source]
    graph.operator("CALL_ONCE", [], [], initSubgraphIndex=1)
    for name in (b"a", b"b", b"a"):
        handle = graph.tensor([], "RESOURCE", scales=())
        graph.operator("VAR_HANDLE", [], [handle], sharedName=name)
        graph.operator("ASSIGN_VARIABLE", [handle, source], [])
    small, mean = initialiser.weights([1, 6, 7]), initialiser.tensor([1, 7])
    initialiser.operator("MEAN", [small, initialiser.constant([1])], [mean])
    handle = initialiser.tensor([], "RESOURCE", scales=())
    initialiser.operator("VAR_HANDLE", [], [handle], sharedName=b"a")
    initialiser.operator("ASSIGN_VARIABLE", [handle, mean], [])
    return pack(graph, initialiser)


def shapes() -> bytes:
    """PAD, PACK, pools, MEAN, MUL and slices with steps, in several ranks."""
    graph = Graph()
    source = graph.tensor([1, 4, 10])
    graph.inputs = [source]
    padded = graph.tensor([1, 7, 11])
    graph.operator(
        "PAD", [source, graph.constant([[0, 0], [1, 2], [0, 1]]), graph.constant(0, "INT8", scales=[0.1])], [padded]
    )
    packed = graph.tensor([1, 7, 3, 11])
    graph.operator("PACK", [padded, padded, padded], [packed], valuesCount=3, axis=2)
    window = {"filterHeight": 3, "filterWidth": 2, "strideH": 2, "strideW": 1}
    mean, most = graph.tensor([1, 3, 2, 11]), graph.tensor([1, 4, 3, 11])
    graph.operator("AVERAGE_POOL_2D", [packed], [mean], padding=VALID, **window)
    graph.operator("MAX_POOL_2D", [packed], [most], padding=SAME, fusedActivationFunction=3, **window)
    kept, dropped = graph.tensor([1, 1, 1, 11]), graph.tensor([1, 2])
    graph.operator("MEAN", [mean, graph.constant([1, 2])], [kept], keepDims=True)
    graph.operator("MEAN", [mean, graph.constant([1, 3])], [dropped], keepDims=False)
    scaled = graph.tensor([1, 4, 3, 11])
    graph.operator("MUL", [most, kept], [scaled])
    backwards = graph.tensor([4, 2, 11])
    bounds = [graph.constant(values) for values in ([0, 3, 0, 0], [1, -5, 3, 11], [1, -1, 2, 1])]
    graph.operator("STRIDED_SLICE", [scaled, *bounds], [backwards], shrinkAxisMask=1)
    graph.outputs = [backwards, dropped]
    return pack(graph)


def convolutions() -> bytes:
    """Convolutions that esp-nn tells apart: 1x1, padded, odd channels, strided, dilated, grouped, 4-bit."""
    graph = Graph()
    source = graph.tensor([1, 9, 5, 10])
    graph.inputs = [source]
    single = convolve(graph, source, [16, 1, 1, 10], [1, 9, 5, 16], padding=VALID)
    two = convolve(graph, single, [8, 1, 1, 16], [1, 9, 5, 8], padding=SAME)
    three = convolve(graph, two, [7, 3, 3, 8], [1, 9, 5, 7], padding=SAME)
    four = convolve(graph, three, [6, 2, 3, 7], [1, 4, 3, 6], padding=VALID, strideH=2)
    five = convolve(graph, four, [4, 1, 1, 6], [1, 2, 2, 4], padding=VALID, strideH=2, strideW=2)
    six = convolve(graph, five, [4, 2, 2, 2], [1, 2, 2, 4], padding=SAME, dilationHFactor=2)
    packed = graph.weights([3, 1, 1, 4], channels=3, dtype="INT4")
    seven = graph.tensor([1, 2, 2, 3])
    graph.operator("CONV_2D", [six, packed, -1], [seven], padding=VALID, **UNIT)
    graph.outputs = [seven]
    return pack(graph)


def depthwise_convolutions() -> bytes:
    """Depthwise convolutions of every kind that esp-nn tells apart."""
    graph = Graph()
    source = graph.tensor([1, 9, 7, 16])
    graph.inputs = [source]
    single = depthwise(graph, source, [1, 3, 3, 16], [1, 9, 7, 16], padding=SAME)
    two = depthwise(graph, single, [1, 3, 3, 16], [1, 7, 5, 16], padding=VALID)
    three = depthwise(graph, two, [1, 3, 3, 16], [1, 3, 2, 16], padding=VALID, strideH=2, strideW=2)
    four = depthwise(graph, three, [1, 2, 1, 64], [1, 2, 2, 64], padding=VALID, depthMultiplier=4)
    mixed = convolve(graph, four, [8, 1, 1, 64], [1, 2, 2, 8], padding=VALID)
    five = depthwise(graph, mixed, [1, 3, 3, 8], [1, 2, 2, 8], padding=SAME)
    six = depthwise(graph, five, [1, 2, 2, 24], [1, 1, 1, 24], padding=VALID, depthMultiplier=3)
    graph.outputs = [six]
    return pack(graph)


def wide_dense() -> bytes:
    """A dense layer whose preparation needs more than its plan: 500 scales, and little else."""
    graph = Graph()
    source, output = graph.tensor([1, 3]), graph.tensor([1, 500])
    graph.inputs, graph.outputs = [source], [output]
    graph.operator("FULLY_CONNECTED", [source, graph.weights([500, 3], channels=500), graph.bias(500)], [output])
    return pack(graph)


def floats() -> bytes:
    """No quantisation at all, two inputs, two outputs: TFLM loads it, whatever ESPHome says."""
    graph = Graph()
    item, two, three, four = (graph.tensor([1, 2, 40], "FLOAT32", scales=()) for _ in range(4))
    graph.inputs = [item, two]
    graph.operator("ADD", [item, two], [three])
    graph.operator("MUL", [three, three], [four])
    graph.outputs = [four, three]
    return pack(graph)


def leftovers() -> bytes:
    """Variable tensors, tensors that nothing makes or uses, a subgraph called twice and one never called."""
    graph, called, forgotten = Graph(), Graph(), Graph()
    source, state, summed = graph.tensor([1, 3, 40]), graph.tensor([1, 3, 40], variable=True), graph.tensor([1, 3, 40])
    graph.tensor([5, 5], variable=True)
    undriven = graph.tensor([1, 3, 40])
    graph.inputs, graph.outputs = [source], [summed]
    graph.operator("CALL_ONCE", [], [], initSubgraphIndex=1)
    graph.operator("ADD", [source, state], [undriven])
    graph.operator("CALL_ONCE", [], [], initSubgraphIndex=1)
    graph.operator("ADD", [undriven, graph.tensor([1, 3, 40])], [summed])
    called.outputs = [called.tensor([3, 100])]
    called.operator("QUANTIZE", [called.tensor([3, 100])], called.outputs)
    forgotten.operator("QUANTIZE", [forgotten.tensor([40])], [forgotten.tensor([40])])
    return pack(graph, called, forgotten)


RECORDED: dict[Callable[[], bytes], tuple[tuple[int, int, int, int], ...]] = {
    streaming: ((2348, 416, 1932, 3136), (5116, 3184, 1932, 5120), (5116, 3184, 1932, 5120)),
    shared_state: ((1148, 128, 1020, 1408), (1148, 128, 1020, 1408), (1148, 128, 1020, 1408)),
    shapes: ((1768, 480, 1288, 2144), (1768, 480, 1288, 2144), (1768, 480, 1288, 2144)),
    convolutions: ((2988, 1184, 1804, 2992), (4508, 2672, 1836, 4512), (4508, 2672, 1836, 4512)),
    depthwise_convolutions: ((4572, 2016, 2556, 4576), (6332, 3760, 2572, 6336), (4572, 2016, 2556, 4576)),
    wide_dense: ((4956, 528, 4428, 6656), (4956, 528, 4428, 6656), (4956, 528, 4428, 6656)),
    floats: ((1520, 960, 560, 1520), (1520, 960, 560, 1520), (1520, 960, 560, 1520)),
    leftovers: ((1996, 992, 1004, 2000), (1996, 992, 1004, 2000), (1996, 992, 1004, 2000)),
}


@pytest.mark.parametrize("model", RECORDED, ids=lambda model: model.__name__)
def test_a_synthetic_model_needs_what_the_runtime_measured(model: Callable[[], bytes]) -> None:
    content = model()
    for chip, figures in zip(CHIPS, RECORDED[model], strict=True):
        arena = predict_arena(content, chip)
        assert (arena.used, arena.head, arena.tail, arena.minimum) == figures, chip


# on the esp32s3 with esp-nn 1.1.2; None where the runtime fails or crashes
ON_OTHER_VERSIONS: dict[str, dict[Callable[[], bytes], tuple[int, int, int, int] | None]] = {
    "1.3.1": {
        streaming: (5180, 3184, 1996, 5184),
        shared_state: (1148, 128, 1020, 1408),
        shapes: (1768, 480, 1288, 2144),
        convolutions: (4508, 2672, 1836, 4512),
        depthwise_convolutions: None,
        wide_dense: None,
        floats: (1520, 960, 560, 1520),
        leftovers: (1996, 992, 1004, 2000),
    },
    "1.3.8": {
        streaming: (5116, 3184, 1932, 5120),
        shared_state: (1180, 160, 1020, 1568),
        shapes: (1784, 480, 1304, 2464),
        convolutions: (4508, 2672, 1836, 4512),
        depthwise_convolutions: (6332, 3760, 2572, 6336),
        wide_dense: (4956, 528, 4428, 6656),
        floats: (1520, 960, 560, 1520),
        leftovers: (1996, 992, 1004, 2000),
    },
}


@pytest.mark.parametrize("version", ON_OTHER_VERSIONS)
@pytest.mark.parametrize("model", RECORDED, ids=lambda model: model.__name__)
def test_other_versions_of_the_runtime_need_what_they_measured(model: Callable[[], bytes], version: str) -> None:
    figures, runtime = ON_OTHER_VERSIONS[version][model], RuntimeVersions(version, "1.1.2")
    if figures is None:
        with pytest.raises(UnsupportedModelError):
            predict_arena(model(), "esp32s3", runtime=runtime)
        return
    arena = predict_arena(model(), "esp32s3", runtime=runtime)
    assert (arena.used, arena.head, arena.tail, arena.minimum) == figures


def test_every_registered_operator_is_among_them() -> None:
    used = {operator.op for model in RECORDED for _, operator in read_model(model()).operators()}
    assert used == set(REGISTERED_OPS)


# --- What the runtime refuses ----------------------------------------------------------------------------------------


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_figures_or_one_error(data: st.DataObject) -> None:
    content = bytearray(STREAMING)
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    try:
        arena = predict_arena(bytes(content))
    except MwwError:
        return
    assert 0 < arena.used <= arena.minimum


STREAMING = streaming()
