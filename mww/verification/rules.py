"""Rules and their registry, the subject that a rule judges, and the report of a verification.

A rule is a generator of findings; without findings, it holds. The rules are in this package's other modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from mww.esphome.manifest import Manifest
from mww.tflite.model_file import ModelFile, Operator, Subgraph, Tensor

Status: TypeAlias = Literal["pass", "warn", "fail"]

_SHOWN: Final = 3
"""Findings of one rule about a model that its message spells out; a broken file can have thousands."""

_SEVERITY: Final[tuple[Status, ...]] = ("pass", "warn", "fail")

MANIFEST_RULES: Final[dict[str, Rule[ManifestText]]] = {}
"""The rules for a manifest by itself, by id, in the order of the reference."""

REGISTERED: Final[dict[str, Rule[Subject]]] = {}
"""The rules for a model, and for a manifest with its model, as they were registered; the package puts them in order."""


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one rule.

    Attributes:
        id: Stable name of the rule, unique within a report.
        status: Whether it holds, holds with a doubt, or is broken.
        message: The result, in one line.
        hint: What to do about it; None when the check passes.
        expected: What the rule asks for, where that is a value.
        found: What the file holds instead.
    """

    id: str
    status: Status
    message: str
    hint: str | None = None
    expected: str | None = None
    found: str | None = None


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """All checks that apply to a file, in the order of the rules.

    Attributes:
        model: Path of the model, as given or as the manifest names it.
        model_sha256: Hexadecimal SHA-256 of the model file; None when a manifest names none that may be read.
        checks: One check for each rule that applies.
    """

    model: str
    model_sha256: str | None
    checks: tuple[Check, ...]

    @property
    def compatible(self) -> bool:
        """Whether no check failed; warnings are allowed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.status == "fail")

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that warn."""
        return tuple(check for check in self.checks if check.status == "warn")

    def strict(self) -> VerificationReport:
        """The same report with every warning made a failure."""
        checks = tuple(replace(check, status="fail") if check.status == "warn" else check for check in self.checks)
        return replace(self, checks=checks)


@dataclass(frozen=True, slots=True)
class Finding:
    """A place where a rule is broken, in doubt ("warn"), or holds ("pass").

    `hint` replaces the rule's own.
    """

    message: str
    expected: str | None = None
    found: str | None = None
    status: Status = "fail"
    hint: str | None = None


class Graph:
    """A subgraph with its producers and consumers indexed once."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.subgraph = subgraph
        self.producers: dict[int, Operator] = {}
        self.consumers: dict[int, list[Operator]] = {}
        for operator in subgraph.operators:
            for tensor in operator.outputs:
                self.producers.setdefault(tensor, operator)
            for tensor in operator.inputs:
                if tensor >= 0:
                    self.consumers.setdefault(tensor, []).append(operator)

    def tensors(self, indices: Sequence[int]) -> list[Tensor | None]:
        """Tensors by index; None where an optional one is left out."""
        return [self.subgraph.tensors[index] if index >= 0 else None for index in indices]


@dataclass(frozen=True)
class Subject:
    """What is verified: a parsed model, and the manifest that names it, where a manifest that obeys the schema exists.

    `at_run_time` says that the device gets the model while it runs (`add_runtime_model`), not in its firmware.
    """

    model: ModelFile
    manifest: Manifest | None = None
    at_run_time: bool = False

    @cached_property
    def graphs(self) -> tuple[Graph, ...]:
        """Every subgraph, indexed."""
        return tuple(Graph(subgraph) for subgraph in self.model.subgraphs)

    @property
    def main(self) -> Graph:
        """The subgraph that the runtime invokes."""
        return self.graphs[0]

    @property
    def input(self) -> Tensor | None:
        """The tensor that the runtime writes slices into."""
        subgraph = self.main.subgraph
        return subgraph.tensors[subgraph.inputs[0]] if subgraph.inputs else None

    @property
    def output(self) -> Tensor | None:
        """The tensor that the runtime reads the probability from."""
        subgraph = self.main.subgraph
        return subgraph.tensors[subgraph.outputs[0]] if subgraph.outputs else None

    @cached_property
    def ops(self) -> frozenset[str]:
        """Names of all operators in the file."""
        return frozenset(operator.op for _, operator in self.model.operators())


def has_byte_output(subject: Subject) -> bool:
    """Whether the probability is uint8, as the runtime reads it."""
    return subject.output is not None and subject.output.dtype == "UINT8"


@dataclass(frozen=True)
class ManifestText:
    """A manifest before its model is known: the JSON object, as it is.

    `has_model` says that the model came with it, so that no file is looked for.
    """

    path: Path
    content: Mapping[str, Any]
    has_model: bool = False


S = TypeVar("S", Subject, ManifestText)
Judge: TypeAlias = Callable[[S], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Rule(Generic[S]):
    """One rule.

    Attributes:
        id: Stable name, as in reports and in the reference.
        holds: What is so when the rule holds, one sentence without a full stop.
        hint: What to do when it does not.
        applies: Whether there is anything to judge; a rule that does not apply is not reported.
        severity: What its findings can be, `pass` apart.
        judge: Generates the findings.
    """

    id: str
    holds: str
    hint: str
    applies: Callable[[S], bool]
    severity: tuple[Status, ...]
    judge: Judge[S]

    def check(self, subject: S) -> Check | None:
        """Judge a subject; None when the rule does not apply."""
        if not self.applies(subject):
            return None
        findings = list(self.judge(subject))
        if not findings:
            return Check(self.id, "pass", self.holds)
        worst = max(findings, key=lambda finding: _SEVERITY.index(finding.status))
        findings = [finding for finding in findings if finding.status == worst.status]
        limit = len(findings) if isinstance(subject, ManifestText) else _SHOWN
        shown = "; ".join(finding.message for finding in findings[:limit])
        more = f"; and {len(findings) - limit} more" if len(findings) > limit else ""
        hint = None if worst.status == "pass" else worst.hint or self.hint
        return Check(self.id, worst.status, shown + more, hint, worst.expected, worst.found)


def check_all(rules: Mapping[str, Rule[S]], subject: S) -> tuple[Check, ...]:
    """Judge a subject by every rule that applies to it."""
    outcomes = (rule.check(subject) for rule in rules.values())
    return tuple(check for check in outcomes if check is not None)


def always(_: object) -> bool:
    """Apply to everything."""
    return True


def rule(
    identifier: str,
    holds: str,
    *,
    hint: str,
    applies: Callable[[Subject], bool] = always,
    severity: tuple[Status, ...] = ("fail",),
) -> Callable[[Judge[Subject]], Judge[Subject]]:
    """Register a generator of findings as a rule for models."""

    def register(judge: Judge[Subject]) -> Judge[Subject]:
        assert identifier not in REGISTERED, identifier
        REGISTERED[identifier] = Rule(identifier, holds, hint, applies, severity, judge)
        return judge

    return register


def manifest_rule(
    identifier: str, holds: str, *, hint: str, severity: tuple[Status, ...] = ("fail",)
) -> Callable[[Judge[ManifestText]], Judge[ManifestText]]:
    """Register a generator of findings as a rule for a manifest by itself."""

    def register(judge: Judge[ManifestText]) -> Judge[ManifestText]:
        MANIFEST_RULES[identifier] = Rule(identifier, holds, hint, always, severity, judge)
        return judge

    return register
