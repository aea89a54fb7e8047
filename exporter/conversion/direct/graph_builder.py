"""A subgraph under construction: tensors, constants and operators, numbered in the order of their creation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mww.tflite.model_file import Operator, Quantization, Subgraph, Tensor
from mww.tflite.schema import NoOptions, Options

_VERSIONS: Final = {
    "CALL_ONCE": 1,
    "VAR_HANDLE": 1,
    "READ_VARIABLE": 1,
    "ASSIGN_VARIABLE": 1,
    "RESHAPE": 1,
    "QUANTIZE": 1,
    "CONCATENATION": 2,
    "STRIDED_SLICE": 2,
    "SPLIT_V": 2,
    "ADD": 2,
    "MUL": 2,
    "AVERAGE_POOL_2D": 2,
    "MAX_POOL_2D": 2,
    "LOGISTIC": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
}
"""Versions of the operators on int8 (tensorflow 2.19.1, `op_version.cc`)."""

_MULTIPLYING_UP: Final = 3
"""Version of MUL on int8, where the product of the scales is at least the output's scale."""

_TYPES: Final = {"FLOAT32": "<f4", "INT32": "<i4", "INT8": "i1"}


class Buffers:
    """The data of constants, the first empty; subgraphs refer to their constants by number."""

    def __init__(self) -> None:
        self.contents: list[bytes] = [b""]

    def add(self, content: bytes) -> int:
        """Store data; return its number."""
        self.contents.append(content)
        return len(self.contents) - 1


class GraphBuilder:
    """Collects the parts of a subgraph."""

    def __init__(self, buffers: Buffers) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self._buffers = buffers
        self._constants: dict[tuple[str, tuple[int, ...], bytes, Quantization | None], int] = {}

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "FLOAT32",
        *,
        name: str = "",
        quantization: Quantization | None = None,
        buffer: int = 0,
    ) -> int:
        """Add a tensor; return its number."""
        tensor = Tensor(
            index=len(self.tensors),
            name=name,
            shape=tuple(shape),
            shape_signature=tuple(shape),
            dtype=dtype,
            buffer=buffer,
            quantization=quantization,
            is_variable=False,
        )
        self.tensors.append(tensor)
        return tensor.index

    def constant(
        self, values: npt.ArrayLike, dtype: str, *, name: str = "", quantization: Quantization | None = None
    ) -> int:
        """Add a tensor with data; equal data share a tensor."""
        array = np.ascontiguousarray(values, _TYPES[dtype]).reshape(np.shape(values))
        key = (dtype, array.shape, array.tobytes(), quantization)
        if key not in self._constants:
            self._constants[key] = self.initial(array, dtype, name=name, quantization=quantization)
        return self._constants[key]

    def initial(
        self, values: npt.NDArray[np.generic], dtype: str, *, name: str, quantization: Quantization | None = None
    ) -> int:
        """Add a tensor with its own data, as the converter does for each state."""
        buffer = self._buffers.add(values.astype(_TYPES[dtype]).tobytes())
        return self.tensor(values.shape, dtype, name=name, quantization=quantization, buffer=buffer)

    def numbers(self, values: npt.ArrayLike) -> int:
        """Add int32 numbers that configure an operator."""
        return self.constant(values, "INT32", name="numbers")

    def operator(
        self, op: str, inputs: Sequence[int], outputs: Sequence[int] = (), options: Options | None = None
    ) -> None:
        """Add an operator."""
        operator = Operator(
            index=len(self.operators),
            op=op,
            custom_code="",
            version=_MULTIPLYING_UP if self._multiplies_up(op, inputs, outputs) else _VERSIONS[op],
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            intermediates=(),
            options=options or NoOptions(),
            custom_options=False,
        )
        self.operators.append(operator)

    def _multiplies_up(self, op: str, inputs: Sequence[int], outputs: Sequence[int]) -> bool:
        """Whether a product must be scaled up to the output's scale."""
        scales = [np.float32(q.scale) for t in (*inputs, *outputs) if (q := self.tensors[t].quantization)]
        return op == "MUL" and len(scales) == 3 and bool(scales[0] * scales[1] / scales[2] >= 1)

    def subgraph(self, index: int, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> Subgraph:
        """The finished subgraph."""
        return Subgraph(index, name, tuple(self.tensors), tuple(self.operators), tuple(inputs), tuple(outputs))
