"""The graph as a picture: each ring buffer is a node, and all nodes stand in ranks from input to output.

This module computes positions and labels; the page's template draws them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from exporter.model_analyzer.architecture import Layer, ModelAnalysis
from mww.tflite.model_file import ModelFile, Operator
from mww.verification.rules import Graph
from mww.verification.state import state_access

MAX_NODES: Final = 400
"""The most operators of a readable picture; no wake word has more than 150."""

_WIDTH: Final = 190
_HEIGHT: Final = 42
_LANE: Final = 18
"""Width of a line where it passes a rank."""
_COLUMN_GAP: Final = 22
_ROW_GAP: Final = 20

_LABELS: Final = {
    "CONV_2D": ("conv", "Convolution"),
    "DEPTHWISE_CONV_2D": ("depthwise", "Depthwise"),
    "FULLY_CONNECTED": ("dense", "Dense"),
    "AVERAGE_POOL_2D": ("pool", "Average pool"),
    "MAX_POOL_2D": ("pool", "Max pool"),
    "MEAN": ("pool", "Mean"),
    "LOGISTIC": ("act", "Sigmoid"),
    "QUANTIZE": ("act", "Quantize"),
    "ADD": ("act", "Add"),
    "MUL": ("act", "Multiply"),
    "SPLIT_V": ("move", "Split"),
    "STRIDED_SLICE": ("move", "Slice"),
}


@dataclass(slots=True)
class Node:
    """A box, or with `kind` "lane" the place where a line passes; `x` is its middle, `y` its top."""

    label: str
    detail: str
    kind: str
    title: str
    rank: int = 0
    x: float = 0.0
    y: float = 0.0
    parents: list[Node] = field(default_factory=list)

    @property
    def width(self) -> int:
        """Pixels."""
        return _LANE if self.kind == "lane" else _WIDTH

    @property
    def height(self) -> int:
        """Pixels."""
        return _HEIGHT


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, lines as SVG path data, and the size in pixels."""

    nodes: tuple[Node, ...]
    lines: tuple[str, ...]
    width: int
    height: int


def draw(model: ModelFile, analysis: ModelAnalysis) -> Picture | None:
    """Lay out the main subgraph; None when it is too large to be readable."""
    if len(model.main.operators) > MAX_NODES:
        return None
    nodes = _nodes(model, analysis)
    rows = _rows(nodes)
    _place(rows)
    boxes = tuple(node for row in rows for node in row if node.kind != "lane")
    left = min((node.x - node.width / 2 for node in boxes), default=0.0)
    for node in (node for row in rows for node in row):
        node.x -= left
    lines = tuple(_line(parent, node) for row in rows for node in row for parent in node.parents)
    width = max((node.x + node.width / 2 for node in boxes), default=0.0)
    height = len(rows) * (_HEIGHT + _ROW_GAP) - _ROW_GAP
    return Picture(boxes, lines, round(width), max(0, height))


def _nodes(model: ModelFile, analysis: ModelAnalysis) -> list[Node]:
    """Boxes in execution order, which is also an order of the ranks."""
    graph = Graph(model.main)
    hidden, rings = _ring_buffers(graph)
    holders: dict[int, Node] = {}
    nodes: list[Node] = []
    for index in model.main.inputs:
        tensor = model.main.tensors[index]
        node = Node("Input", _shape(tensor.shape), "end", tensor.name)
        holders[index] = node
        nodes.append(node)
    for operator, layer in zip(model.main.operators, analysis.layers, strict=True):
        if operator.index in hidden:
            continue
        node = _ring(layer, rings[operator.index]) if operator.index in rings else _box(layer)
        sources = [holders[index] for index in operator.inputs if index in holders]
        node.parents = list({id(source): source for source in sources}.values())
        node.rank = 1 + max((parent.rank for parent in node.parents), default=-1)
        holders.update(dict.fromkeys(operator.outputs, node))
        nodes.append(node)
    return nodes


def _ring_buffers(graph: Graph) -> tuple[set[int], dict[int, int]]:
    """The operators of a ring buffer's box, and its slices, by the CONCATENATION that is drawn."""
    hidden = {op.index for op in graph.subgraph.operators if op.op in ("CALL_ONCE", "VAR_HANDLE")}
    rings: dict[int, int] = {}
    access = state_access(graph)
    assigns = {use.key: use.operator for use in access.assigns}
    for use in access.reads:
        chain = [use.operator]
        while len(following := graph.consumers.get(chain[-1].outputs[0], [])) == 1 and following[0].outputs:
            chain.append(following[0])
            if following[0].op != "STRIDED_SLICE":
                break
        if chain[-1].op != "CONCATENATION" or use.key not in assigns:
            continue
        rings[chain[-1].index] = use.value.shape[1] if len(use.value.shape) > 2 else 0
        hidden.update(operator.index for operator in chain[:-1])
        hidden.update(_keeping(graph, assigns[use.key]))
    return hidden, rings


