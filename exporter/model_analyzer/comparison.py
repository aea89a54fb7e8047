"""What two models differ in: operators, shapes, quantisation, weights, state, arena. Names and order do not count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporter.model_analyzer.architecture import ModelAnalysis, analyze_model_architecture
from exporter.model_analyzer.differences import (
    OperatorDifference,
    WeightDifference,
    operator_differences,
    weight_differences,
)
from exporter.model_analyzer.pairing import pair_operators
from exporter.model_analyzer.source import open_source
from mww.core.errors import UnsupportedModelError
from mww.tflite.model_file import ModelFile
from mww.tflm.arena import predict_arenas


@dataclass(frozen=True, slots=True)
class ArenaDifference:
    """The smallest arena of each model on a chip, bytes; None without a figure."""

    chip: str
    a: int | None
    b: int | None


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Two models side by side.

    Attributes:
        a: What the first is made of.
        b: What the second is made of.
        identical: The files are the same bytes.
        equivalent: Nothing differs but names, metadata and order, so every output is the same.
        paired: Operators that both have.
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
    """Compare two models by what their graphs compute; give `.tflite` files or manifests.

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
