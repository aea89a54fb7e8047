"""The tensor arena that a model needs on an ESP32, to the byte, from its file alone.

The allocation itself is simulated in `mww.tflm`, whose numbers hold for the runtime versions that a prediction
names; here it becomes the figures that ESPHome's users meet: used, minimum, and what its probe settles on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mww.core.errors import ConfigurationError, UnsupportedModelError
from mww.core.readable import shown
from mww.esphome.chips import CHIP_NAMES, DEFAULT_CHIP
from mww.esphome.contract import DEFAULT_RUNTIME, RuntimeVersions
from mww.esphome.manifest_schema import is_number
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena_allocator import align_up
from mww.tflm.memory_planner import Scope
from mww.tflm.micro_allocator import MicroAllocator, PlacedBuffer
from mww.tflm.runtime import find_runtime

DEFAULT_MARGIN: Final = 0.10
"""Share of the largest minimum that is added to it, as a margin for later releases of the runtime."""

HEAD_KIND: Final = "memory_plan"
"""The only kind of `breakdown` in the head; all others are in the tail."""

TAIL_KINDS: Final = {
    "infrastructure": "allocator and planner",
    "eval_tensors": "tensors",
    "nodes": "operators",
    "builtin_params": "operator options",
    "op_data": "kernel data",
    "channel_quantization": "per-channel quantisation",
    "resource_variables": "streaming state",
    "variable_tensors": "variable tensors",
    "scratch_handles": "scratch handles",
    "input_output_tensors": "input and output",
}
"""The kinds of `breakdown` in the tail, in words."""


@dataclass(frozen=True, slots=True)
class PlannedBuffer:
    """A buffer in the head, for a memory map.

    Attributes:
        name: The tensor's name, or the operator whose scratch memory it is.
        subgraph: Index of its subgraph.
        tensor: Index of the tensor; None for scratch memory.
        offset: Bytes from the start of the arena.
        size: Bytes, a multiple of 16.
        first: Index into `ArenaPrediction.timeline` from where on it is occupied; -1 when nothing creates it.
        last: Index of the last moment at which it is occupied; -1 when nothing uses it.
    """

    name: str
    subgraph: int
    tensor: int | None
    offset: int
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ArenaPrediction:
    """The tensor arena of one model on one chip; all sizes in bytes, for an arena that starts at a multiple of 16.

    Attributes:
        chip: The chip.
        runtime: The library versions that the figures hold for.
        used: `arena_used_bytes()` after allocation: head plus tail.
        head: The memory plan: activations and scratch memory, reused over time.
        tail: What lives as long as the interpreter.
        minimum: The smallest size, in steps of 16, in which `AllocateTensors` succeeds; while it plans and prepares,
            it may need more than it uses afterwards.
        probe: What ESPHome's `probe_arena_size_` allocates, given the manifest's size: 0 when all its attempts fail,
            None when no manifest size was given.
        breakdown: Kind to bytes, in order of allocation; the sum is `used`.
        plan: The buffers in the head.
        timeline: The allocation scopes that `plan` refers to.
    """

    chip: str
    runtime: RuntimeVersions
    used: int
    head: int
    tail: int
    minimum: int
    probe: int | None
    breakdown: tuple[tuple[str, int], ...]
    plan: tuple[PlannedBuffer, ...]
    timeline: tuple[Scope, ...]


def predict_arena(
    model: Path | str | bytes | ModelFile,
    chip: str = DEFAULT_CHIP,
    *,
    manifest_size: int | None = None,
    runtime: RuntimeVersions = DEFAULT_RUNTIME,
) -> ArenaPrediction:
    """Predict the tensor arena of a model on a chip.

    Args:
        model: The `.tflite`: a path, its bytes, or parsed.
        chip: One of `mww.esphome.chips`.
        manifest_size: `tensor_arena_size` of the manifest, bytes, where the probe starts.
        runtime: The library versions to predict for.

    Raises:
        ModelFileError: The file cannot be read as a model.
        UnsupportedModelError: The runtime would refuse the model, so no figure exists.
        UnknownRuntimeError: Nothing is known of the chip or version.
    """
    tables = find_runtime(chip, runtime)
    file = model if isinstance(model, ModelFile) else read_model(model)
    _check_static_shapes(file)
    allocator = MicroAllocator(file, tables)
    allocator.allocate_tensors()
    arena = allocator.arena
    used = arena.head + arena.tail
    minimum = align_up(arena.required)
    return ArenaPrediction(
        chip=chip,
        runtime=runtime,
        used=used,
        head=arena.head,
        tail=arena.tail,
        minimum=minimum,
        probe=None if manifest_size is None else probe_arena_size(manifest_size, used, minimum),
        breakdown=((HEAD_KIND, arena.head), *arena.by_kind.items()),
        plan=tuple(_planned(file, buffer) for buffer in allocator.plan),
        timeline=tuple(allocator.lifetimes.scopes),
    )


def predict_arenas(
    model: Path | str | bytes | ModelFile,
    chips: tuple[str, ...] | None = None,
    *,
    manifest_size: int | None = None,
    runtime: RuntimeVersions = DEFAULT_RUNTIME,
) -> tuple[ArenaPrediction, ...]:
    """Predict the arena on several chips (None: all that are known), reading the file once."""
    file = model if isinstance(model, ModelFile) else read_model(model)
    return tuple(
        predict_arena(file, chip, manifest_size=manifest_size, runtime=runtime) for chip in chips or CHIP_NAMES
    )


def fits(minimum: int, manifest_size: int) -> bool:
    """Whether a model loads in the arena that a manifest asks for, at ESPHome's first attempt."""
    return minimum <= align_up(manifest_size)


