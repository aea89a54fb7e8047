"""Analysis of models: structure, cost, quality, and the differences between two. No model runs here."""

from __future__ import annotations

from exporter.model_analyzer.architecture import ModelAnalysis, analyze_model_architecture
from exporter.model_analyzer.comparison import ModelComparison, compare_models
from exporter.model_analyzer.performance import PerformanceEstimate, estimate_performance
from exporter.model_analyzer.quality import (
    GpuReport,
    QualityReport,
    QualityThresholds,
    check_gpu_compatibility,
    validate_model_quality,
)
from exporter.model_analyzer.report import generate_model_report

__all__ = [
    "GpuReport",
    "ModelAnalysis",
    "ModelComparison",
    "PerformanceEstimate",
    "QualityReport",
    "QualityThresholds",
    "analyze_model_architecture",
    "check_gpu_compatibility",
    "compare_models",
    "estimate_performance",
    "generate_model_report",
    "validate_model_quality",
]
