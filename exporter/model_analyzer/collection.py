"""The data for a report about a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from exporter.model_analyzer.architecture import ModelAnalysis, analyze_source
from exporter.model_analyzer.performance import PerformanceEstimate, performance_of
from exporter.model_analyzer.quality import GpuReport, QualityReport, gpu_report_of, quality_of
from exporter.model_analyzer.source import Source, open_source, verify_source
from mww.core.errors import UnsupportedModelError
from mww.esphome.chips import CHIP_NAMES
from mww.tflm.arena import ArenaPrediction, predict_arenas
from mww.verification import VerificationReport


@dataclass(frozen=True, slots=True)
class Collection:
    """All results about a model; `arenas` is empty where the runtime would refuse it, and `arena_note` says why."""

    source: Source
    analysis: ModelAnalysis
    verification: VerificationReport
    quality: QualityReport
    performance: tuple[PerformanceEstimate, ...]
    gpu: GpuReport
    arenas: tuple[ArenaPrediction, ...]
    arena_note: str | None


def collect(path: Path | str) -> Collection:
    """Analyse a `.tflite` or the model of a manifest.

    Raises:
        ModelFileError: The model cannot be read.
        ManifestError: The manifest cannot be read, or breaks the schema.
    """
    source = open_source(path)
    analysis, verification = analyze_source(source), verify_source(source)
    arenas, note = _arenas(source)
    return Collection(
        source=source,
        analysis=analysis,
        verification=verification,
        quality=quality_of(source.model, analysis, verification),
        performance=tuple(performance_of(analysis, chip) for chip in CHIP_NAMES),
        gpu=gpu_report_of(source),
        arenas=arenas,
        arena_note=note,
    )


def _arenas(source: Source) -> tuple[tuple[ArenaPrediction, ...], str | None]:
    size = source.manifest.tensor_arena_size if source.manifest else None
    try:
        return predict_arenas(source.model, manifest_size=size), None
    except UnsupportedModelError as error:
        return (), error.message


def document(collection: Collection) -> dict[str, Any]:
    """The collection as a JSON object; `mww analyze --json` adds its schema."""
    made: dict[str, Any] = finite(_document(collection))
    return made


def finite(value: Any) -> Any:
    """Replace numbers that JSON cannot represent (a damaged file can have NaN as a scale) by None, recursively."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _document(collection: Collection) -> dict[str, Any]:
    analysis = asdict(collection.analysis)
    model, digest = analysis.pop("model"), analysis.pop("sha256")
    return {
        "model": model,
        "model_sha256": digest,
        "compatible": collection.verification.compatible,
        "architecture": {**analysis, "state_bytes": collection.analysis.state_bytes},
        "performance": {item.chip: {**asdict(item), "load": item.load} for item in collection.performance},
        "arena": {
            item.chip: {
                "used": item.used, "head": item.head, "tail": item.tail, "minimum": item.minimum, "probe": item.probe
            }
            for item in collection.arenas
        },
        "arena_note": collection.arena_note,
        "quality": asdict(collection.quality),
        "gpu": asdict(collection.gpu),
        "checks": [asdict(check) for check in collection.verification.checks],
    }  # fmt: skip
