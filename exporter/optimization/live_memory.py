"""The arena for an order of operators: the lifetimes of tensors, and the size of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.optimization.precedence import Precedence, union
from mww.esphome.chips import CHIP_NAMES
from mww.tflite.model_file import ModelFile
from mww.tflm.arena_allocator import align_up
from mww.tflm.memory_planner import BufferRequirement, Lifetimes, plan_greedily
from mww.tflm.micro_allocator import MicroAllocator, PlacedBuffer, params_alignment
from mww.tflm.runtime import Runtime, Structs, find_runtime


@dataclass(frozen=True, slots=True)
class LiveTensor:
    """A planned tensor of the main graph.

    Attributes:
        size: Bytes, a multiple of 16.
        producer: Mask of the operator that writes it; 0 for inputs of the graph.
        readers: Mask of the operators that read it.
        kept: Whether it is an output of the graph, which lives to the end.
    """

    size: int
    producer: int
    readers: int
    kept: bool


@dataclass(frozen=True, slots=True)
class ChipMemory:
    """One chip (or several, whose kernels are alike), loaded with the model as the file has it.

    Attributes:
        runtime: The tables of the first of them.
        asked: Whether to minimise its arena; other arenas must only not grow.
        plan: The planned buffers, in the planner's order.
        scratch: Bytes of each scratch buffer, by operator of the main graph.
        planning: Bytes that must be there beside the whole tail to make the plan, whatever the order.
        tail: Bytes of the tail.
        rest_of_tail: Bytes of it that lie behind options and kernel data, the same in every order.
        lowest_tail: Bytes that the tail has at least in any order.
        minimum: The minimum, in bytes.
    """

    runtime: Runtime
    asked: bool
    plan: tuple[PlacedBuffer, ...]
    scratch: tuple[tuple[int, ...], ...]
    planning: int
    tail: int
    rest_of_tail: int
    lowest_tail: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Memory:
    """A model: the start of its options and kernel data in the tail, its legal orders, its tensors, and the chips."""

    model: ModelFile
    kernel_data_start: int
    precedence: Precedence
    tensors: tuple[LiveTensor, ...]
    chips: tuple[ChipMemory, ...]

    def estimate(self, order: Sequence[int]) -> tuple[int, ...]:
        """The minimum of each chip with the operators in another order, bytes; `load` decides in the end.

        Only temporary memory of a kernel's preparation is left out here.
        """
        lifetimes = Lifetimes()
        main = self.model.main
        ordered = replace(main, operators=tuple(main.operators[index] for index in order))  # by their old indices
        lifetimes.mark((ordered, *self.model.subgraphs[1:]))
        structs = self.chips[0].runtime.structs
        kernel_data_end = _kernel_data_end(self.model, order, self.kernel_data_start, structs)
        turns = {operator: turn for turn, operator in enumerate(order)}
        return tuple(
            align_up(kernel_data_end + chip.rest_of_tail + max(chip.planning, _head(chip.plan, lifetimes, turns)))
            for chip in self.chips
        )

    def load(self, order: Sequence[int]) -> tuple[int, ...]:
        """The minimum of each chip with the operators in another order, bytes, by a whole simulation."""
        model = reorder(self.model, order)
        return tuple(align_up(allocate(model, chip.runtime).arena.required) for chip in self.chips)


def measure(model: ModelFile, precedence: Precedence, chips: tuple[str, ...]) -> Memory:
    """Load a model on every distinct chip, and note the parts that depend on the order.

    Raises:
        UnsupportedModelError: The runtime would refuse the model.
        UnknownRuntimeError: A chip is not known.
    """
    asked = {id(find_runtime(chip).esp_nn) for chip in chips}
    runtimes = {id(runtime.esp_nn): runtime for runtime in map(find_runtime, reversed(CHIP_NAMES))}
    allocators = [allocate(model, runtime) for runtime in runtimes.values()]
    start = sum(allocators[0].arena.by_kind[kind] for kind in ("infrastructure", "eval_tensors", "nodes"))
    chip_memory = tuple(
        _chip(model, allocator, precedence, start, asked=kernels in asked)
        for kernels, allocator in zip(runtimes, allocators, strict=True)
    )
    return Memory(model, start, precedence, _tensors(model, allocators[0]), chip_memory)


def reorder(model: ModelFile, order: Sequence[int]) -> ModelFile:
    """The model with its main graph's operators in another order."""
    operators = tuple(replace(model.main.operators[old], index=new) for new, old in enumerate(order))
    return replace(model, subgraphs=(replace(model.main, operators=operators), *model.subgraphs[1:]))


