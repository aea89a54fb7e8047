"""A lower bound over all orders of the operators, with which a search can prove that its order is the best."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.optimization.live_memory import ChipMemory, LiveTensor, Memory
from exporter.optimization.precedence import Precedence, bits
from mww.tflm.arena_allocator import align_up


@dataclass(frozen=True, slots=True)
class _Placed:
    """A tensor, or the scratch memory of an operator, at its place in every order."""

    tensor: LiveTensor | None
    operator: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class Limit:
    """A size in bytes below which no legal order brings a chip's minimum, and its reason."""

    size: int
    reason: str


def lowest_minimum(memory: Memory, chip: ChipMemory) -> Limit:
    """The highest of the known limits."""
    heads = {
        "making the memory plan needs as much": chip.planning,
        "an operator uses as much at once": _largest_forced(memory, chip),
        "the largest buffers lie in the same places in every order": _largest_settled(memory, chip),
    }
    reason, head = max(heads.items(), key=lambda item: item[1])
    return Limit(align_up(chip.lowest_tail + head), reason)


def _largest_forced(memory: Memory, chip: ChipMemory) -> int:
    """The largest sum of bytes that are alive at an operator in every order; they must be side by side."""
    return max(
        (
            sum(chip.scratch[operator])
            + sum(tensor.size for tensor in memory.tensors if _alive(memory.precedence, tensor, operator))
            for operator in range(memory.precedence.operators)
        ),
        default=0,
    )


def _largest_settled(memory: Memory, chip: ChipMemory) -> int:
    """The end of the buffers that the planner places equally in every order.

    It places the largest first. While no order can change which of them live at the same time, their places are known;
    the first pair that depends on the order ends this argument.
    """
    buffers = [_Placed(tensor, -1, tensor.size, 0) for tensor in memory.tensors]
    buffers += [_Placed(None, index, size, 0) for index, sizes in enumerate(chip.scratch) for size in sizes]
    by_size = sorted(reversed(buffers), key=lambda buffer: -buffer.size)
    placed: list[_Placed] = []
    for buffer in by_size:
        meetings = [_meet(memory.precedence, buffer, other) for other in placed]
        tie = buffer.tensor is None and any(other.tensor is None and other.size == buffer.size for other in placed)
        if None in meetings or tie:
            break
        active = sorted((other.offset, other.size) for other, meet in zip(placed, meetings, strict=True) if meet)
        offset = 0
        for start, size in active:
            if start - offset >= buffer.size:
                break
            offset = max(offset, start + size)
        placed.append(_Placed(buffer.tensor, buffer.operator, buffer.size, offset))
    return max((buffer.offset + buffer.size for buffer in placed), default=0)


def _meet(precedence: Precedence, entry: _Placed, other: _Placed) -> bool | None:
    """Whether two buffers live at the same time: in every order, in none, or (None) depending on it."""
    if entry.tensor is None or other.tensor is None:
        if entry.tensor is None and other.tensor is None:
            return entry.operator == other.operator
        tensor, operator = (entry.tensor, other.operator) if entry.tensor else (other.tensor, entry.operator)
        assert tensor is not None
        if _alive(precedence, tensor, operator):
            return True
        return False if _apart_from(precedence, tensor, 1 << operator) else None
    if any(
        _alive(precedence, entry.tensor, operator) and _alive(precedence, other.tensor, operator)
        for operator in range(precedence.operators)
    ):
        return True
    never = _ends_before(precedence, entry.tensor, other.tensor) or _ends_before(precedence, other.tensor, entry.tensor)
    return False if never else None


def _alive(precedence: Precedence, tensor: LiveTensor, operator: int) -> bool:
    """Whether a tensor is alive at an operator's turn in every order."""
    mask = 1 << operator
    if mask & (tensor.producer | tensor.readers):
        return True
    made = not tensor.producer or bool(precedence.all[operator] & tensor.producer)
    needed = tensor.kept or any(precedence.all[reader] & mask for reader in bits(tensor.readers))
    return made and needed


def _apart_from(precedence: Precedence, tensor: LiveTensor, operator: int) -> bool:
    """Whether a tensor is dead before an operator (a mask), or made after it, in every order."""
    index = operator.bit_length() - 1
    users = tensor.readers | tensor.producer
    dead = not tensor.kept and users & ~precedence.all[index] == 0
    unmade = bool(tensor.producer) and bool(precedence.all[tensor.producer.bit_length() - 1] & operator)
    return dead or unmade


def _ends_before(precedence: Precedence, entry: LiveTensor, other: LiveTensor) -> bool:
    """Whether every use of one tensor comes before the other is made, in every order."""
    if entry.kept or not other.producer:
        return False
    users = entry.readers | entry.producer
    return bool(users) and users & ~precedence.all[other.producer.bit_length() - 1] == 0
