"""The operators that only move bytes: each as a view of a block of frames where numpy allows it, else as copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from harness.engines.exact.refusal import BYTES, Node
from harness.engines.exact.scratch import Calls, Values, view_as
from mww.tflite.schema import Concatenation, Pack, StridedSlice


class Move:
    """An operator that moves bytes."""

    def __init__(self, node: Node) -> None:
        for number in range(len(node.operator.inputs)):
            if number == 0 or node.operator.op in ("CONCATENATION", "PACK"):
                dtype = node.input(number).dtype
                if dtype not in BYTES or dtype != node.output.dtype:
                    raise node.refused(f"tensor {node.input(number).index} is {dtype}, not {node.output.dtype}")

    def views(self, sources: Sequence[Values]) -> list[Values] | None:
        """The outputs as views of the inputs `[frames, *shape]`; None where they must be copied."""
        return None

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """Append the copies that fill the first output; this default is for operators whose output is always a view."""
        views = self.views(sources)
        assert views is not None
        calls.copy(views[0], output)


class Reshape(Move):
    """RESHAPE."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._shape = node.output.shape
        if node.output.elements != node.input(0).elements:
            raise node.refused(f"from {list(node.input(0).shape)} to {list(node.output.shape)}")

    def views(self, sources: Sequence[Values]) -> list[Values] | None:
        """See `Move`."""
        view = view_as(sources[0], (len(sources[0]), *self._shape))
        return None if view is None else [view]

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Move`."""
        calls.copy(sources[0], output.reshape(sources[0].shape))


class Slice(Move):
    """STRIDED_SLICE."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        options, shape = node.options, node.input(0).shape
        assert isinstance(options, StridedSlice)
        for name, mask in (("ellipsis", options.ellipsis_mask), ("new axis", options.new_axis_mask)):
            if mask:
                raise node.refused(f"an {name} mask")
        if options.offset:
            raise node.refused("ends that are offsets")
        bounds = [node.integers(number) for number in (1, 2, 3)]
        if not all(len(bound) == len(shape) for bound in bounds) or 0 in bounds[2]:
            raise node.refused(f"bounds {bounds} for {list(shape)}")
        taken: list[slice | int] = []
        for axis, (begin, end, step) in enumerate(zip(*bounds, strict=True)):
            bit = 1 << axis
            first = None if options.begin_mask & bit else begin
            last = None if options.end_mask & bit else end
            start, stop, _ = slice(first, last, step).indices(shape[axis])
            if options.shrink_axis_mask & bit:
                if not 0 <= start < shape[axis]:
                    raise node.refused(f"element {start} of {shape[axis]}")
                taken.append(start)
            else:
                taken.append(slice(start, stop if stop >= 0 else None, step))
        self.taken: tuple[Any, ...] = tuple(taken)
        node.check_shape(node.output, np.empty(shape, np.bool_)[self.taken].shape)

    def views(self, sources: Sequence[Values]) -> list[Values] | None:
        """See `Move`."""
        whole = (slice(None), *self.taken)
        return [sources[0][whole]]

    def rows(self, shape: Sequence[int]) -> range | None:
        """The slice along axis 1, if it takes all of the other axes; else None."""
        whole = [slice(0, size, 1) for size in shape]
        if len(shape) < 2 or not isinstance(self.taken[1], slice):
            return None
        others = [*self.taken]
        others[1] = whole[1]
        return range(*self.taken[1].indices(shape[1])) if others == whole else None


class Split(Move):
    """SPLIT_V; TFLite Micro never reads the tensor with the sizes, only the shapes of the outputs."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        shape, axes = node.input(0).shape, node.integers(2)
        if len(axes) != 1 or not -len(shape) <= axes[0] < len(shape):
            raise node.refused(f"axis {axes} of {list(shape)}")
        self.axis = axes[0] % len(shape)
        outputs = [node.graph.tensors[index] for index in node.operator.outputs]
        self._sizes = [output.shape[self.axis] if len(output.shape) == len(shape) else -1 for output in outputs]
        if sum(self._sizes) != shape[self.axis]:
            raise node.refused(f"parts {self._sizes} of {list(shape)}")
        for output, size in zip(outputs, self._sizes, strict=True):
            node.check_shape(output, [size if axis == self.axis else whole for axis, whole in enumerate(shape)])

    def parts(self) -> list[range]:
        """The slice of each output along the axis."""
        ends = np.cumsum(self._sizes).tolist()
        return [range(end - size, end) for end, size in zip(ends, self._sizes, strict=True)]

    def views(self, sources: Sequence[Values]) -> list[Values] | None:
        """See `Move`."""
        before = (slice(None),) * (self.axis + 1)
        places = [(*before, slice(part.start, part.stop)) for part in self.parts()]
        return [sources[0][place] for place in places]


class Concatenate(Move):
    """CONCATENATION, which never rescales."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        options, shape = node.options, node.output.shape
        assert isinstance(options, Concatenation)
        if options.activation != "NONE":
            raise node.refused(f"the activation {options.activation}")
        if not -len(shape) <= options.axis < len(shape):
            raise node.refused(f"axis {options.axis} of {list(shape)}")
        self.axis = options.axis % len(shape)
        sources = [node.input(number) for number in range(len(node.operator.inputs))]
        for source in sources:
            size = source.shape[self.axis] if len(source.shape) == len(shape) else -1
            node.check_shape(source, [size if axis == self.axis else whole for axis, whole in enumerate(shape)])
        if sum(source.shape[self.axis] for source in sources) != shape[self.axis]:
            raise node.refused(f"inputs that do not add up to {list(shape)}")

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Move`."""
        start, before = 0, (slice(None),) * (self.axis + 1)
        for source in sources:
            size = source.shape[self.axis + 1]
            place = (*before, slice(start, start + size))
            calls.copy(source, output[place])
            start += size


class Stack(Move):
    """PACK."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        options, shape = node.options, node.output.shape
        assert isinstance(options, Pack)
        if not -len(shape) <= options.axis < len(shape) or options.count != len(node.operator.inputs):
            raise node.refused(f"axis {options.axis} of {list(shape)}, {options.count} values")
        self._axis = options.axis % len(shape)
        if shape[self._axis] != options.count:
            raise node.refused(f"{options.count} values in {list(shape)}")
        for number in range(options.count):
            node.check_shape(node.input(number), [size for axis, size in enumerate(shape) if axis != self._axis])

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Move`."""
        stacked = np.moveaxis(output, self._axis + 1, 0)
        for index, source in enumerate(sources):
            calls.copy(source, stacked[index])


class Pad(Move):
    """PAD: with the output's zero point."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        shape = node.input(0).shape
        around = node.integers(1)
        if len(around) != 2 * len(shape) or min(around, default=0) < 0:
            raise node.refused(f"{around} around {list(shape)}")
        self._before = around[::2]
        node.check_shape(node.output, [sum(sizes) for sizes in zip(shape, around[::2], around[1::2], strict=True)])
        self._value = node.quantization(node.output, "INT8").zero_point

    def bind(self, calls: Calls, sources: Sequence[Values], output: Values) -> None:
        """See `Move`."""
        output[...] = self._value
        ends = zip(self._before, sources[0].shape[1:], strict=True)
        inside = (slice(None), *(slice(before, before + size) for before, size in ends))
        calls.copy(sources[0], output[inside])


MOVES: Final[dict[str, Callable[[Node], Move]]] = {
    "RESHAPE": Reshape,
    "STRIDED_SLICE": Slice,
    "SPLIT_V": Split,
    "CONCATENATION": Concatenate,
    "PACK": Stack,
    "PAD": Pad,
}
