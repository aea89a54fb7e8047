"""Models that the runtime cannot prepare have no figure, and what TFLM overlooks is overlooked here too."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pytest

from mww.core.errors import UnsupportedModelError
from mww.tflm.arena import predict_arena
from tests.support.synthetic import Graph, pack

Tensor: TypeAlias = tuple[tuple[int, ...], dict[str, Any]]

UNIT = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
SAME, VALID = 0, 1


def one_operator(name: str, inputs: list[Tensor], output: Tensor, **options: object) -> bytes:
    """A model of one operator, its tensors as `Graph.tensor` takes them."""
    graph = Graph()
    numbers = [graph.tensor(shape, **settings) for shape, settings in inputs]
    result = graph.tensor(output[0], **output[1])
    graph.inputs, graph.outputs = numbers[:1], [result]
    graph.operator(name, numbers, [result], **options)
    return pack(graph)


def plain(*shape: int, **settings: object) -> Tensor:
    """A tensor, int8 unless told."""
    return shape, settings


def index(*values: int) -> Tensor:
    """A constant int32 vector."""
    data = b"".join(value.to_bytes(4, "little", signed=True) for value in values)
    return (len(values),), {"dtype": "INT32", "scales": (), "data": data}


def kernel(*shape: int, scales: int = 1, **settings: object) -> Tensor:
    """Constant int8 weights."""
    data = b"\x01" * int(np.prod(shape))
    return shape, {"scales": [0.01] * scales, "data": data, **settings}


REFUSED = {
    "ADD without a scale": (one_operator("ADD", [plain(4), plain(4)], plain(4, scales=())), "not quantised"),
    "ADD to a scale of 0": (one_operator("ADD", [plain(4), plain(4)], plain(4, scales=[0.0])), "scale is not positive"),
    "ADD to a scale too small": (one_operator("ADD", [plain(4), plain(4)], plain(4, scales=[1e-8])), "too small"),
    "MUL of two types": (one_operator("MUL", [plain(4), plain(4, dtype="INT16")], plain(4)), "INT8 times INT16"),
    "LOGISTIC to another zero point": (one_operator("LOGISTIC", [plain(4)], plain(4)), "zero point is 0, not -128"),
    "QUANTIZE without a scale": (one_operator("QUANTIZE", [plain(4)], plain(4, scales=())), "no scale, or several"),
    "RESHAPE to another size": (one_operator("RESHAPE", [plain(4)], plain(5), newShape=[5]), "as many elements"),
    "CONCATENATION of 11": (one_operator("CONCATENATION", [plain(1)] * 11, plain(11)), "11 inputs, TFLM takes 10"),
    "CONCATENATION with an activation": (
        one_operator("CONCATENATION", [plain(1)], plain(1), fusedActivationFunction=1),
        "has an activation",
    ),
    "CONCATENATION across scales": (
        one_operator("CONCATENATION", [plain(1, scales=[0.5])], plain(1)),
        "quantised differently",
    ),
    "STRIDED_SLICE of five dimensions": (
        one_operator("STRIDED_SLICE", [plain(1, 1, 1, 1, 2), *[index(0, 0, 0, 0, 0)] * 3], plain(1)),
        "5 dimensions",
    ),
    "STRIDED_SLICE to another shape": (
        one_operator("STRIDED_SLICE", [plain(4), index(0), index(2), index(1)], plain(3)),
        r"slices \[2\], its output is \[3\]",
    ),
    "STRIDED_SLICE of no stride": (
        one_operator("STRIDED_SLICE", [plain(4), index(0), index(2), index(0)], plain(3)),
        "stride is 0",
    ),
    "STRIDED_SLICE by what is not known": (
        one_operator("STRIDED_SLICE", [plain(4), *[plain(1, dtype="INT32")] * 3], plain(3)),
        "not constant",
    ),
    "PAD to another shape": (one_operator("PAD", [plain(4), index(1, 1)], plain(4)), r"pads to \[6\]"),
    "MEAN over a float axis": (
        one_operator("MEAN", [plain(1, 4), plain(1, dtype="FLOAT32")], plain(1)),
        "axis is FLOAT32",
    ),
    "AVERAGE_POOL_2D of unsigned": (
        one_operator("AVERAGE_POOL_2D", [plain(1, 2, 2, 1, dtype="UINT8")], plain(1, 2, 2, 1, dtype="UINT8")),
        "UINT8 is not supported",
    ),
    "SPLIT_V along what is not known": (
        one_operator("SPLIT_V", [plain(4), index(4), plain(1, dtype="INT32")], plain(4)),
        "axis is not constant",
    ),
    "CONV_2D of another depth": (
        one_operator("CONV_2D", [plain(1, 2, 2, 3), kernel(1, 1, 1, 2)], plain(1, 2, 2, 1), **UNIT),
        "3 channels, 2 in the filter",
    ),
    "CONV_2D with a scale too few": (
        one_operator("CONV_2D", [plain(1, 2, 2, 3), kernel(4, 1, 1, 3, scales=3)], plain(1, 2, 2, 4), **UNIT),
        "3 scales for 4 channels",
    ),
    "CONV_2D of floats and integers": (
        one_operator(
            "CONV_2D",
            [plain(1, 2, 2, 3, dtype="FLOAT32"), kernel(4, 1, 1, 3)],
            plain(1, 2, 2, 4, dtype="FLOAT32"),
            **UNIT,
        ),
        "FLOAT32 with INT8 weights",
    ),
    "DEPTHWISE_CONV_2D without dilation": (
        one_operator(
            "DEPTHWISE_CONV_2D", [plain(1, 2, 2, 3), kernel(1, 1, 1, 3)], plain(1, 2, 2, 3), dilationWFactor=0
        ),
        "dilation is",
    ),
    "FULLY_CONNECTED of another type": (
        one_operator("FULLY_CONNECTED", [plain(1, 3), kernel(2, 3)], plain(1, 2, dtype="INT16")),
        "INT8 in, INT16 out",
    ),
    "FULLY_CONNECTED with a zero point": (
        one_operator("FULLY_CONNECTED", [plain(1, 3), kernel(2, 3, zero_points=[3])], plain(1, 2)),
        "have a zero point",
    ),
    "an operator that is not registered": (one_operator("SOFTMAX", [plain(4)], plain(4)), "SOFTMAX is not registered"),
    "a dynamic shape": (one_operator("QUANTIZE", [plain(1, 4, signature=[-1, 4])], plain(1, 4)), r"shape \[-1, 4\]"),
    "a type without a size": (one_operator("QUANTIZE", [plain(4)], plain(4, dtype="STRING")), "output is STRING"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_runtime_cannot_prepare_has_no_figure(case: str) -> None:
    content, reason = REFUSED[case]
    with pytest.raises(UnsupportedModelError, match=reason):
        predict_arena(content)


def test_a_dimension_that_is_open_within_the_graph_is_as_the_shape_says() -> None:
    """TFLM reads the shape and never the signature."""
    graph = Graph()
    source, inner, output = graph.tensor([1, 40]), graph.tensor([1, 40], signature=[-1, 40]), graph.tensor([1, 40])
    graph.inputs, graph.outputs = [source], [output]
    graph.operator("QUANTIZE", [source], [inner])
    graph.operator("QUANTIZE", [inner], [output])
    assert predict_arena(pack(graph)).head == 2 * 48


def test_a_depthwise_convolution_must_leave_its_bias_out_altogether() -> None:
    """Marked as left out, TFLM frees a tensor that it never made, and crashes."""
    graph = Graph()
    source, output = graph.tensor([1, 2, 2, 3]), graph.tensor([1, 2, 2, 3])
    graph.inputs, graph.outputs = [source], [output]
    weights = graph.weights([1, 1, 1, 3])
    graph.operator("DEPTHWISE_CONV_2D", [source, weights, -1], [output], **UNIT, depthMultiplier=1)
    with pytest.raises(UnsupportedModelError, match="bias is marked as left out"):
        predict_arena(pack(graph))


def test_there_is_room_for_20_resource_variables() -> None:
    for count, name in ((20, b"v%d"), (40, b"v0")):
        predict_arena(with_variables(count, name))
    with pytest.raises(UnsupportedModelError, match="resource variable 21, ESPHome has room for 20"):
        predict_arena(with_variables(21, b"v%d"))


def with_variables(count: int, name: bytes) -> bytes:
    graph = Graph()
    graph.inputs = graph.outputs = [graph.tensor([1, 3, 40])]
    for number in range(count):
        handle = graph.tensor([], "RESOURCE", scales=())
        graph.operator("VAR_HANDLE", [], [handle], sharedName=name % number if b"%" in name else name)
    return pack(graph)


def test_an_absent_container_is_any_container() -> None:
    """TFLM looks for an absent container by name alone, and crashes where it is the known one that is absent."""

    def state(*containers: bytes | None) -> int:
        graph = Graph()
        source = graph.tensor([1, 3, 40])
        graph.inputs = graph.outputs = [source]
        for container in containers:
            handle = graph.tensor([], "RESOURCE", scales=())
            graph.operator("VAR_HANDLE", [], [handle], container=container, sharedName=b"state")
            graph.operator("ASSIGN_VARIABLE", [handle, source], [])
        return dict(predict_arena(pack(graph)).breakdown)["resource_variables"]

    assert state(b"one", b"two") == 2 * 128
    assert state(b"one", None) == state(None, None) == 128
    with pytest.raises(UnsupportedModelError, match="TFLM cannot compare"):
        state(None, b"one")


@pytest.mark.parametrize("extra, reason", [("custom_options", "custom options"), ("intermediates", "intermediate")])
def test_a_builtin_operator_has_nothing_custom(extra: str, reason: str) -> None:
    graph = Graph()
    source, output = graph.tensor([4]), graph.tensor([4])
    graph.inputs, graph.outputs = [source], [output]
    graph.operator("QUANTIZE", [source], [output], **{extra: [0]})
    with pytest.raises(UnsupportedModelError, match=reason):
        predict_arena(pack(graph))


@pytest.mark.parametrize("targets", [(0,), (1, 1)], ids=["itself", "each other"])
def test_subgraphs_that_call_each_other_without_end_are_refused(targets: tuple[int, ...]) -> None:
    graphs = [Graph() for _ in targets]
    for graph, target in zip(graphs, targets, strict=True):
        graph.operator("CALL_ONCE", [], [], initSubgraphIndex=target)
    with pytest.raises(UnsupportedModelError, match="without end"):
        predict_arena(pack(*graphs))


def test_scratch_memory_that_nothing_calls_is_refused() -> None:
    """TFLM plans it with a size that it never sets."""
    graph, forgotten = Graph(), Graph()
    graph.inputs = graph.outputs = [graph.tensor([1, 3, 40])]
    forgotten.operator("MEAN", [forgotten.tensor([1, 4, 3]), forgotten.constant([1])], [forgotten.tensor([1, 3])])
    with pytest.raises(UnsupportedModelError, match="nothing calls it"):
        predict_arena(pack(graph, forgotten))


def test_an_offline_memory_plan_is_refused() -> None:
    graph = Graph()
    graph.inputs = graph.outputs = [graph.tensor([1, 3, 40])]
    with pytest.raises(UnsupportedModelError, match="offline memory plan"):
        predict_arena(pack(graph, metadata={"OfflineMemoryAllocation": bytes(16)}))