def probe_arena_size(manifest_size: int, used: int, minimum: int) -> int:
    """The result of ESPHome's `probe_arena_size_` (`streaming_model.cpp`), bytes; 0 when all its attempts fail.

    It tries the manifest's size, 1.5 and 2 times that, then looks for less within the size that worked.
    """
    for attempt in (align_up(manifest_size), align_up(manifest_size * 3 // 2), align_up(manifest_size * 2)):
        if attempt < minimum:
            continue
        lower = align_up(used + 16)
        while lower < attempt:
            if lower >= minimum:
                return lower + 16
            lower = align_up((lower + attempt) // 2)
        return attempt
    return 0


def _check_static_shapes(model: ModelFile) -> None:
    """Refuse an open input or output; within the graph, the converter leaves dimensions open that TFLM knows."""
    main = model.main
    for index in (*main.inputs, *main.outputs):
        tensor = main.tensors[index]
        if any(size < 0 for size in tensor.shape_signature):
            message = f"tensor {tensor.index}, an input or output, has the dynamic shape {list(tensor.shape_signature)}"
            raise UnsupportedModelError(message, hint="TFLM allocates fixed shapes: export with a batch of 1")


def _planned(model: ModelFile, buffer: PlacedBuffer) -> PlannedBuffer:
    subgraph = model.subgraphs[buffer.subgraph]
    if buffer.tensor is not None:
        name = subgraph.tensors[buffer.tensor].name
    else:
        assert buffer.operator is not None
        name = subgraph.operators[buffer.operator].op
    requirement = buffer.requirement
    return PlannedBuffer(
        name=name,
        subgraph=buffer.subgraph,
        tensor=buffer.tensor,
        offset=buffer.offset,
        size=requirement.size,
        first=requirement.first_used,
        last=requirement.last_used,
    )


def with_margin(size: int, margin: float = DEFAULT_MARGIN) -> int:
    """Add a margin to a size and round up to 16, in bytes.

    Raises:
        ConfigurationError: The margin is negative, or no number.
    """
    if not is_number(margin) or not 0 <= margin <= 10:
        raise ConfigurationError(f"the arena margin is {shown(margin)}", hint="give the share to add, such as 0.10")
    millionths = round(margin * 1_000_000)  # in integers: 1.1 times 1600 is 1760, not 1760.0000000000002
    return align_up(-(-size * (1_000_000 + millionths) // 1_000_000))
