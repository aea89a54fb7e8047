"""Whether a model will run on ESPHome's micro_wake_word, and do there what it did when it was trained.

No interpreter runs and no TensorFlow is imported: each rule of the runtime, and each thing that the runtime relies on
without checking, is one check with a stable id. `docs/reference/checks.md` lists them.
"""

from __future__ import annotations

from pathlib import Path

from exporter.model_file import read_model
from exporter.verification import interface, kernels, state, streaming, structure, traps
from exporter.verification.report import Check, VerificationReport
from exporter.verification.rules import RULES, Subject

__all__ = ["RULES", "Check", "VerificationReport", "verify_esphome_compatibility"]

_RULE_MODULES = (structure, interface, state, streaming, kernels, traps)
"""Importing them registers their rules, in this order."""


def verify_esphome_compatibility(path: Path | str) -> VerificationReport:
    """Check a model against every rule.

    Args:
        path: A `.tflite` file.

    Raises:
        ModelFileError: The model is missing or cannot be parsed; a parseable one that breaks a rule is reported.
    """
    model = read_model(Path(path))
    subject = Subject(model)
    outcomes = (rule.check(subject) for rule in RULES.values())
    return VerificationReport(str(path), model.sha256, tuple(check for check in outcomes if check is not None))
