"""The exact engine: TFLite Micro's outputs of whole clips, byte for byte, from numpy alone, in this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.engines.catalog import EXACT_VERSION
from harness.engines.exact.blas import check_products
from harness.engines.exact.graph import Graph
from harness.engines.exact.lines import Lines, NoLineError, follow
from harness.engines.exact.program import Block, Program, Steps
from harness.engines.exact.refusal import RefusedError
from harness.engines.exact.scratch import Values
from mww.core.errors import EngineError
from mww.tflite.model_file import read_model

VERSION: Final = EXACT_VERSION

BLOCK: Final = 512
"""Frames in a block: more do not fit into the processor's cache, fewer make the calls more expensive."""
_PROGRAMS: Final = 4
_MOST_BYTES: Final = 256 * 1024**2
"""Estimated bytes of a program's arrays; models with large windows get a smaller block."""


@lru_cache(maxsize=8)
def prepared(content: bytes) -> Graph:
    """Read a model, and prove its arithmetic; the last few models are cached.

    Raises:
        ModelFileError: It cannot be read.
        EngineError: It has an operator or option that is not supported.
    """
    check_products()
    try:
        return Graph(read_model(content))
    except RefusedError as error:
        hint = "--engine tflm runs it, where there is tflite-micro; mww verify lists what ESPHome would refuse"
        raise EngineError(f"engine exact does not take this model: {error}", hint=hint) from error


class ExactModel:
    """A model, with the state of one stream."""

    def __init__(self, model: bytes | Graph, *, block: int = BLOCK) -> None:
        """Take a model's bytes, or the result of `prepared`.

        Raises:
            MwwError: As for `prepared`.
        """
        self._graph = graph = model if isinstance(model, Graph) else prepared(model)
        self._lines: Lines | None
        try:
            self._lines = follow(self._graph)
        except NoLineError:
            self._lines = None
        self._block = min(block, max(1, _MOST_BYTES // (4 * max(1, _elements(self._graph)))))
        tensors = graph.model.main.tensors
        self.frame_size = tensors[self._graph.inputs[0]].elements
        self._types = [np.uint8 if tensors[tensor].dtype == "UINT8" else np.int8 for tensor in self._graph.outputs]
        self.output_size = sum(tensors[tensor].elements for tensor in self._graph.outputs)
        self._programs: OrderedDict[int, Program] = OrderedDict()
        self._state: dict[int, Values] = {}
        if self._lines is not None:
            self._state = {tensor: line.initial.copy() for tensor, line in self._lines.lines.items() if line.history}
        self._fresh = True

    @property
    def by_steps(self) -> bool:
        """Whether it is evaluated frame by frame, because a variable depends on itself."""
        return self._lines is None

    def reset(self) -> None:
        """Restore the initial state."""
        self._fresh = True

    def infer(self, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """Run frames `[n, frame_size]` that continue the stream; gives uint8 `[n, output_size]`, all outputs' bytes."""
        outputs = self._run(frames, [0] if self._fresh else [])
        self._fresh = self._fresh and not len(frames)
        return outputs

    def infer_clips(self, clips: Sequence[npt.NDArray[np.int8]]) -> list[npt.NDArray[np.uint8]]:
        """Run clips `[n, frame_size]`, each from the initial state, in one line.

        The state is the initial state afterwards. For short clips this takes less time than one by one.
        """
        gap = 0
        if self._lines is not None:
            gap = max((-(-line.history // line.rows) for line in self._lines.lines.values()), default=0)
        pieces, starts, position = [], [], 0
        silence = np.zeros((gap, self.frame_size), np.int8)
        for clip in clips:
            pieces += [silence, clip]
            starts.append(position + gap)
            position += gap + len(clip)
        outputs = self._run(np.concatenate(pieces), starts) if pieces else np.empty((0, self.output_size), np.uint8)
        self._fresh = True
        return [outputs[start : start + len(clip)] for start, clip in zip(starts, clips, strict=True)]

    def _run(self, frames: npt.NDArray[np.int8], starts: Sequence[int]) -> npt.NDArray[np.uint8]:
        outputs = np.empty((len(frames), self.output_size), np.uint8)
        for first in range(0, len(frames), self._block):
            block = frames[first : first + self._block]
            begin = [start - first for start in starts if first <= start < first + len(block)]
            column = 0
            for values, dtype in zip(self._program(len(block)).run(block, begin), self._types, strict=True):
                width = values.shape[1]
                outputs[first : first + len(block), column : column + width] = values.astype(dtype).view(np.uint8)
                column += width
        return outputs

    def _program(self, frames: int) -> Program:
        """A program for at least that many frames; programs of the last few sizes are kept."""
        if self._lines is None:
            return self._programs.setdefault(1, Steps(self._graph)) if 1 not in self._programs else self._programs[1]
        size = min(_size(frames), self._block)
        program = self._programs.get(size)
        if program is None:
            while len(self._programs) >= _PROGRAMS:
                self._programs.popitem(last=False)
            program = self._programs[size] = Block(self._graph, self._lines, self._state, size)
        self._programs.move_to_end(size)
        return program


def _size(frames: int) -> int:
    """The size of a program: few different sizes, and not much larger than requested."""
    if frames <= 1:
        return 1
    step = 8 if frames <= 64 else 16 if frames <= 256 else 64
    return -(-frames // step) * step


def _elements(graph: Graph) -> int:
    """Elements of arrays that a frame needs, including copies of windows."""
    return sum(3 * graph.model.main.tensors[tensor].elements for op in graph.operators for tensor in op.outputs)
