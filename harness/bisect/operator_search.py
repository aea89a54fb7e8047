"""The first operator, in time and in the model's order, whose result on a target is not the golden one.

All results of a frame are read from a copy of the model that has them as outputs, or from as few copies as the target's
memory allows: of every frame at the beginning, later of the one frame in which the states go wrong. CALL_ONCE and
VAR_HANDLE have no results; a wrong initial state differs from a wrong READ_VARIABLE in what is read one frame later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.targets.base import MAX_EXPOSED, MAX_EXPOSED_BYTES, TensorSource
from mww.core.errors import DeviceError, LinkError, MwwError
from mww.core.progress import Progress
from mww.tflite.model_file import ModelFile, Operator, Quantization, Subgraph, Tensor
from mww.tflite.schema import Options

Frames = npt.NDArray[np.int8]

_CLOSELY: Final = 32
"""Frames at the beginning in which every result is compared: most wrong kernels are wrong at once."""
_DTYPES: Final = {"INT8": "<i1", "UINT8": "<u1", "INT16": "<i2", "INT32": "<i4", "FLOAT32": "<f4", "INT64": "<i8"}


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor as a report names it; scale and zero point are the first channel's, None where it is not quantised."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    channels: int
    constant: bool


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a result differs first.

    Attributes:
        inference: The frame, from 0.
        operator: Index of the operator in the main subgraph.
        op: Its name.
        instance: Its number among the operators of that name, from 1.
        instances: How many there are.
        tensor: Its result; for a state that is wrong, the tensor that it is read into.
        position: Of the first element that differs, an index for each dimension.
        expected: That element in the golden.
        found: That element on the target.
        differing: Elements that differ in that frame.
        elements: Elements in all.
        largest: The largest difference in that frame.
        inputs: What the operator takes; equal on both sides, but for a state that it reads.
    """

    inference: int
    operator: int
    op: str
    instance: int
    instances: int
    tensor: TensorFacts
    position: tuple[int, ...]
    expected: float
    found: float
    differing: int
    elements: int
    largest: float
    inputs: tuple[TensorFacts, ...]


@dataclass(frozen=True, slots=True)
class _Result:
    """An operator's result; the operator is given by its index in the model."""

    operator: Operator
    tensor: Tensor


