"""The first operator, in time and in the model's order, whose result on a target is not the golden one.

Every operator's result becomes the model's output in turn, on the target and on TFLM, and is compared frame by frame.
An operator is asked only about frames before the earliest difference found so far, so the search ends soon after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from exporter.errors import MwwError
from exporter.model_file import ModelFile, Operator, Subgraph, Tensor
from exporter.operator_options import Options
from harness.bisect.probing import TensorSource, with_output

Frames = npt.NDArray[np.int8]

_DTYPES: Final = {"INT8": "<i1", "UINT8": "<u1", "INT16": "<i2", "INT32": "<i4", "FLOAT32": "<f4", "INT64": "<i8"}


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a result differs first.

    Attributes:
        inference: The frame, from 0.
        operator: Index of the operator in the main subgraph.
        op: Its name.
        tensor: Index of its result.
        tensor_name: That tensor's name.
        shape: That tensor's shape.
        position: Of the first element that differs.
        expected: That element in the golden.
        found: That element on the target.
        differing: Elements that differ in that frame.
        elements: Elements in all.
    """

    inference: int
    operator: int
    op: str
    tensor: int
    tensor_name: str
    shape: tuple[int, ...]
    position: tuple[int, ...]
    expected: float
    found: float
    differing: int
    elements: int


class OperatorSearch:
    """One search, over the frames up to the first output that differs.

    Attributes:
        refused: Operators that the target could not be asked about, each with its reason.
        examined: How many were compared.
    """

    def __init__(self, model: ModelFile, frames: Frames, target: TensorSource, golden: TensorSource) -> None:
        self._model, self._frames, self._target, self._golden = model, frames, target, golden
        self.refused: list[tuple[str, str]] = []
        self.examined = 0

    def run(self, progress: Callable[[str, int, int], None]) -> Divergence | None:
        """Search; None where no operator's own result differs in those frames."""
        main = self._model.main
        results = list(_results(main))
        found: Divergence | None = None
        for number, (operator, tensor) in enumerate(results, start=1):
            frames = self._frames if found is None else self._frames[: found.inference]
            if not len(frames):
                break
            try:
                found = self._compare(operator, tensor, frames) or found
                self.examined += 1
            except MwwError as error:  # such as an arena too small for this tensor to live to the end
                self.refused.append((f"{operator.op} {operator.index}", error.message))
            progress("operators", number, len(results))
        progress("operators", len(results), len(results))
        return found and _blame(main, found)

    def _compare(self, operator: Operator, tensor: Tensor, frames: Frames) -> Divergence | None:
        content = with_output(self._model.content, tensor.index)
        for source in (self._golden, self._target):
            source.load(content)
        pairs = zip(self._golden.tensors(frames), self._target.tensors(frames), strict=False)
        for inference, (expected, found) in enumerate(pairs):
            if expected != found:
                return _divergence(inference, operator, tensor, expected, found)
        return None


def _results(main: Subgraph) -> Iterator[tuple[Operator, Tensor]]:
    """Every result that is data, in order of execution."""
    for operator in main.operators:
        for index in operator.outputs:
            if main.tensors[index].dtype in _DTYPES:
                yield operator, main.tensors[index]


def _divergence(inference: int, operator: Operator, tensor: Tensor, expected: bytes, found: bytes) -> Divergence:
    dtype = np.dtype(_DTYPES[tensor.dtype])
    size = min(len(expected), len(found)) // dtype.itemsize
    wanted, had = np.frombuffer(expected, dtype, size), np.frombuffer(found, dtype, size)
    places = np.flatnonzero(wanted != had)
    first = int(places[0]) if len(places) else size - 1
    position = np.unravel_index(first, tensor.shape) if tensor.elements == size else (first,)
    return Divergence(
        inference=inference,
        operator=operator.index,
        op=operator.op,
        tensor=tensor.index,
        tensor_name=tensor.name,
        shape=tensor.shape,
        position=tuple(int(place) for place in position),
        expected=wanted[first].item(),
        found=had[first].item(),
        differing=len(places),
        elements=size,
    )


def _blame(main: Subgraph, found: Divergence) -> Divergence:
    """Take a state that is wrong when it is read for its assignment's fault.

    What the frame before assigned was right, or it would have been found; in the first frame nothing was assigned.
    """
    reader = main.operators[found.operator]
    if reader.op != "READ_VARIABLE" or found.inference == 0:
        return found
    for operator in main.operators:
        if operator.op == "ASSIGN_VARIABLE" and _variable(main, operator) == _variable(main, reader):
            return replace(found, operator=operator.index, op=operator.op)
    return found


def _variable(main: Subgraph, operator: Operator) -> Options | None:
    """What names the variable that an operator reads or assigns."""
    handle = main.producer(operator.inputs[0])
    return handle.options if handle else None
