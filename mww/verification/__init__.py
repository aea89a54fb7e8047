"""Whether a model will run on ESPHome's micro_wake_word, and do there what it did when it was trained.

No interpreter runs and no TensorFlow is imported: each rule of the runtime, and each thing that the runtime relies on
without checking, is one check with a stable id. `docs/reference/checks.md` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mww.core.errors import ManifestError, WrongKindError
from mww.esphome.manifest import Manifest, is_manifest, load_manifest, model_path, parse_manifest, read_manifest
from mww.tflite.model_file import ModelFile, read_model
from mww.verification import interface, kernels, kind, manifest, runtime_model, state, streaming, structure, traps
from mww.verification.rules import (
    MANIFEST_RULES,
    REGISTERED,
    Check,
    ManifestText,
    Rule,
    Subject,
    VerificationReport,
    check_all,
)

__all__ = ["MANIFEST_RULES", "RULES", "Check", "VerificationReport", "verify_esphome_compatibility", "verify_model"]

_RULE_MODULES: Final = (kind, traps, structure, interface, state, streaming, kernels, manifest, runtime_model)
"""In the order of a report: what went wrong before what it broke. Importing them registers their rules."""

_ORDER: Final = [module.__name__ for module in _RULE_MODULES]

RULES: Final[dict[str, Rule[Subject]]] = {
    identifier: rule
    for identifier, rule in sorted(REGISTERED.items(), key=lambda item: _ORDER.index(item[1].judge.__module__))
}
"""The rules for a model, and for a manifest with its model, by id."""


def verify_esphome_compatibility(path: Path | str, *, at_run_time: bool = False) -> VerificationReport:
    """Check a model, or a manifest with the model that it names, against every rule that applies.

    Args:
        path: A `.tflite` file, or a manifest (`.json`). A model outside the manifest's folder is never opened.
        at_run_time: Whether the device gets the model while it runs, for which more rules apply.

    Raises:
        ModelFileError: The model is missing or damaged; a file of another kind, and a model that breaks a rule, is
            reported.
        ManifestError: The manifest is missing or no JSON object, or the model that it names is missing.
    """
    path = Path(path)
    if is_manifest(path):
        return _verify_manifest(path, at_run_time)
    return _verify_model(path, (), None, at_run_time)


def verify_model(model: ModelFile, path: Path, *, content: Mapping[str, Any] | None = None) -> VerificationReport:
    """Check a model that was parsed already against every rule that applies.

    Args:
        model: The model.
        path: Where it is, or will be.
        content: The JSON object of the manifest that will name it, beside it; None without one.
    """
    if content is None:
        return _judge(model, path, (), None, at_run_time=False)
    text = ManifestText(path.with_suffix(".json"), content, has_model=True)
    try:
        manifest = parse_manifest(content, text.path, path.with_name, needs=())
    except ManifestError:  # it names no model, or has no figures at all
        manifest = None
    return _judge(model, path, check_all(MANIFEST_RULES, text), manifest, at_run_time=False)


def _verify_manifest(path: Path, at_run_time: bool) -> VerificationReport:
    text = ManifestText(path, read_manifest(path))
    checks = {check.id: check for check in check_all(MANIFEST_RULES, text)}
    if checks["manifest-model"].status != "pass":
        return VerificationReport(str(text.content.get("model", "")), None, tuple(checks.values()))
    location = model_path(path, text.content["model"])
    return _verify_model(location, tuple(checks.values()), _readable(path), at_run_time)


def _readable(path: Path) -> Manifest | None:
    """The manifest, unless ESPHome refuses a figure in it: then the rules for figures have nothing to judge."""
    try:
        return load_manifest(path, needs=())
    except ManifestError:
        return None


def _verify_model(
    path: Path, checks: tuple[Check, ...], manifest: Manifest | None, at_run_time: bool
) -> VerificationReport:
    """Read and judge a model; a file of another kind fails in that alone, because no other cure would help."""
    try:
        model = read_model(path)
    except WrongKindError as error:
        return VerificationReport(str(path), None, (Check(kind.ID, "fail", error.message, error.hint),))
    return _judge(model, path, checks, manifest, at_run_time=at_run_time)


def _judge(
    model: ModelFile, path: Path, checks: tuple[Check, ...], manifest: Manifest | None, *, at_run_time: bool
) -> VerificationReport:
    subject = Subject(model, manifest, at_run_time)
    foreign = RULES[kind.ID].check(subject)
    if foreign is not None and foreign.status == "fail":
        return VerificationReport(str(path), model.sha256, (foreign,))
    return VerificationReport(str(path), model.sha256, (*checks, *check_all(RULES, subject)))
