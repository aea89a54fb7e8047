"""The structure of a model: input, output, layers, streaming state, size, receptive field, and cost per frame."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from exporter.model_analyzer.source import Source, open_source
from mww.tflite.model_file import ModelFile, Operator, Subgraph, Tensor
from mww.tflite.schema import WEIGHTED, Conv2D, DepthwiseConv2D, Pool2D, Reducer
from mww.verification.bounds import output_bounds
from mww.verification.rules import Graph, Subject
from mww.verification.state import state_access


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of an operator in an inference.

    Attributes:
        macs: Multiply-accumulates; for pools and MEAN the additions.
        weight_bytes: Bytes of constants, each read once.
        read_bytes: Activations and state read.
        written_bytes: Activations and state written.
    """

    macs: int = 0
    weight_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.macs + other.macs,
            self.weight_bytes + other.weight_bytes,
            self.read_bytes + other.read_bytes,
            self.written_bytes + other.written_bytes,
        )

    @property
    def moved_bytes(self) -> int:
        """All bytes read and written."""
        return self.weight_bytes + self.read_bytes + self.written_bytes


def operator_cost(model: ModelFile, subgraph: Subgraph, operator: Operator) -> Cost:
    """The cost of an operator; variable handles and CALL_ONCE cost nothing."""
    if operator.op in ("CALL_ONCE", "VAR_HANDLE"):
        return Cost()
    sources = [subgraph.tensors[index] for index in operator.inputs if index >= 0]
    targets = [subgraph.tensors[index] for index in operator.outputs]
    values = [tensor for tensor in sources if tensor.dtype != "RESOURCE"]
    constants = [tensor for tensor in values if model.is_constant(tensor)]
    weights = sum(tensor.nbytes for tensor in constants)
    read = sum(tensor.nbytes for tensor in values) - weights
    written = sum(tensor.nbytes for tensor in targets)
    if operator.op == "READ_VARIABLE":
        read = written
    elif operator.op == "ASSIGN_VARIABLE":
        written = read
    return Cost(_macs(operator, sources, targets), weights, read, written)


def _macs(operator: Operator, sources: list[Tensor], targets: list[Tensor]) -> int:
    if not sources or not targets:
        return 0
    outputs = targets[0].elements
    if operator.op in WEIGHTED and len(sources) > 1 and sources[1].shape:
        weights = sources[1].shape
        taps = weights[1:3] if operator.op == "DEPTHWISE_CONV_2D" else weights[1:]
        return outputs * prod(taps)
    if isinstance(operator.options, Pool2D):
        return outputs * max(0, prod(operator.options.filter))
    if operator.op == "MEAN":
        return sources[0].elements
    return outputs if operator.op in ("ADD", "MUL") else 0


@dataclass(frozen=True, slots=True)
class Hearing:
    """The slices in the receptive field of an element along time, and the distance of two neighbours in slices."""

    slices: int
    step: int


def context_slices(model: ModelFile) -> int | None:
    """The number of slices that the output depends on; None where the graph cannot be followed."""
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
    """Whether an operator combines the time axis: by flattening, averaging, or a dense layer."""
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


_COMPUTING: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "ADD",
                     "MUL", "LOGISTIC", "QUANTIZE")  # fmt: skip


@dataclass(frozen=True, slots=True)
class End:
    """The model's input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of the main subgraph.

    Attributes:
        index: Its place in execution order.
        op: The operator.
        name: Name of its first output.
        kind: "compute", or "move" for an operator that only arranges values and state.
        shape: Shape of its first output; empty without one.
        window: (height, width) of its kernel or pool, or None.
        stride: (height, width), or None.
        activation: Fused activation, or None.
        parameters: Weights and biases.
        cost: Its work in one inference.
    """

    index: int
    op: str
    name: str
    kind: str
    shape: tuple[int, ...]
    window: tuple[int, int] | None
    stride: tuple[int, int] | None
    activation: str | None
    parameters: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class StateBuffer:
    """A resource variable; `slices` is its length along time."""

    name: str
    shape: tuple[int, ...]
    slices: int
    size: int
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class ModelAnalysis:
    """The structure of a model.

    Attributes:
        model: Its path.
        sha256: sha256 of the file.
        size: Bytes of the file.
        schema_version: Schema version of the flatbuffer.
        subgraphs: Number of subgraphs.
        input: The first input, or None.
        output: The first output, or None.
        stride: Slices a frame, or None.
        feature_step_ms: Milliseconds a slice, by the manifest, or None.
        context_slices: Slices that an output hears, or None where the graph cannot be followed.
        highest_output: The highest byte that the output can reach, or None where that is not known.
        layers: The main subgraph's operators.
        operators: Operator to how often it occurs, in all subgraphs.
        states: The resource variables.
        parameters: Weights and biases of all layers.
        cost: The work of one inference.
    """

    model: str
    sha256: str
    size: int
    schema_version: int
    subgraphs: int
    input: End | None
    output: End | None
    stride: int | None
    feature_step_ms: int | None
    context_slices: int | None
    highest_output: int | None
    layers: tuple[Layer, ...]
    operators: dict[str, int]
    states: tuple[StateBuffer, ...]
    parameters: int
    cost: Cost

    @property
    def state_bytes(self) -> int:
        """Bytes of all resource variables."""
        return sum(state.size for state in self.states)


