"""One small streaming model in which each of ESPHome's 20 operators has a part, and its result a way to the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from mww.esphome.contract import INPUT_SCALE, INPUT_ZERO_POINT
from tests.support.synthetic import Graph, pack

STRIDE = 3
INPUT: Any = {"scales": (INPUT_SCALE,), "zero_points": (INPUT_ZERO_POINT,)}


def every_operator(seed: int = 5) -> bytes:
    """The `.tflite`; int8 `[1, 3, 40]` in, uint8 `[1, 1]` out, one state of two slices."""
    random = np.random.default_rng(seed)
    main = Graph()
    frame = main.tensor([1, STRIDE, 40], **INPUT)
    slices, state, window, kept = (main.tensor([1, size, 1, 40], **INPUT) for size in (3, 2, 5, 2))
    handle = main.tensor([], "RESOURCE", scales=())
    features, left, right = (main.tensor([1, 3, 1, channels], scales=(0.2,)) for channels in (8, 4, 4))
    deep, product, total = (main.tensor([1, 3, 1, 4], scales=(0.3,)) for _ in range(3))
    padded = main.tensor([1, 4, 1, 4], scales=(0.3,))
    averages, maxima = (main.tensor([1, 3, 1, 4], scales=(0.3,)) for _ in range(2))
    pair = main.tensor([2, 1, 3, 1, 4], scales=(0.3,))
    column, mean = main.tensor([1, 6, 1, 4], scales=(0.3,)), main.tensor([1, 4], scales=(0.3,))
    logit = main.tensor([1, 1], scales=(0.1,))
    probability = main.tensor([1, 1], scales=(1 / 256,), zero_points=(-128,))
    output = main.tensor([1, 1], "UINT8", scales=(1 / 256,))
    main.inputs, main.outputs = [frame], [output]

    def weights(shape: tuple[int, ...], dimension: int, scale: float, low: int = -60) -> int:
        data = random.integers(low, 60, shape, np.int8).tobytes()
        return main.tensor(shape, scales=[scale] * shape[dimension], dimension=dimension, data=data)

    def bias(channels: int, scale: float) -> int:
        return main.tensor([channels], "INT32", scales=[scale] * channels, data=bytes(4 * channels))

    main.operator("CALL_ONCE", [], [], initSubgraphIndex=1)
    main.operator("VAR_HANDLE", [], [handle], container=b"", sharedName=b"state")
    main.operator("READ_VARIABLE", [handle], [state])
    main.operator("RESHAPE", [frame, main.constant([1, 3, 1, 40])], [slices], newShape=[1, 3, 1, 40])
    main.operator("CONCATENATION", [state, slices], [window], axis=1)
    begin, end, strides = (main.constant(values) for values in ([0, 3, 0, 0], [1, 5, 1, 40], [1, 1, 1, 1]))
    main.operator("STRIDED_SLICE", [window, begin, end, strides], [kept])
    main.operator("ASSIGN_VARIABLE", [handle, kept], [])
    first = weights((8, 3, 1, 40), 0, 0.001)
    main.operator("CONV_2D", [window, first, bias(8, 0.001 * INPUT_SCALE)], [features], strideW=1, strideH=1, padding=1)
    sizes, axis = main.constant([4, 4]), main.constant(3)
    main.operator("SPLIT_V", [features, sizes, axis], [left, right], numSplits=2)
    second = weights((1, 1, 1, 4), 3, 0.01, low=20)
    options = {"strideW": 1, "strideH": 1, "depthMultiplier": 1, "padding": 1}
    main.operator("DEPTHWISE_CONV_2D", [left, second, bias(4, 0.002)], [deep], **options)
    main.operator("MUL", [deep, right], [product])
    main.operator("ADD", [product, left], [total])
    main.operator("PAD", [total, main.constant([[0, 0], [1, 0], [0, 0], [0, 0]])], [padded])
    pool = {"strideW": 1, "strideH": 1, "filterWidth": 1, "filterHeight": 2, "padding": 1}
    main.operator("AVERAGE_POOL_2D", [padded], [averages], **pool)
    main.operator("MAX_POOL_2D", [padded], [maxima], **pool)
    main.operator("PACK", [averages, maxima], [pair], axis=0, valuesCount=2)
    main.operator("RESHAPE", [pair, main.constant([1, 6, 1, 4])], [column], newShape=[1, 6, 1, 4])
    main.operator("MEAN", [column, main.constant([1, 2])], [mean], keepDims=False)
    third = main.tensor([1, 4], scales=(0.005,), data=random.integers(20, 60, 4, np.int8).tobytes())
    main.operator("FULLY_CONNECTED", [mean, third, bias(1, 0.0015)], [logit])
    main.operator("LOGISTIC", [logit], [probability])
    main.operator("QUANTIZE", [probability], [output])

    return pack(main, _initial())


def _initial() -> Graph:
    """The subgraph that CALL_ONCE runs: the state begins as silence."""
    graph = Graph()
    same = graph.tensor([], "RESOURCE", scales=())
    silence = graph.tensor([1, 2, 1, 40], data=b"\x80" * 80, **INPUT)
    graph.operator("VAR_HANDLE", [], [same], container=b"", sharedName=b"state")
    graph.operator("ASSIGN_VARIABLE", [same, silence], [])
    return graph
