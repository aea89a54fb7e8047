"""A `.tflite` file as frozen dataclasses. Nothing else reads flatbuffers; `exporter.optimization` copies their tables.

Parsing checks every offset, index and size, so what comes out can be walked without further care; whether the model
obeys ESPHome's rules is `mww.verification`'s question.
"""

from __future__ import annotations

import errno
import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mww.core.errors import ModelFileError, WrongKindError
from mww.core.file_kinds import TFLITE, recognise
from mww.core.readable import is_file, is_there, read_regular
from mww.tflite.flatbuffer import Buffer, MalformedError, Table
from mww.tflite.schema import (
    CUSTOM_OPERATOR,
    MAX_FILE_SIZE,
    OPERATORS,
    TENSOR_TYPE_SIZES,
    TENSOR_TYPES,
    Options,
    read_options,
)

_IDENTIFIER: Final = b"TFL3"
_MAX_DIMENSIONS: Final = 8
_SUBGRAPHS: Final = 2
_OUTPUTS: Final = 2
_NUMPY_TYPES: Final = {
    "FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4",
    "INT64": "<i8", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "BOOL": "?",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantization:
    """Affine quantisation, real = scale * (stored - zero_point); one scale, or one a channel of `dimension`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    dimension: int

    @property
    def scale(self) -> float:
        """The per-tensor scale (the first, when per channel)."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The per-tensor zero point (the first, when per channel)."""
        return self.zero_points[0]

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return len(self.scales) > 1


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a subgraph; `shape_signature` holds -1 where a dimension is dynamic, and is `shape` elsewhere."""

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: str
    buffer: int
    quantization: Quantization | None
    is_variable: bool

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the dense tensor; 0 for types without a fixed size."""
        if self.dtype == "INT4":
            return (self.elements + 1) // 2
        return self.elements * TENSOR_TYPE_SIZES.get(self.dtype, 0)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator; `inputs` holds -1 where an optional tensor is left out.

    `custom_options` says whether it has any, even none of length.
    """

    index: int
    op: str
    custom_code: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Options
    custom_options: bool


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One subgraph; operators stand in execution order."""

    index: int
    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def producer(self, tensor: int) -> Operator | None:
        """The operator that writes a tensor; None for inputs and constants."""
        return next((operator for operator in self.operators if tensor in operator.outputs), None)

    def consumers(self, tensor: int) -> tuple[Operator, ...]:
        """The operators that read a tensor, in execution order."""
        return tuple(operator for operator in self.operators if tensor in operator.inputs)


@dataclass(frozen=True, slots=True)
class Signature:
    """A SignatureDef: names of the inputs and outputs of a subgraph, with their tensors."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class DataBuffer:
    """Where a buffer's data lies in the file; `external` when behind the flatbuffer, where TFLM never looks."""

    offset: int
    size: int
    external: bool


@dataclass(frozen=True)
class ModelFile:
    """A parsed model; `metadata` maps names to buffer numbers."""

    content: bytes
    version: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    buffers: tuple[DataBuffer, ...]
    metadata: tuple[tuple[str, int], ...]
    signatures: tuple[Signature, ...]

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def main(self) -> Subgraph:
        """The first subgraph, which an interpreter invokes."""
        return self.subgraphs[0]

    def operators(self) -> Iterator[tuple[Subgraph, Operator]]:
        """Every operator of every subgraph."""
        for subgraph in self.subgraphs:
            for operator in subgraph.operators:
                yield subgraph, operator

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the file carries the tensor's data."""
        return self.buffers[tensor.buffer].size > 0

    def constant(self, tensor: Tensor) -> npt.NDArray[np.generic]:
        """The data that the file carries for a tensor, in its shape; read-only.

        Raises:
            ModelFileError: The tensor has no data, or less or more than its shape asks for.
        """
        data = self.buffers[tensor.buffer]
        if tensor.dtype not in _NUMPY_TYPES:
            raise ModelFileError(
                f"tensor {tensor.index} has data of type {tensor.dtype}, which cannot be read",
                hint="mww verify names the types that ESPHome's runtime takes",
            )
        if data.size != tensor.nbytes:
            raise ModelFileError(
                f"tensor {tensor.index} carries {data.size} bytes, its shape asks for {tensor.nbytes}",
                hint="check that it is a complete .tflite file",
            )
        values = np.frombuffer(self.content, _NUMPY_TYPES[tensor.dtype], tensor.elements, data.offset)
        return values.reshape(tensor.shape)


def read_model(source: Path | str | bytes) -> ModelFile:
    """Parse a model from a path, or from its bytes.

    Raises:
        WrongKindError: The file is of another kind.
        ModelFileError: The file is missing, too large, or not a well-formed TFLite flatbuffer.
    """
    name, content = ("model", source) if isinstance(source, bytes) else (str(source), _read_file(Path(source)))
    try:
        return parse_content(content)
    except (MalformedError, ValueError, OverflowError) as error:
        kind = recognise(content)
        if kind is not None and kind is not TFLITE:
            message = f"{name} is not a TFLite model but {kind.name}"
            raise WrongKindError(message, hint=kind.way_on("model")) from error
        hint = "the download or copy may be incomplete: get it again"
        raise ModelFileError(f"{name} is not a readable TFLite model: {error}", hint=hint) from error


def _read_file(path: Path) -> bytes:
    try:
        if not is_file(path):
            problem = "is not a file" if is_there(path) else "does not exist"
            raise ModelFileError(f"{path} {problem}", hint="give the path of a .tflite file")
        return read_regular(path, MAX_FILE_SIZE)
    except OSError as error:
        hint = "no ESP32 could hold it" if error.errno == errno.EFBIG else "give a .tflite file that you may read"
        raise ModelFileError(f"cannot read {path}: {error.strerror}", hint=hint) from error


def parse_content(content: bytes) -> ModelFile:
    """Parse a model's bytes; what is wrong with them is any of the errors that `read_model` explains."""
    if len(content) < 8 or content[4:8] != _IDENTIFIER:
        raise MalformedError(f"the identifier {_IDENTIFIER.decode()} is missing")
    root = Buffer(content).root()
    buffers = tuple(_buffer(content, table) for table in root.tables(4))
    codes = tuple(_operator_code(table) for table in root.tables(1))
    subgraphs = tuple(_subgraph(index, table, codes, len(buffers)) for index, table in enumerate(root.tables(2)))
    if not subgraphs:
        raise MalformedError("the model has no subgraph")
    model = ModelFile(
        content=content,
        version=root.uint32(0),
        description=root.string(3),
        subgraphs=subgraphs,
        buffers=buffers,
        metadata=tuple((table.string(0), table.uint32(1)) for table in root.tables(6)),
        signatures=tuple(_signature(table) for table in root.tables(7)),
    )
    _check_signatures(model)
    return model


def _buffer(content: bytes, table: Table) -> DataBuffer:
    offset, size = table.uint64(1), table.uint64(2)
    if offset > 1 and size:  # data behind the flatbuffer, as the converter writes it for large models
        if offset + size > len(content):
            raise MalformedError(f"a buffer at {offset} leaves the file")
        return DataBuffer(offset, size, external=True)
    return DataBuffer(*table.span(0), external=False)


def _operator_code(table: Table) -> tuple[str, str, int]:
    """Name, custom code and version; the old int8 field holds codes below 127, the new int32 the rest."""
    code = max(table.int8(0), table.int32(3))
    if not 0 <= code < len(OPERATORS):
        raise MalformedError(f"operator code {code} does not exist")
    return OPERATORS[code], table.string(1) if code == CUSTOM_OPERATOR else "", table.int32(2, 1)


def _subgraph(index: int, table: Table, codes: tuple[tuple[str, str, int], ...], buffers: int) -> Subgraph:
    tensors = tuple(_tensor(number, entry, buffers) for number, entry in enumerate(table.tables(0)))
    return Subgraph(
        index=index,
        name=table.string(4),
        tensors=tensors,
        operators=tuple(_operator(n, entry, codes, len(tensors)) for n, entry in enumerate(table.tables(3))),
        inputs=_tensor_list(table, 1, len(tensors)),
        outputs=_tensor_list(table, 2, len(tensors)),
    )


def _tensor_list(table: Table, field: int, tensors: int, *, optional: bool = False) -> tuple[int, ...]:
    indices = tuple(int(index) for index in table.array(field, "<i4"))
    lowest = -1 if optional else 0
    for index in indices:
        if not lowest <= index < tensors:
            raise MalformedError(f"tensor {index} does not exist")
    return indices


def _dimensions(table: Table, field: int) -> tuple[int, ...]:
    return tuple(int(size) for size in table.array(field, "<i4"))


def _tensor(index: int, table: Table, buffers: int) -> Tensor:
    shape = _dimensions(table, 0)
    signature = _dimensions(table, 7) if table.has(7) else shape
    if len(shape) > _MAX_DIMENSIONS or any(size < 0 for size in shape) or prod(shape) > 2**31:
        raise MalformedError(f"tensor {index} has the impossible shape {list(shape)[: _MAX_DIMENSIONS + 1]}")
    dtype = table.int8(1)
    if not 0 <= dtype < len(TENSOR_TYPES):
        raise MalformedError(f"tensor {index} has the unknown type {dtype}")
    buffer = table.uint32(2)
    if buffer >= buffers:
        raise MalformedError(f"tensor {index} names buffer {buffer} of {buffers}")
    return Tensor(
        index=index,
        name=table.string(3),
        shape=shape,
        shape_signature=signature,
        dtype=TENSOR_TYPES[dtype],
        buffer=buffer,
        quantization=_quantization(table.table(4)),
        is_variable=table.boolean(5),
    )


def _quantization(table: Table | None) -> Quantization | None:
    if table is None:
        return None
    scales = tuple(float(scale) for scale in table.array(2, "<f4"))
    zero_points = tuple(int(point) for point in table.array(3, "<i8"))
    if not scales or not zero_points:  # as TFLM does: without both the tensor is not quantised
        return None
    if len(zero_points) != len(scales):  # and any other number of zero points than scales stands for the first
        zero_points = zero_points[:1] * len(scales)
    return Quantization(scales, zero_points, table.int32(6))


def _operator(index: int, table: Table, codes: tuple[tuple[str, str, int], ...], tensors: int) -> Operator:
    code = table.uint32(0)
    if code >= len(codes):
        raise MalformedError(f"operator {index} names operator code {code} of {len(codes)}")
    op, custom_code, version = codes[code]
    return Operator(
        index=index,
        op=op,
        custom_code=custom_code,
        version=version,
        inputs=_tensor_list(table, 1, tensors, optional=True),
        outputs=_tensor_list(table, 2, tensors),
        intermediates=_tensor_list(table, 8, tensors, optional=True),
        options=read_options(op, table.uint8(3), table.table(4)),
        custom_options=table.has(5),
    )


def _signature(table: Table) -> Signature:
    inputs, outputs = (tuple((entry.string(0), entry.uint32(1)) for entry in table.tables(field)) for field in (0, 1))
    return Signature(table.string(2), table.uint32(4), inputs, outputs)


def _check_signatures(model: ModelFile) -> None:
    for name, buffer in model.metadata:
        if buffer >= len(model.buffers):
            raise MalformedError(f"metadata {name!r} names buffer {buffer} of {len(model.buffers)}")
    for signature in model.signatures:
        if signature.subgraph >= len(model.subgraphs):
            raise MalformedError(f"signature {signature.key!r} names subgraph {signature.subgraph}")
        tensors = len(model.subgraphs[signature.subgraph].tensors)
        for name, tensor in signature.inputs + signature.outputs:
            if tensor >= tensors:
                raise MalformedError(f"signature {signature.key!r} names tensor {tensor} for {name!r}")


def with_outputs(content: bytes, tensors: Sequence[int]) -> bytes:
    """A copy of a model whose outputs are tensors of its main subgraph; nothing else is changed.

    The new list of outputs goes to the end of the file: the old list may be shared with an operator's.
    """
    main = next(Buffer(content).root().tables(_SUBGRAPHS))
    field = main.position(_OUTPUTS)
    padded = bytearray(content) + b"\0" * (-len(content) % 4)
    struct.pack_into("<I", padded, field, len(padded) - field)
    return bytes(padded) + struct.pack(f"<I{len(tensors)}i", len(tensors), *tensors)


def count_outputs(content: bytes) -> int:
    """How many outputs the main subgraph has, of a file that need not be a whole model otherwise."""
    return len(next(Buffer(content).root().tables(_SUBGRAPHS)).array(_OUTPUTS, "<i4"))


def exposing(content: bytes, tensors: Sequence[Tensor]) -> bytes:
    """The model as it is, or where there are `tensors` to read, the copy with those as outputs."""
    return with_outputs(content, [tensor.index for tensor in tensors]) if tensors else content