def analyze_model_architecture(path: Path | str) -> ModelAnalysis:
    """Describe the structure of a `.tflite`, or of a manifest's model.

    Raises:
        ModelFileError: The model cannot be read.
        ManifestError: The manifest cannot be read, or breaks the schema.
    """
    return analyze_source(open_source(path))


def analyze_source(source: Source) -> ModelAnalysis:
    """Describe the structure of a parsed model."""
    model = source.model
    subject = Subject(model)
    layers = tuple(_layer(model, operator) for operator in model.main.operators)
    counts: dict[str, int] = {}
    for _, operator in model.operators():
        counts[operator.op] = counts.get(operator.op, 0) + 1
    shape = subject.input.shape if subject.input is not None else ()
    return ModelAnalysis(
        model=str(source.path),
        sha256=model.sha256,
        size=len(model.content),
        schema_version=model.version,
        subgraphs=len(model.subgraphs),
        input=_end(subject.input),
        output=_end(subject.output),
        stride=shape[1] if len(shape) == 3 else None,
        feature_step_ms=source.manifest.feature_step_size if source.manifest else None,
        context_slices=context_slices(model),
        highest_output=output_bounds(subject)[1],
        layers=layers,
        operators=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        states=_states(subject.main),
        parameters=sum(layer.parameters for layer in layers),
        cost=sum((layer.cost for layer in layers), Cost()),
    )


def _end(tensor: Tensor | None) -> End | None:
    if tensor is None:
        return None
    scale, zero_point = _parameters(tensor)
    return End(tensor.name, tensor.shape, tensor.dtype, scale, zero_point)


def _parameters(tensor: Tensor) -> tuple[float | None, int | None]:
    if tensor.quantization is None:
        return None, None
    return tensor.quantization.scale, tensor.quantization.zero_point


def _layer(model: ModelFile, operator: Operator) -> Layer:
    tensors = model.main.tensors
    target = tensors[operator.outputs[0]] if operator.outputs else None
    constants = [tensors[index] for index in operator.inputs[1:] if index >= 0 and model.is_constant(tensors[index])]
    computes = operator.op in _COMPUTING
    options = operator.options
    window = options.filter if isinstance(options, Pool2D) else None
    if isinstance(options, Conv2D | DepthwiseConv2D) and constants and len(constants[0].shape) == 4:
        window = constants[0].shape[1], constants[0].shape[2]
    activation = getattr(options, "activation", None)
    return Layer(
        index=operator.index,
        op=operator.op,
        name=target.name if target is not None else "",
        kind="compute" if computes else "move",
        shape=target.shape if target is not None else (),
        window=window,
        stride=options.stride if isinstance(options, Conv2D | DepthwiseConv2D | Pool2D) else None,
        activation=activation if activation != "NONE" else None,
        parameters=sum(tensor.elements for tensor in constants) if computes and operator.op != "MEAN" else 0,
        cost=operator_cost(model, model.main, operator),
    )


def _states(graph: Graph) -> tuple[StateBuffer, ...]:
    buffers: dict[str, StateBuffer] = {}
    access = state_access(graph)
    for use in access.reads + access.assigns:
        value = use.value
        scale, zero_point = _parameters(value)
        slices = value.shape[1] if len(value.shape) > 2 else 0
        buffers.setdefault(use.key, StateBuffer(use.key, value.shape, slices, value.nbytes, scale, zero_point))
    return tuple(buffers[key] for key in dict.fromkeys(access.handles) if key in buffers)