def allocate(model: ModelFile, runtime: Runtime) -> MicroAllocator:
    """Load a model."""
    allocator = MicroAllocator(model, runtime)
    allocator.allocate_tensors()
    return allocator


def _tensors(model: ModelFile, allocator: MicroAllocator) -> tuple[LiveTensor, ...]:
    graph = model.main
    producers: dict[int, int] = {}
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for tensor in operator.outputs:
            producers[tensor] = 1 << operator.index
        for tensor in operator.inputs:
            readers[tensor] = readers.get(tensor, 0) | 1 << operator.index
    return tuple(
        LiveTensor(
            size=buffer.requirement.size,
            producer=producers.get(buffer.tensor, 0),
            readers=readers.get(buffer.tensor, 0),
            kept=buffer.tensor in graph.outputs,
        )
        for buffer in allocator.plan
        if buffer.subgraph == 0 and buffer.tensor is not None
    )


def _chip(
    model: ModelFile, allocator: MicroAllocator, precedence: Precedence, start: int, *, asked: bool
) -> ChipMemory:
    operators = range(len(model.main.operators))
    scratch: list[list[int]] = [[] for _ in operators]
    for buffer in allocator.plan:
        if buffer.subgraph == 0 and buffer.operator is not None:
            scratch[buffer.operator].append(buffer.requirement.size)
    arena, structs = allocator.arena, allocator.runtime.structs
    rest = arena.tail - _kernel_data_end(model, operators, start, structs)
    return ChipMemory(
        runtime=allocator.runtime,
        asked=asked,
        plan=tuple(allocator.plan),
        scratch=tuple(map(tuple, scratch)),
        planning=allocator.planning - arena.tail,
        tail=arena.tail,
        rest_of_tail=rest,
        lowest_tail=rest + _lowest_kernel_data_end(model, precedence, start, structs),
        minimum=align_up(arena.required),
    )


def _head(plan: Sequence[PlacedBuffer], lifetimes: Lifetimes, turns: Mapping[int, int]) -> int:
    """The size of the plan with other lifetimes; scratch buffers of the main graph are requested in its order."""
    tensors = [buffer for buffer in plan if buffer.tensor is not None]
    scratch = [buffer for buffer in plan if buffer.tensor is None]
    scratch.sort(key=lambda buffer: (buffer.subgraph, turns[buffer.operator or 0] if buffer.subgraph == 0 else 0))
    requirements = []
    for buffer in (*tensors, *scratch):
        if buffer.tensor is not None:
            first, last = lifetimes.tensor(buffer.subgraph, buffer.tensor)
        else:
            first, last = lifetimes.scratch[buffer.subgraph, buffer.operator or 0]
        requirements.append(BufferRequirement(buffer.requirement.size, first, last))
    offsets = plan_greedily(requirements)
    ends = (offset + requirement.size for offset, requirement in zip(offsets, requirements, strict=True))
    return max(ends, default=0)


def _kernel_data_end(model: ModelFile, order: Sequence[int], start: int, structs: Structs) -> int:
    """The end of options and kernel data, which are stacked from `start` on: their padding depends on the order."""
    main, *others = model.subgraphs
    names = [main.operators[index].op for index in order]
    names += [operator.op for subgraph in others for operator in subgraph.operators]
    end = start
    for name in names:
        size = structs.builtin_params.get(name, 0)
        end = align_up(end + size, params_alignment(size))
    for name in names:
        if name in structs.op_data:
            end = align_up(end + structs.op_data[name])
    return end


def _lowest_kernel_data_end(model: ModelFile, precedence: Precedence, start: int, structs: Structs) -> int:
    """The least end of options and kernel data in any order: padding only before the first kernel's data."""
    names = [operator.op for _, operator in model.operators()]
    options_end = start + sum(structs.builtin_params.get(name, 0) for name in names)
    sizes = [structs.op_data[name] for name in names if name in structs.op_data]
    with_data = union(1 << operator.index for operator in model.main.operators if operator.op in structs.op_data)
    may_be_first = {
        structs.op_data[operator.op]
        for operator in model.main.operators
        if operator.op in structs.op_data and not precedence.all[operator.index] & with_data
    }
    aligned = sum(align_up(size) for size in sizes)
    return min((align_up(options_end + size) - align_up(size) + aligned for size in may_be_first), default=0)
