"""What is read from a model is written as it was read."""

from pathlib import Path

import pymicro_wakeword
import pytest

from mww.tflite.model_file import ModelFile, read_model
from mww.tflite.model_writer import write_model

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
