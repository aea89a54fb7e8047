"""What is read from a model is written as it was read."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pymicro_wakeword
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mww.tflite.model_file import ModelFile, Operator, Subgraph, read_model
from mww.tflite.model_writer import write_model
from mww.tflite.schema import ACTIVATIONS, OPERATORS_WITH_OPTIONS, PADDINGS

MODELS = sorted((Path(pymicro_wakeword.__file__).parent / "models").glob("*.tflite"))


def _buffers(model: ModelFile) -> list[bytes]:
    return [model.content[buffer.offset : buffer.offset + buffer.size] for buffer in model.buffers]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_published_model_is_written_as_it_was_read(path: Path) -> None:
    model = read_model(path)
    again = read_model(write_model(model.subgraphs, _buffers(model)))
    for graph, other in zip(model.subgraphs, again.subgraphs, strict=True):
        assert (other.name, other.inputs, other.outputs) == (graph.name, graph.inputs, graph.outputs)
        assert other.operators == graph.operators
        for tensor, written in zip(graph.tensors, other.tensors, strict=True):
            assert (written.name, written.shape, written.dtype) == (tensor.name, tensor.shape, tensor.dtype)
            assert written.quantization == tensor.quantization
            assert again.is_constant(written) == model.is_constant(tensor)
            if model.is_constant(tensor):
                assert again.constant(written).tobytes() == model.constant(tensor).tobytes()


_INT32 = st.integers(-(2**31), 2**31 - 1)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_BY_NAME = {
    "activation": st.sampled_from(ACTIVATIONS),
    "padding": st.sampled_from(PADDINGS),
    "dilation": st.tuples(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)),
    "weights_format": st.integers(-128, 127),
}
_BY_TYPE = {
    "int": _INT32,
    "bool": st.booleans(),
    "str": _TEXT,
    "str | None": st.none() | _TEXT,
    "tuple[int, int]": st.tuples(_INT32, _INT32),
    "tuple[int, ...]": st.lists(_INT32, max_size=4).map(tuple),
}


@given(st.data())
def test_options_of_every_operator_are_read_as_they_were_written(data: Any) -> None:
    operators = []
    for index, (op, entry) in enumerate(OPERATORS_WITH_OPTIONS.items()):
        values = {
            item.name: (_BY_TYPE | _BY_NAME)[item.name if item.name in _BY_NAME else str(item.type)]
            for item in fields(entry.options)
        }
        options = data.draw(st.builds(entry.options, **values), label=op)
        operators.append(Operator(index, op, "", 1, (), (), (), options, custom_options=False))
    graph = Subgraph(0, "main", (), tuple(operators), (), ())
    assert read_model(write_model([graph], [b""])).main.operators == graph.operators