def _keeping(graph: Graph, assign: Operator) -> list[int]:
    """An ASSIGN_VARIABLE, with the slice that only it reads."""
    source = graph.producers.get(assign.inputs[1]) if len(assign.inputs) > 1 else None
    alone = source is not None and graph.consumers.get(assign.inputs[1], []) == [assign]
    return (
        [assign.index, source.index]
        if source is not None and alone and source.op == "STRIDED_SLICE"
        else [assign.index]
    )


def _ring(layer: Layer, slices: int) -> Node:
    return Node("Ring buffer", f"keeps {slices} \N{RIGHTWARDS ARROW} {_shape(layer.shape)}", "ring", _title(layer))


def _box(layer: Layer) -> Node:
    kind, label = _LABELS.get(layer.op, ("move", layer.op.replace("_", " ").capitalize()))
    if layer.window is not None:
        label += " {}\N{MULTIPLICATION SIGN}{}".format(*layer.window)
    if layer.stride is not None and max(layer.stride) > 1:
        label += f", stride {max(layer.stride)}"
    detail = _shape(layer.shape)
    if layer.activation is not None:
        detail += f" \N{MIDDLE DOT} {layer.activation}"
    return Node(label, detail, kind, _title(layer))


def _title(layer: Layer) -> str:
    parts = [f"{layer.op} {layer.index}", layer.name]
    parts += [f"{layer.parameters:,} parameters"] if layer.parameters else []
    parts += [f"{layer.cost.macs:,} multiply-accumulates"] if layer.cost.macs else []
    return "\n".join(part for part in parts if part)


def _shape(shape: tuple[int, ...]) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape)) if shape else ""


def _rows(nodes: list[Node]) -> list[list[Node]]:
    """Nodes by rank, with lanes where a line passes a rank, in an order with few crossings."""
    rows: list[list[Node]] = [[] for _ in range(1 + max((node.rank for node in nodes), default=-1))]
    for node in nodes:
        rows[node.rank].append(node)
        node.parents = [_lane(rows, parent, node) for parent in node.parents]
    for row in rows[1:]:
        row.sort(key=lambda node: _mean([parent.x for parent in node.parents]))
        for number, node in enumerate(row):
            node.x = float(number)
    return rows


def _lane(rows: list[list[Node]], parent: Node, child: Node) -> Node:
    """Route a line through the ranks between two nodes; return the node that the child connects to."""
    for rank in range(parent.rank + 1, child.rank):
        lane = Node("", "", "lane", "", rank, parents=[parent])
        rows[rank].append(lane)
        parent = lane
    return parent


def _place(rows: list[list[Node]]) -> None:
    """Give each row its height, and move nodes towards their parents without overlaps."""
    for number, row in enumerate(rows):
        for node in row:
            node.y = number * (_HEIGHT + _ROW_GAP)
        _spread(row, [0.0] * len(row))
    for _ in range(4):
        for row in rows[1:]:
            _spread(row, [_mean([parent.x for parent in node.parents], node.x) for node in row])


def _spread(row: list[Node], wanted: list[float]) -> None:
    """Put nodes as close as possible to their preferred positions, in order, side by side."""
    places: list[float] = []
    for number, (node, want) in enumerate(zip(row, wanted, strict=True)):
        room = (row[number - 1].width + node.width) / 2 + _COLUMN_GAP
        places.append(max(want, places[-1] + room) if places else want)
    shift = _mean([have - want for have, want in zip(places, wanted, strict=True)])
    for node, place in zip(row, places, strict=True):
        node.x = place - shift


def _mean(values: list[float], default: float = 0.0) -> float:
    return sum(values) / len(values) if values else default


def _line(parent: Node, child: Node) -> str:
    start, end = parent.y + _HEIGHT, child.y
    if parent.kind == "lane":
        start = parent.y
    middle = (start + end) / 2
    bend = f"C{parent.x:.0f},{middle:.0f} {child.x:.0f},{middle:.0f} {child.x:.0f},{end:.0f}"
    return f"M{parent.x:.0f},{start:.0f}{bend}"
