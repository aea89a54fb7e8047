"""The differences between two models: operators, shapes, quantisation, weights, state, arena.

Names and the order of operators are ignored; `exporter.model_analyzer.pairing` pairs the operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from exporter.model_analyzer.architecture import ModelAnalysis, analyze_model_architecture
from exporter.model_analyzer.pairing import Pair, pair_operators
from exporter.model_analyzer.source import open_source
from mww.core.errors import UnsupportedModelError
from mww.tflite.model_file import ModelFile, Operator, Tensor
from mww.tflite.schema import CallOnce, Options, VarHandle
from mww.tflm.arena import predict_arenas
from mww.verification.rules import Subject
from mww.verification.state import initialisers, state_access


@dataclass(frozen=True, slots=True)
class WeightDifference:
    """The constants of an operand in a pair of operators, as stored.

    Attributes:
        op: The operator.
        a: Its index in A.
        b: Its index in B.
        operand: Number of the input.
        values: Number of values.
        differing: Values that differ.
        largest: Largest difference of stored values.
        largest_real: Largest difference of the values that they stand for.
    """

    op: str
    a: int
    b: int
    operand: int
    values: int
    differing: int
    largest: float
    largest_real: float


def weight_differences(
    a: ModelFile, b: ModelFile, pairs: list[tuple[Operator, Operator]]
) -> tuple[int, tuple[WeightDifference, ...]]:
    """Count the compared values, and list the constants that differ; different shapes are not compared."""
    compared = 0
    differences: list[WeightDifference] = []
    for item, other in pairs:
        for operand, both in enumerate(zip(item.inputs, other.inputs, strict=False)):
            with np.errstate(all="ignore"):  # a damaged file can have NaN or huge scales
                left, right = _constant(a, both[0]), _constant(b, both[1])
            if left is None or right is None or left[0].shape != right[0].shape:
                continue
            compared += left[0].size
            changed = left[0] != right[0]
            if not changed.any():
                continue
            largest = float(np.abs(left[0] - right[0]).max())
            real = float(np.abs(left[1] - right[1]).max())
            count = int(changed.sum())
            place = (item.op, item.index, other.index, operand)
            differences.append(WeightDifference(*place, left[0].size, count, largest, real))
    return compared, tuple(differences)


def _constant(model: ModelFile, index: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """The stored and the real values of a constant, as float64 (exact for int32); None without values."""
    tensor = model.main.tensors[index] if index >= 0 else None
    if tensor is None or tensor.dtype not in ("INT8", "INT16", "INT32", "FLOAT32"):
        return None
    if model.buffers[tensor.buffer].size != tensor.nbytes or not tensor.elements:
        return None
    stored = model.constant(tensor).astype(np.float64)
    quantization = tensor.quantization
    if quantization is None:
        return stored, stored
    scales = np.asarray(quantization.scales)
    if quantization.per_channel:
        axis = quantization.dimension
        if not 0 <= axis < stored.ndim or stored.shape[axis] != scales.size:
            return stored, stored
        scales = scales.reshape([-1 if number == axis else 1 for number in range(stored.ndim)])
    return stored, (stored - quantization.zero_point) * scales


@dataclass(frozen=True, slots=True)
class OperatorDifference:
    """An operator that one model does not have, or that differs.

    Attributes:
        kind: "removed" (only in A), "added" (only in B) or "changed".
        op: The operator.
        a: Its index in A, or None.
        b: Its index in B, or None.
        details: The differences, each in a few words; empty unless changed.
    """

    kind: Literal["removed", "added", "changed"]
    op: str
    a: int | None
    b: int | None
    details: tuple[str, ...]


def operator_differences(a: ModelFile, b: ModelFile, pairs: tuple[Pair, ...]) -> Iterator[OperatorDifference]:
    """The differences of two models; a tensor counts where it is made, a constant where it is used."""
    starts = _state_starts(a), _state_starts(b)
    for pair in pairs:
        if pair.b is None and pair.a is not None:
            yield OperatorDifference("removed", pair.a.op, pair.a.index, None, ())
        elif pair.a is None and pair.b is not None:
            yield OperatorDifference("added", pair.b.op, None, pair.b.index, ())
        elif pair.a is not None and pair.b is not None:
            details = (*_details(a, b, pair.a, pair.b), *_state_details(starts, pair.a, pair.b))
            if details:
                yield OperatorDifference("changed", pair.a.op, pair.a.index, pair.b.index, details)


def _details(a: ModelFile, b: ModelFile, item: Operator, other: Operator) -> Iterator[str]:
    left, right = _options(item.options), _options(other.options)
    if left != right:
        yield f"options {left} / {right}"
    if len(item.inputs) != len(other.inputs) or len(item.outputs) != len(other.outputs):
        yield f"{len(item.inputs)} inputs, {len(item.outputs)} outputs / {len(other.inputs)}, {len(other.outputs)}"
        return
    for number, (index, counterpart) in enumerate(zip(item.inputs, other.inputs, strict=True)):
        left_tensor, right_tensor = _tensor(a, index), _tensor(b, counterpart)
        if _is_constant(a, left_tensor) or _is_constant(b, right_tensor) or None in (left_tensor, right_tensor):
            yield from _tensor_details(f"input {number}", left_tensor, right_tensor)
    moves = _only_moves(a, item) and _only_moves(b, other)
    for number, (index, counterpart) in enumerate(zip(item.outputs, other.outputs, strict=True)):
        yield from _tensor_details(f"output {number}", a.main.tensors[index], b.main.tensors[counterpart], moves=moves)


def _is_constant(model: ModelFile, tensor: Tensor | None) -> bool:
    return tensor is not None and model.is_constant(tensor)


def _only_moves(model: ModelFile, operator: Operator) -> bool:
    """Whether an operator passes its input's quantisation on, whose difference is the producer's."""
    source = _tensor(model, operator.inputs[0]) if operator.inputs else None
    targets = [model.main.tensors[index] for index in operator.outputs]
    return source is not None and all(target.quantization == source.quantization for target in targets)


def _state_details(starts: tuple[_Starts, _Starts], item: Operator, other: Operator) -> Iterator[str]:
    """The value that a READ_VARIABLE reads in the first step, and whether it reads before the variable is assigned."""
    left, right = starts[0].get(item.index), starts[1].get(other.index)
    if left is None or right is None:
        return
    if left[0] != right[0]:
        yield "initial state"
    if left[1] != right[1]:
        yield "order of reading and assigning"


_Starts: TypeAlias = dict[int, tuple[bytes, bool]]


def _state_starts(model: ModelFile) -> _Starts:
    """By READ_VARIABLE: the initial bytes of its variable, and whether it reads before the assignment."""
    subject = Subject(model)
    initial: dict[str, bytes] = {}
    for graph in initialisers(subject):
        for use in state_access(graph).assigns:
            data = model.buffers[use.value.buffer]
            initial[use.key] = model.content[data.offset : data.offset + data.size]
    access = state_access(subject.main)
    assigned = {use.key: use.operator.index for use in access.assigns}
    return {
        use.operator.index: (initial.get(use.key, b""), use.operator.index < assigned.get(use.key, len(model.content)))
        for use in access.reads
    }


def _options(options: Options) -> Options | None:
    """The options that affect the computation; a variable's name and a subgraph's number do not."""
    return None if isinstance(options, VarHandle | CallOnce) else options


def _tensor(model: ModelFile, index: int) -> Tensor | None:
    return model.main.tensors[index] if index >= 0 else None


def _tensor_details(what: str, item: Tensor | None, other: Tensor | None, *, moves: bool = False) -> Iterator[str]:
    if item is None or other is None:
        if item is not other:
            yield f"{what} {'left out' if item is None else 'present'} / {'left out' if other is None else 'present'}"
        return
    if item.dtype != other.dtype:
        yield f"{what} {item.dtype} / {other.dtype}"
    if item.shape != other.shape:
        yield f"{what} {list(item.shape)} / {list(other.shape)}"
    if not moves and item.quantization != other.quantization:
        yield f"{what} {_quantisation(item)} / {_quantisation(other)}"


def _quantisation(tensor: Tensor) -> str:
    quantization = tensor.quantization
    if quantization is None:
        return "unquantised"
    if quantization.per_channel:
        return (
            f"{len(quantization.scales)} scales from {min(quantization.scales):.6g} to {max(quantization.scales):.6g}"
        )
    return f"scale {quantization.scale:.6g} zero point {quantization.zero_point}"


@dataclass(frozen=True, slots=True)
class ArenaDifference:
    """The smallest arena of each model on a chip, bytes; None without a figure."""

    chip: str
    a: int | None
    b: int | None


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """The comparison of two models.

    Attributes:
        a: The structure of the first.
        b: The structure of the second.
        identical: The files are the same bytes.
        equivalent: Only names, metadata and order differ, so every output is the same.
        paired: Number of operators in both.
        operators: Operators that one does not have or that differ.
        constants: Values of weights and biases compared.
        weights: Constants that differ.
        arenas: The arena per chip.
    """

    a: ModelAnalysis
    b: ModelAnalysis
    identical: bool
    equivalent: bool
    paired: int
    operators: tuple[OperatorDifference, ...]
    constants: int
    weights: tuple[WeightDifference, ...]
    arenas: tuple[ArenaDifference, ...]


def compare_models(a: Path | str, b: Path | str) -> ModelComparison:
    """Compare what the graphs of two models compute; both are `.tflite` files or manifests.

    Raises:
        ModelFileError: A model cannot be read.
        ManifestError: A manifest cannot be read, or breaks the schema.
        UnsupportedModelError: A graph is far larger than any wake word.
    """
    item, other = open_source(a).model, open_source(b).model
    pairs = pair_operators(item, other)
    operators = tuple(operator_differences(item, other, pairs))
    both = [(pair.a, pair.b) for pair in pairs if pair.a is not None and pair.b is not None]
    constants, weights = weight_differences(item, other, both)
    return ModelComparison(
        a=analyze_model_architecture(a),
        b=analyze_model_architecture(b),
        identical=item.content == other.content,
        equivalent=not operators and not weights,
        paired=len(both),
        operators=operators,
        constants=constants,
        weights=weights,
        arenas=_arenas(item, other),
    )


def _arenas(a: ModelFile, b: ModelFile) -> tuple[ArenaDifference, ...]:
    item, other = _minima(a), _minima(b)
    return tuple(ArenaDifference(chip, item.get(chip), other.get(chip)) for chip in dict.fromkeys([*item, *other]))


def _minima(model: ModelFile) -> dict[str, int]:
    try:
        return {prediction.chip: prediction.minimum for prediction in predict_arenas(model)}
    except UnsupportedModelError:
        return {}
