"""What each of the device's 20 kernels refuses, one operator at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mww.verification import Check

Judge = Callable[..., Check]


@dataclass(frozen=True)
class T:
    """A tensor, as `judge` takes it."""

    shape: list[int]
    dtype: str = "INT8"
    scale: Any = 0.1
    zero: int = 0
    data: Any = None
    dimension: int = 0


def ints(*values: int) -> T:
    return T([len(values)], "INT32", None, data=values)


SOURCE, WEIGHTS, OUTPUT = T([1, 5, 1, 8]), T([4, 5, 1, 8], scale=[0.01] * 4, data=[1] * 160), T([1, 1, 1, 4])
BIAS = T([4], "INT32", 0.001, data=[0] * 4)
CONV = {"options": "Conv2DOptions", "padding": 1, "strideH": 1, "strideW": 1}
DEPTH_WEIGHTS = T([1, 5, 1, 8], scale=[0.01] * 8, data=[1] * 40, dimension=3)
DEPTH_OUTPUT = T([1, 1, 1, 8])
DEPTHWISE = {"options": "DepthwiseConv2DOptions", "padding": 1, "strideH": 1, "strideW": 1, "depthMultiplier": 1}
DENSE_WEIGHTS, DENSE_BIAS = T([1, 8], scale=0.01, data=[1] * 8), T([1], "INT32", 0.001, data=[0])
DENSE = {"options": "FullyConnectedOptions"}
POOL = {"options": "Pool2DOptions", "padding": 1, "strideH": 1, "strideW": 1, "filterHeight": 5, "filterWidth": 1}
SLICE = {"options": "StridedSliceOptions", "beginMask": 13, "endMask": 13}
BEGIN, END, STEP = ints(0, 1, 0, 0), ints(0, 5, 0, 0), ints(1, 1, 1, 1)
CONCAT = {"options": "ConcatenationOptions", "axis": 1}
SIGMOID = T([1, 1], scale=1 / 256, zero=-128)
SIZES = ints(4, 4)
AXIS = T([], "INT32", None, data=[3])

SOUND: list[tuple[str, list[T], list[T], dict[str, Any]]] = [
    ("CONV_2D", [SOURCE, WEIGHTS, BIAS], [OUTPUT], CONV),
    ("CONV_2D", [SOURCE, WEIGHTS], [OUTPUT], CONV),
    ("CONV_2D", [SOURCE, T([4, 5, 1, 8], scale=0.01, data=[1] * 160), BIAS], [OUTPUT], CONV),
    ("CONV_2D", [T([1, 9, 1, 8]), WEIGHTS], [OUTPUT], {**CONV, "dilationHFactor": 2}),
    ("DEPTHWISE_CONV_2D", [SOURCE, DEPTH_WEIGHTS], [DEPTH_OUTPUT], DEPTHWISE),
    ("FULLY_CONNECTED", [T([1, 1, 1, 8]), DENSE_WEIGHTS, DENSE_BIAS], [T([1, 1])], DENSE),
    ("FULLY_CONNECTED", [T([1, 8]), DENSE_WEIGHTS], [T([1, 1])], DENSE),
    ("AVERAGE_POOL_2D", [SOURCE], [DEPTH_OUTPUT], POOL),
    ("MAX_POOL_2D", [SOURCE], [T([1, 5, 1, 8])], {**POOL, "padding": 0}),
    ("MEAN", [SOURCE, ints(1, 2)], [T([1, 8])], {"options": "ReducerOptions", "keepDims": False}),
    ("MEAN", [SOURCE, ints(-3)], [T([1, 1, 1, 8])], {"options": "ReducerOptions", "keepDims": True}),
    ("ADD", [SOURCE, T([8])], [SOURCE], {"options": "AddOptions"}),
    ("MUL", [SOURCE, SOURCE], [SOURCE], {"options": "MulOptions"}),
    ("LOGISTIC", [T([1, 1])], [SIGMOID], {}),
    ("QUANTIZE", [SIGMOID], [T([1, 1], "UINT8", 1 / 256)], {}),
    ("CONCATENATION", [SOURCE, T([1, 2, 1, 8])], [T([1, 7, 1, 8])], CONCAT),
    ("PACK", [T([1, 8]), T([1, 8])], [T([1, 2, 8])], {"options": "PackOptions", "valuesCount": 2, "axis": 1}),
    ("RESHAPE", [SOURCE, ints(1, 40)], [T([1, 40])], {"options": "ReshapeOptions"}),
    ("PAD", [SOURCE, ints(0, 0, 2, 1, 0, 0, 0, 0)], [T([1, 8, 1, 8])], {}),
    ("STRIDED_SLICE", [SOURCE, BEGIN, END, STEP], [T([1, 4, 1, 8])], SLICE),
    ("STRIDED_SLICE", [SOURCE, BEGIN, END, STEP], [T([1, 1, 8])], {**SLICE, "shrinkAxisMask": 2}),
    ("SPLIT_V", [SOURCE, SIZES, AXIS], [T([1, 5, 1, 4])] * 2, {"options": "SplitVOptions", "numSplits": 2}),
    ("VAR_HANDLE", [], [T([], "RESOURCE")], {"options": "VarHandleOptions", "sharedName": b"state"}),
    ("READ_VARIABLE", [T([], "RESOURCE")], [SOURCE], {"options": "ReadVariableOptions"}),
    ("ASSIGN_VARIABLE", [T([], "RESOURCE"), SOURCE], [], {"options": "AssignVariableOptions"}),
    ("CALL_ONCE", [], [], {"options": "CallOnceOptions", "initSubgraphIndex": 0}),
]


@pytest.mark.parametrize(("op", "inputs", "outputs", "options"), SOUND)
def test_a_sound_operator_is_accepted(
    judge: Judge, op: str, inputs: list[T], outputs: list[T], options: dict[str, Any]
) -> None:
    check = judge(op, inputs, outputs, **options)
    assert check.status == "pass", check.message


REFUSED: list[tuple[str, list[T | None], list[T], dict[str, Any], str]] = [
    ("CONV_2D", [SOURCE], [OUTPUT], CONV, "1 inputs"),
    ("CONV_2D", [SOURCE, None], [OUTPUT], CONV, "left out"),
    ("CONV_2D", [T([1, 5, 8]), WEIGHTS], [OUTPUT], CONV, "3 dimensions"),
    ("CONV_2D", [T([1, 5, 1, 8], "FLOAT32"), WEIGHTS], [OUTPUT], CONV, "filter is INT8"),
    ("CONV_2D", [SOURCE, WEIGHTS], [T([1, 1, 1, 4], "INT16")], CONV, "output is INT16"),
    ("CONV_2D", [T([1, 5, 1, 16]), WEIGHTS], [OUTPUT], CONV, "grouped"),
    ("CONV_2D", [SOURCE, T([4, 5, 1, 8], scale=[0.01] * 3, data=[1] * 160)], [OUTPUT], CONV, "3 scales"),
    ("CONV_2D", [SOURCE, T([4, 5, 1, 8], scale=[0.1] * 4, data=[1] * 160, dimension=3)], [OUTPUT], CONV, "dimension 3"),
    ("CONV_2D", [SOURCE, T([4, 5, 1, 8], scale=0.01, zero=3, data=[1] * 160)], [OUTPUT], CONV, "zero point 3"),
    ("CONV_2D", [SOURCE, T([4, 5, 1, 8], scale=None, data=[1] * 160)], [OUTPUT], CONV, "no quantisation"),
    ("CONV_2D", [SOURCE, WEIGHTS, T([3], "INT32", None, data=[0] * 3)], [OUTPUT], CONV, "3 elements"),
    ("CONV_2D", [SOURCE, WEIGHTS, T([4], data=[0] * 4)], [OUTPUT], CONV, "bias is INT8"),
    ("CONV_2D", [SOURCE, WEIGHTS], [T([1, 2, 1, 4])], CONV, "[1, 2, 1, 4]"),
    ("CONV_2D", [T([1, 4, 1, 8]), WEIGHTS], [OUTPUT], CONV, "does not fit"),
    ("CONV_2D", [SOURCE, WEIGHTS], [OUTPUT], {**CONV, "strideH": 0}, "stride"),
    ("CONV_2D", [SOURCE, WEIGHTS], [OUTPUT], {**CONV, "dilationHFactor": 0}, "dilation"),
    ("CONV_2D", [SOURCE, WEIGHTS], [OUTPUT], {**CONV, "fusedActivationFunction": 4}, "TANH"),
    ("CONV_2D", [T([1, 5, 1, 8], scale=None), WEIGHTS], [OUTPUT], CONV, "input has no quantisation"),
    ("DEPTHWISE_CONV_2D", [SOURCE, DEPTH_WEIGHTS], [DEPTH_OUTPUT], {**DEPTHWISE, "depthMultiplier": 2}, "8 channels"),
    ("DEPTHWISE_CONV_2D", [SOURCE, T([5, 1, 1, 8], data=[1] * 40)], [DEPTH_OUTPUT], DEPTHWISE, "first dimension is 5"),
    ("FULLY_CONNECTED", [T([1, 9]), DENSE_WEIGHTS], [T([1, 1])], DENSE, "9 elements"),
    ("FULLY_CONNECTED", [T([1, 8]), T([2, 8], scale=[0.1, 0.2], data=[1] * 16)], [T([1, 2])], DENSE, "per channel"),
    ("FULLY_CONNECTED", [T([1, 8]), DENSE_WEIGHTS, T([1], "INT32", 0.5, data=[0])], [T([1, 1])], DENSE, "scale 0.5"),
    ("FULLY_CONNECTED", [T([1, 8]), DENSE_WEIGHTS], [T([1, 2])], DENSE, "2 units"),
    ("FULLY_CONNECTED", [T([1, 8]), DENSE_WEIGHTS], [T([1, 1])], {**DENSE, "weightsFormat": 1}, "shuffled"),
    ("AVERAGE_POOL_2D", [SOURCE], [T([1, 1, 1, 8], scale=0.2)], POOL, "quantised differently"),
    ("MAX_POOL_2D", [SOURCE], [T([1, 1, 1, 8])], {**POOL, "filterHeight": 6}, "does not fit"),
    ("MAX_POOL_2D", [T([1, 5, 1, 8], "UINT8")], [T([1, 1, 1, 8], "UINT8")], POOL, "UINT8"),
    ("MEAN", [SOURCE, ints(1, 2, 3)], [T([1])], {"options": "ReducerOptions"}, "3 axes"),
    ("MEAN", [SOURCE, T([1], "INT32", None)], [T([1, 1, 8])], {"options": "ReducerOptions"}, "not an int32 constant"),
    ("MEAN", [SOURCE, ints(4)], [T([1, 1, 8])], {"options": "ReducerOptions"}, "do not exist"),
    ("MEAN", [T([1] * 6), ints(1)], [T([1] * 5)], {"options": "ReducerOptions"}, "6 dimensions"),
    ("ADD", [SOURCE, T([7])], [SOURCE], {"options": "AddOptions"}, "do not broadcast"),
    ("ADD", [SOURCE, SOURCE], [T([1, 5, 1, 8], scale=1e-8)], {"options": "AddOptions"}, "too fine"),
    ("ADD", [SOURCE, SOURCE], [T([1, 5, 1, 8], scale=None)], {"options": "AddOptions"}, "no quantisation"),
    ("ADD", [SOURCE, T([1, 5, 1, 8], "INT16")], [SOURCE], {"options": "AddOptions"}, "INT16"),
    ("MUL", [SOURCE, T([8], "INT32", None)], [SOURCE], {"options": "MulOptions"}, "INT32"),
    ("LOGISTIC", [T([1, 1])], [T([1, 1], scale=1 / 256)], {}, "zero point is 0"),
    ("LOGISTIC", [T([1, 1])], [T([1, 1], scale=1 / 255, zero=-128)], {}, "scale"),
    ("QUANTIZE", [T([1, 1], "UINT8")], [T([1, 1], "INT16")], {}, "output of UINT8 is INT16"),
    ("QUANTIZE", [SOURCE], [T([1, 5, 1, 8], scale=[0.1] * 8)], {}, "per channel"),
    ("CONCATENATION", [SOURCE, T([1, 2, 1, 8], scale=0.2)], [T([1, 7, 1, 8])], CONCAT, "quantised differently"),
    ("CONCATENATION", [SOURCE, SOURCE], [T([1, 9, 1, 8])], CONCAT, "make 10"),
    ("CONCATENATION", [SOURCE], [SOURCE], {**CONCAT, "fusedActivationFunction": 1}, "RELU"),
    ("CONCATENATION", [T([1, 1])] * 11, [T([1, 11])], CONCAT, "11 inputs"),
    ("CONCATENATION", [SOURCE], [SOURCE], {**CONCAT, "axis": 4}, "axis 4"),
    ("PACK", [T([1, 8])], [T([1, 2, 8])], {"options": "PackOptions", "valuesCount": 2, "axis": 1}, "1 inputs"),
    ("PACK", [T([8], "INT16")], [T([1, 8], "INT16")], {"options": "PackOptions", "valuesCount": 1}, "INT16"),
    ("RESHAPE", [SOURCE, ints(1, 39)], [T([1, 39])], {"options": "ReshapeOptions"}, "39 elements"),
    ("RESHAPE", [SOURCE], [T([1, 40], scale=0.3)], {"options": "ReshapeOptions"}, "quantised differently"),
    ("PAD", [SOURCE, T([4, 2], "INT32", None)], [SOURCE], {}, "not an int32 constant"),
    ("PAD", [SOURCE, ints(0, 0, 1, 1)], [T([1, 7, 1, 8])], {}, "4 elements"),
    (
        "PAD",
        [SOURCE, ints(0, 0, 1, 0, 0, 0, 0, 0), T([1], scale=0.5, data=[0])],
        [T([1, 6, 1, 8])],
        {},
        "padding value",
    ),
    ("STRIDED_SLICE", [T([1] * 5), *[ints(*[0] * 5)] * 2, ints(*[1] * 5)], [T([0] * 5)], SLICE, "5 dimensions"),
    ("STRIDED_SLICE", [SOURCE, BEGIN, END, ints(1, 0, 1, 1)], [SOURCE], SLICE, "stride of 0"),
    ("STRIDED_SLICE", [SOURCE, BEGIN, END, STEP], [SOURCE], SLICE, "[1, 5, 1, 8]"),
    ("STRIDED_SLICE", [SOURCE, BEGIN, END, STEP], [T([1, 4, 1, 8])], {**SLICE, "newAxisMask": 1}, "new axis"),
    ("STRIDED_SLICE", [SOURCE, BEGIN, END, T([4], "INT32", None)], [SOURCE], SLICE, "not an int32 constant"),
    ("SPLIT_V", [SOURCE, SIZES, T([], "INT32", None)], [SOURCE], {"options": "SplitVOptions"}, "not an int32 constant"),
    ("SPLIT_V", [SOURCE, SIZES, AXIS], [T([1, 5, 1, 4])] * 3, {"options": "SplitVOptions"}, "make 12"),
    ("VAR_HANDLE", [], [T([], "RESOURCE")], {"options": "VarHandleOptions"}, "no shared name"),
    ("READ_VARIABLE", [SOURCE], [SOURCE], {"options": "ReadVariableOptions"}, "INT8"),
    ("ASSIGN_VARIABLE", [T([], "RESOURCE")], [], {"options": "AssignVariableOptions"}, "1 inputs"),
    ("CALL_ONCE", [], [], {"options": "CallOnceOptions", "initSubgraphIndex": 4}, "subgraph 4"),
]


@pytest.mark.parametrize(("op", "inputs", "outputs", "options", "reason"), REFUSED)
def test_what_the_kernel_refuses_is_told(
    judge: Judge, op: str, inputs: list[T | None], outputs: list[T], options: dict[str, Any], reason: str
) -> None:
    check = judge(op, inputs, outputs, **options)
    assert check.status == "fail"
    assert reason in check.message
    assert check.message.startswith(f"{op} 0: ")
