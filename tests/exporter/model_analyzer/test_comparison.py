from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pymicro_wakeword
import pytest

from exporter.model_analyzer import compare_models
from tests.support.edited_model import edited_model

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
OKAY_NABU = MODELS / "okay_nabu.tflite"


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    return lambda change: edited_model(OKAY_NABU, change, tmp_path / "edited.tflite")


def test_a_model_is_itself() -> None:
    comparison = compare_models(OKAY_NABU, OKAY_NABU)
    assert comparison.identical
    assert comparison.equivalent
    assert comparison.paired == sum(comparison.a.operators.values()) - len(comparison.a.states) * 2 - 1


def test_names_numbers_and_order_do_not_count(edited: Any) -> None:
    """Tensors renumbered backwards, everything renamed, operators in another order that is as good."""

    def scramble(model: Any) -> None:
        main = model.subgraphs[0]
        count = len(main.tensors)
        main.tensors.reverse()
        for tensor in main.tensors:
            tensor.name = b"other"
        places = [main.inputs, main.outputs]
        for operator in main.operators:
            places += [operator.inputs, operator.outputs]
        main.inputs, main.outputs = [count - 1 - i for i in main.inputs], [count - 1 - i for i in main.outputs]
        for operator in main.operators:
            operator.inputs = [count - 1 - i if i >= 0 else i for i in operator.inputs] if len(operator.inputs) else []
            operator.outputs = [count - 1 - i for i in operator.outputs] if operator.outputs is not None else []
        for graph in model.subgraphs:
            for operator in graph.operators:
                if hasattr(operator.builtinOptions, "sharedName"):
                    operator.builtinOptions.sharedName = b"renamed_" + operator.builtinOptions.sharedName[::-1]
        handles = main.operators[1:6]
        main.operators[1:6] = handles[::-1]

    comparison = compare_models(OKAY_NABU, edited(scramble))
    assert not comparison.identical
    assert comparison.equivalent, comparison.operators
    assert comparison.constants > 30_000


def test_one_weight(edited: Any) -> None:
    def change(model: Any) -> None:
        main = model.subgraphs[0]
        dense = main.operators[-3]
        buffer = model.buffers[main.tensors[dense.inputs[1]].buffer]
        buffer.data = np.array(buffer.data, dtype=np.uint8)
        buffer.data[7] ^= 1

    comparison = compare_models(OKAY_NABU, edited(change))
    assert comparison.operators == ()
    (difference,) = comparison.weights
    assert (difference.op, difference.operand, difference.differing, difference.largest) == ("FULLY_CONNECTED", 1, 1, 1)
    assert 0 < difference.largest_real < 0.1
    assert not comparison.equivalent


def test_one_scale_is_told_once_where_it_is_made(edited: Any) -> None:
    def change(model: Any) -> None:
        main = model.subgraphs[0]
        main.tensors[main.operators[-3].outputs[0]].quantization.scale = [0.5]

    (difference,) = compare_models(OKAY_NABU, edited(change)).operators
    assert (difference.kind, difference.op) == ("changed", "FULLY_CONNECTED")
    assert "scale 0.5" in difference.details[0]


def test_the_state_it_starts_from(edited: Any) -> None:
    def change(model: Any) -> None:
        graph = model.subgraphs[1]
        buffer = model.buffers[graph.tensors[graph.operators[1].inputs[1]].buffer]
        buffer.data = np.zeros(len(buffer.data), np.uint8)

    comparison = compare_models(OKAY_NABU, edited(change))
    assert [difference.details for difference in comparison.operators] == [("initial state",)]


def test_a_missing_operator_leaves_the_others_paired(edited: Any) -> None:
    def change(model: Any) -> None:
        main = model.subgraphs[0]
        quantize = main.operators.pop()
        main.outputs = [quantize.inputs[0]]

    comparison = compare_models(OKAY_NABU, edited(change))
    (difference,) = comparison.operators
    assert (difference.kind, difference.op, difference.b) == ("removed", "QUANTIZE", None)
    assert comparison.weights == ()


def test_two_wake_words_differ_in_weights_and_arena() -> None:
    comparison = compare_models(MODELS / "alexa.tflite", MODELS / "hey_jarvis.tflite")
    assert not comparison.equivalent
    arenas = {arena.chip: (arena.a, arena.b) for arena in comparison.arenas}
    assert arenas["esp32s3"] == (22_144, 22_496)
