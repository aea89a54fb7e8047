"""The tensor arena as a map: addresses upwards, operators to the right, and the tensors in between.

This module computes the positions; the page's template draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mww.esphome.chips import DEFAULT_CHIP
from mww.tflite.model_file import ModelFile
from mww.tflm.arena import HEAD_KIND, TAIL_KINDS, ArenaPrediction

WIDTH: Final = 900
HEIGHT: Final = 360
_MAX_BUFFERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of the map, in pixels from the top left."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """A chip's arena, to scale from address 0 at the bottom to `used` at the top."""

    chips: str
    prediction: ArenaPrediction
    head: tuple[Block, ...]
    tail: tuple[Block, ...]
    addresses: tuple[Tick, ...]
    turns: tuple[Tick, ...]


def memory_maps(model: ModelFile, predictions: tuple[ArenaPrediction, ...]) -> tuple[MemoryMap, ...]:
    """A map for each group of chips with equal figures, the default chip's first."""
    groups: dict[tuple[object, ...], list[ArenaPrediction]] = {}
    for prediction in predictions:
        groups.setdefault((prediction.minimum, prediction.breakdown, prediction.plan), []).append(prediction)
    ordered = sorted(groups.values(), key=lambda members: all(member.chip != DEFAULT_CHIP for member in members))
    return tuple(_map(model, members) for members in ordered)


def _map(model: ModelFile, members: list[ArenaPrediction]) -> MemoryMap:
    prediction = members[0]
    scale = HEIGHT / max(1, prediction.used)
    return MemoryMap(
        chips=", ".join(member.chip for member in members),
        prediction=prediction,
        head=_head(model, prediction, scale),
        tail=_tail(prediction, scale),
        addresses=_addresses(prediction.used, scale),
        turns=_turns(len(prediction.timeline)),
    )


def _head(model: ModelFile, prediction: ArenaPrediction, scale: float) -> tuple[Block, ...]:
    step = WIDTH / max(1, len(prediction.timeline))
    blocks = []
    for buffer in prediction.plan[:_MAX_BUFFERS]:
        first, last = max(0, buffer.first), max(0, buffer.first, buffer.last)
        x, width = first * step, (last - first + 1) * step
        height = buffer.size * scale
        y = HEIGHT - (buffer.offset + buffer.size) * scale
        kind = "scratch" if buffer.tensor is None else _kind(model, buffer.subgraph, buffer.tensor)
        what = f"scratch memory of {buffer.name}" if buffer.tensor is None else buffer.name
        span = f"{_turn(model, prediction, first)} to {_turn(model, prediction, last)}"
        title = f"{what}\n{buffer.size:,} bytes at {buffer.offset:,}\nfrom {span}"
        label = f"{buffer.size:,}" if width > 44 and height > 13 else ""
        blocks.append(Block(x, y, width, height, kind, label, title))
    return tuple(blocks)


def _kind(model: ModelFile, subgraph: int, tensor: int) -> str:
    """Colour a tensor by its producer."""
    producer = model.subgraphs[subgraph].producer(tensor)
    if producer is None:
        return "end"
    kinds = {"CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "dense", "READ_VARIABLE": "ring"}
    return kinds.get(producer.op, "move")


def _turn(model: ModelFile, prediction: ArenaPrediction, number: int) -> str:
    if number >= len(prediction.timeline):
        return "the end"
    scope = prediction.timeline[number]
    if scope.operator is None:
        return f"the start of subgraph {scope.subgraph}"
    return f"{model.subgraphs[scope.subgraph].operators[scope.operator].op} {scope.operator}"


def _tail(prediction: ArenaPrediction, scale: float) -> tuple[Block, ...]:
    """The allocations that live as long as the interpreter, from the top down in order."""
    y = 0.0
    blocks = []
    for kind, size in prediction.breakdown:
        if kind == HEAD_KIND or not size:
            continue
        height = size * scale
        name = TAIL_KINDS.get(kind, kind)
        css = "ring" if kind == "resource_variables" else "tail"
        label = f"{name}: {size:,}" if height > 13 else ""
        blocks.append(Block(0, y, WIDTH, height, css, label, f"{name}\n{size:,} bytes, always"))
        y += height
    return tuple(blocks)


def _addresses(used: int, scale: float) -> tuple[Tick, ...]:
    step = next((size for size in (1024, 2048, 4096, 8192, 16384) if used / size <= 10), 65536)
    return tuple(Tick(HEIGHT - address * scale, f"{address // 1024} KiB") for address in range(0, used, step))


def _turns(count: int) -> tuple[Tick, ...]:
    step = max(1, -(-count // 12))
    return tuple(Tick((turn + 0.5) * WIDTH / max(1, count), str(turn)) for turn in range(0, count, step))
