"""How much sound one output hears: slices of context, followed from the input through windows and ring buffers."""

from __future__ import annotations

from dataclasses import dataclass

from mww.tflite.model_file import ModelFile, Operator, Subgraph
from mww.tflite.operator_options import Conv2D, DepthwiseConv2D, Pool2D, Reducer


@dataclass(frozen=True, slots=True)
class Hearing:
    """Slices that one element along time hears, and how many slices apart two neighbours are."""

    slices: int
    step: int


def context_slices(model: ModelFile) -> int | None:
    """Slices of sound that the output depends on; None where the graph cannot be followed."""
    graph = model.main
    heard: dict[int, Hearing] = {}
    for index in graph.inputs[:1]:
        heard[index] = Hearing(1, 1)
    for operator in graph.operators:
        _follow(graph, operator, heard)
    output = heard.get(graph.outputs[0]) if graph.outputs else None
    return output.slices if output is not None else None


def _follow(graph: Subgraph, operator: Operator, heard: dict[int, Hearing]) -> None:
    known = [heard[index] for index in operator.inputs if index in heard]
    if not known or not operator.outputs:
        return
    widest = max(known, key=lambda hearing: hearing.slices)
    source = graph.tensors[next(index for index in operator.inputs if index in heard)]
    target = graph.tensors[operator.outputs[0]]
    window = _window(graph, operator)
    if window is not None:
        widest = Hearing(widest.slices + (window[0] - 1) * widest.step, widest.step * window[1])
    elif len(source.shape) > 2 and _loses_time(operator, source.shape, target.shape):
        widest = Hearing(widest.slices + max(0, source.shape[1] - 1) * widest.step, widest.step)
    heard.update(dict.fromkeys(operator.outputs, widest))


def _loses_time(operator: Operator, source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether what stood along time is put together in one place: flattened, averaged, or fed to a dense layer."""
    if isinstance(operator.options, Reducer) or operator.op == "FULLY_CONNECTED":
        return True
    return operator.op == "RESHAPE" and (len(target) < 3 or target[1] != source[1])


def _window(graph: Subgraph, operator: Operator) -> tuple[int, int] | None:
    """Extent and stride along time of an operator with a window."""
    options = operator.options
    if isinstance(options, Pool2D):
        return max(1, options.filter[0]), max(1, options.stride[0])
    if not isinstance(options, Conv2D | DepthwiseConv2D) or len(operator.inputs) < 2:
        return None
    weights = graph.tensors[operator.inputs[1]] if operator.inputs[1] >= 0 else None
    if weights is None or len(weights.shape) != 4:
        return None
    return max(1, (weights.shape[1] - 1) * options.dilation[0] + 1), max(1, options.stride[0])