class OperatorSearch:
    """One search over a clip, from the model's initial state.

    Attributes:
        refused: Operators whose result the target could not give, each with its reason.
        found: The first difference; None without one, and before `run`.
        examined: How many results were compared.
    """

    def __init__(self, model: ModelFile, frames: Frames, target: TensorSource, golden: TensorSource) -> None:
        """Prepare; `frames` `[n, stride, 40]` are the whole clip."""
        self._model, self._frames, self._target, self._golden = model, frames, target, golden
        self._groups = list(_groups(list(_results(model.main))))
        self.found: Divergence | None = None
        self.refused: list[tuple[str, str]] = []
        self.examined = 0
        self._copies: set[tuple[int, ...]] = set()

    def run(self, frames: int, progress: Progress, *, every: bool = False) -> None:
        """Search the first `frames` of the clip; the last frame has a wrong output.

        In the first few every result is compared. Behind those, unless `every` frame is wanted, halving finds one
        before which all states are right and after which they, or the output, are not.
        """
        closely = frames if every else min(frames, _CLOSELY)
        matches = self._compare_all(0, closely, progress)
        if matches is None and frames > closely:
            try:
                start = self._last_right(closely, frames, progress)
                matches = self._compare_all(start, start + 1, progress)
            except MwwError as error:  # not even the states can be read alone
                if _is_lost(error):
                    raise
                matches = self._compare_all(closely, frames, progress)
        progress("inner results", frames, frames)
        self.found = matches and self._blame(matches)

    @property
    def copies(self) -> int:
        """How many changed copies of the model were sent to the target."""
        return len(self._copies)

    def _compare_all(self, start: int, end: int, progress: Progress) -> Divergence | None:
        """The first difference in a range of frames, from as few copies as the target takes."""
        matches: Divergence | None = None
        self.examined = 0
        waiting, self._groups = self._groups, []
        while waiting:
            group = waiting.pop(0)
            until = end if matches is None else matches.inference
            try:
                if until > start:
                    matches = self._compare(group, start, until, progress) or matches
                    self.examined += len(group)
                self._groups.append(group)
            except MwwError as error:
                if _is_lost(error):
                    raise
                if len(group) > 1:  # such as an arena too small to keep all of these to the end
                    waiting[:0] = [group[: len(group) // 2], group[len(group) // 2 :]]
                else:
                    (only,) = group
                    self.refused.append((f"{only.operator.op} {only.operator.index}", error.message))
        return matches

    def _last_right(self, low: int, high: int, progress: Progress) -> int:
        """The last frame before which all states are right; they are before `low`, and not to the end of `high`."""
        main, total = self._model.main, high
        assigned = {operator.inputs[1] for operator in main.operators if operator.op == "ASSIGN_VARIABLE"}
        # What was compared already needs no further copy of the model, if it all went into one.
        together = len(self._groups) == 1 and not self.refused
        results = [item for item in _results(main) if together or item.tensor.index in assigned]
        states = [at for at, result in enumerate(results) if result.tensor.index in assigned]
        while states and high - low > 1:
            middle = (low + high) // 2
            ((expected, matches),) = self._pairs([result.tensor for result in results], middle - 1, middle)
            if all(expected[at] == matches[at] for at in states):
                low = middle
            else:
                high = middle
            progress("inner results", total - (high - low), total)
        return high - 1

    def _pairs(
        self, tensors: Sequence[Tensor], start: int, end: int
    ) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
        """The values of `tensors` on golden engine and target in a range of frames, from the initial state."""
        self._copies.add(tuple(tensor.index for tensor in tensors))
        for source in (self._golden, self._target):
            source.load(self._model.content, tensors)
            source.skip(self._frames[:start])
        frames = self._frames[start:end]
        return zip(self._golden.tensors(frames), self._target.tensors(frames), strict=True)

    def _compare(self, group: Sequence[_Result], start: int, end: int, progress: Progress) -> Divergence | None:
        pairs = self._pairs([result.tensor for result in group], start, end)
        for inference, (expected, entry) in enumerate(pairs, start=start):
            for result, wanted, had in zip(group, expected, entry, strict=True):
                if wanted != had:
                    return self._divergence(inference, result, wanted, had)
            progress("inner results", inference + 1, end)
        return None

    def _divergence(self, inference: int, result: _Result, expected: bytes, matches: bytes) -> Divergence:
        operator, tensor = result.operator, result.tensor
        dtype = np.dtype(_DTYPES[tensor.dtype])
        size = min(len(expected), len(matches)) // dtype.itemsize
        wanted, had = np.frombuffer(expected, dtype, size), np.frombuffer(matches, dtype, size)
        places = np.flatnonzero(wanted != had)
        first = int(places[0]) if len(places) else size - 1
        position = np.unravel_index(first, tensor.shape) if tensor.elements == size else (first,)
        instance, instances = self._instance(operator)
        return Divergence(
            inference=inference,
            operator=operator.index,
            op=operator.op,
            instance=instance,
            instances=instances,
            tensor=self._facts(tensor),
            position=tuple(int(place) for place in position),
            expected=wanted[first].item(),
            found=had[first].item(),
            differing=len(places),
            elements=size,
            largest=float(np.max(np.abs(wanted.astype(np.float64) - had.astype(np.float64)), initial=0)),
            inputs=self._inputs(operator),
        )

    def _instance(self, operator: Operator) -> tuple[int, int]:
        """Its number among the operators of its name, from 1, and how many there are."""
        same = [other.index for other in self._model.main.operators if other.op == operator.op]
        return same.index(operator.index) + 1, len(same)

    def _inputs(self, operator: Operator) -> tuple[TensorFacts, ...]:
        tensors = [self._model.main.tensors[index] for index in operator.inputs if index >= 0]
        return tuple(self._facts(tensor) for tensor in tensors if tensor.dtype in _DTYPES)

    def _facts(self, tensor: Tensor) -> TensorFacts:
        quantized: Quantization | None = tensor.quantization
        return TensorFacts(
            index=tensor.index,
            name=tensor.name,
            dtype=tensor.dtype,
            shape=tensor.shape,
            scale=quantized.scale if quantized else None,
            zero_point=quantized.zero_point if quantized else None,
            channels=len(quantized.scales) if quantized else 0,
            constant=self._model.is_constant(tensor),
        )

    def _blame(self, matches: Divergence) -> Divergence:
        """Take a state that is wrong when it is read for the fault of what put it there, unless reading it is wrong.

        What the frame before assigned was right, or it would have been found. In the first frame nothing was assigned
        yet: there the initial state is wrong if the next frame reads what was assigned.
        """
        main = self._model.main
        reader = main.operators[matches.operator]
        if reader.op != "READ_VARIABLE":
            return matches
        assigned = _assignment(main, reader)
        if matches.inference > 0:
            return self._moved(matches, assigned)
        if assigned and len(self._frames) > 1 and self._reads_assigned(reader, assigned):
            return self._moved(matches, next((other for other in main.operators if other.op == "CALL_ONCE"), None))
        return matches

    def _moved(self, matches: Divergence, operator: Operator | None) -> Divergence:
        """The same difference, attributed to another operator."""
        if operator is None:
            return matches
        instance, instances = self._instance(operator)
        return replace(
            matches,
            operator=operator.index,
            op=operator.op,
            instance=instance,
            instances=instances,
            inputs=self._inputs(operator),
        )

    def _reads_assigned(self, reader: Operator, assignment: Operator) -> bool:
        """Whether the target's second frame reads what its first one assigned."""
        tensors = [self._model.main.tensors[index] for index in (reader.outputs[0], assignment.inputs[1])]
        try:
            (_, first), (_, second) = self._pairs(tensors, 0, 2)
        except DeviceError:
            return False
        return second[0] == first[1]


def _is_lost(error: MwwError) -> bool:
    """Whether the board or its link is gone, which says nothing about an operator."""
    return isinstance(error, LinkError) and not isinstance(error, DeviceError)


def _results(main: Subgraph) -> Iterator[_Result]:
    """Every result that holds data, in order of execution."""
    for operator in main.operators:
        for index in operator.outputs:
            if main.tensors[index].dtype in _DTYPES:
                yield _Result(operator, main.tensors[index])


def _groups(results: Sequence[_Result]) -> Iterator[Sequence[_Result]]:
    """The results in groups, each as large as the number of outputs that a copy of the model may have."""
    start = size = 0
    for at, result in enumerate(results):
        if at > start and (at - start == MAX_EXPOSED or size + result.tensor.nbytes > MAX_EXPOSED_BYTES):
            yield results[start:at]
            start, size = at, 0
        size += result.tensor.nbytes
    if results:
        yield results[start:]


def _assignment(main: Subgraph, reader: Operator) -> Operator | None:
    """The operator that assigns the variable that another operator reads."""
    variable = _variable(main, reader)
    return next(
        (other for other in main.operators if other.op == "ASSIGN_VARIABLE" and _variable(main, other) == variable),
        None,
    )


def _variable(main: Subgraph, operator: Operator) -> Options | None:
    """The name of the variable that an operator reads or assigns."""
    handle = main.producer(operator.inputs[0])
    return handle.options if handle else None
