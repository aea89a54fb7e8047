from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pymicro_wakeword
import pytest
from ai_edge_litert import schema_py_generated as schema

from mww.core.errors import ModelFileError
from mww.tflite.model_file import ModelFile, read_model
from mww.tflite.schema import MAX_FILE_SIZE, Conv2D

MODELS = sorted((Path(pymicro_wakeword.__file__).parent / "models").glob("*.tflite"))


def edited(change: Any) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(MODELS[0].read_bytes()))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def listed(values: Any) -> list[Any]:
    return [] if values is None else [value.item() if hasattr(value, "item") else value for value in values]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_published_model_is_what_tensorflows_own_reader_sees(path: Path) -> None:
    model = read_model(path)
    other = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    assert model.version == other.version
    assert len(model.subgraphs) == len(other.subgraphs)
    assert [name for name, _ in model.metadata] == [entry.name.decode() for entry in other.metadata]
    for subgraph, right in zip(model.subgraphs, other.subgraphs, strict=True):
        assert list(subgraph.inputs) == listed(right.inputs)
        assert list(subgraph.outputs) == listed(right.outputs)
        for tensor, their in zip(subgraph.tensors, right.tensors, strict=True):
            assert tensor.name == their.name.decode()
            assert list(tensor.shape) == listed(their.shape)
            scales = listed(their.quantization.scale) if their.quantization else []
            assert (list(tensor.quantization.scales) if tensor.quantization else []) == scales
            data = other.buffers[their.buffer].data
            if data is not None and len(data):
                assert model.constant(tensor).tobytes() == bytes(data)
        for operator, op in zip(subgraph.operators, right.operators, strict=True):
            assert list(operator.inputs) == listed(op.inputs)
            assert list(operator.outputs) == listed(op.outputs)
            if isinstance(operator.options, Conv2D):
                assert operator.options.stride == (op.builtinOptions.strideH, op.builtinOptions.strideW)


def test_constants_are_read_only() -> None:
    model = read_model(MODELS[0])
    tensor = next(tensor for tensor in model.main.tensors if model.is_constant(tensor))
    with pytest.raises(ValueError, match="read-only"):
        model.constant(tensor)[...] = 0


def test_data_that_is_shorter_than_its_shape_is_refused_when_it_is_asked_for() -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[-20].shape = [3, 3]
        model.subgraphs[0].tensors[-20].buffer = next(n for n, b in enumerate(model.buffers) if b.data is not None)

    model = read_model(edited(change))
    with pytest.raises(ModelFileError, match="its shape asks for"):
        model.constant(model.main.tensors[-20])


def test_quantisation_is_what_tflm_takes_it_for() -> None:
    def change(model: Any) -> None:
        item, other, third = model.subgraphs[0].tensors[-3:]
        item.quantization.zeroPoint = None
        other.quantization.scale, other.quantization.zeroPoint = [0.1, 0.2, 0.3], [4, 5]
        third.quantization.scale = []

    item, other, third = read_model(edited(change)).main.tensors[-3:]
    assert item.quantization is None
    assert other.quantization is not None
    assert other.quantization.zero_points == (4, 4, 4)
    assert third.quantization is None


def test_what_is_no_model_gives_one_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        read_model(tmp_path / "absent.tflite")
    with pytest.raises(ModelFileError, match="is not a file"):
        read_model(tmp_path)
    with pytest.raises(ModelFileError, match=r"does not exist|null"):
        read_model("a\0b")
    for content in (b"", b"TFL3", b"\4\0\0\0TFL3", bytes(100), MODELS[0].read_bytes()[:500]):
        with pytest.raises(ModelFileError) as caught:
            read_model(content)
        assert caught.value.hint


def test_a_pipe_does_not_block_and_a_giant_is_not_loaded(tmp_path: Path) -> None:
    pipe, giant = tmp_path / "pipe.tflite", tmp_path / "giant.tflite"
    os.mkfifo(pipe)
    with pytest.raises(ModelFileError, match="is not a file"):
        read_model(pipe)
    with giant.open("wb") as file:
        file.truncate(MAX_FILE_SIZE + 1)
    with pytest.raises(ModelFileError, match="larger than"):
        read_model(giant)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: setattr(model.subgraphs[0].operators[0], "opcodeIndex", 99), "operator code 99"),
        (lambda model: setattr(model.subgraphs[0].operators[9], "inputs", [10_000]), "tensor 10000"),
        (lambda model: setattr(model.subgraphs[0].operators[9], "inputs", [-2]), "tensor -2"),
        (lambda model: setattr(model.subgraphs[0].tensors[5], "buffer", 10_000), "buffer 10000"),
        (lambda model: setattr(model.subgraphs[0].tensors[5], "shape", [-5]), "impossible shape"),
        (lambda model: setattr(model.subgraphs[0].tensors[5], "shape", [2**30, 2**30]), "impossible shape"),
        (lambda model: setattr(model.subgraphs[0].tensors[5], "shape", [1] * 9), "impossible shape"),
        (lambda model: setattr(model.subgraphs[0].tensors[5], "type", 99), "unknown type"),
        (lambda model: setattr(model.subgraphs[0], "outputs", [10_000]), "tensor 10000"),
        (lambda model: setattr(model, "subgraphs", []), "no subgraph"),
        (lambda model: setattr(model.buffers[1], "offset", 2**40) or setattr(model.buffers[1], "size", 8), "leaves"),
    ],
)
def test_an_index_or_size_that_leads_nowhere(change: Any, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_model(edited(change))


def touch(model: ModelFile) -> None:
    """Use everything that a parsed model offers."""
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            assert tensor.elements >= 0
            if model.is_constant(tensor):
                try:
                    assert np.asarray(model.constant(tensor)).nbytes == model.buffers[tensor.buffer].size
                except ModelFileError:
                    continue
        for operator in subgraph.operators:
            assert all(-1 <= index < len(subgraph.tensors) for index in operator.inputs)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A few bytes or words changed, most of them where the tables are, or a piece missing."""
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        position = chance.randrange(max(0, len(data) - 20_000), len(data) - 4) & ~3
        word = chance.choice([0, 1, 4, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1])
        kind = chance.random()
        if kind < 0.5:
            data[position] = chance.randrange(256)
        elif kind < 0.9:
            data[position : position + 4] = word.to_bytes(4, "little")
        else:
            del data[position : position + chance.choice([1, 4, 400])]
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_model_is_parsed_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    outcomes = {True: 0, False: 0}
    for _ in range(100):
        content = mutated(MODELS[seed].read_bytes(), chance)
        try:
            touch(read_model(content))
            outcomes[True] += 1
        except ModelFileError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 10  # the mutations hit, and not only the header
