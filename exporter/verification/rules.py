"""The form of a rule, the one registry of them, and what a rule is given to look at.

A rule is a generator of findings; without any, it holds. The rules themselves stand in this package's other modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from exporter.model_file import ModelFile, Operator, Subgraph, Tensor
from exporter.verification.report import Check, Status

_SHOWN: Final = 3
"""Findings of one rule that its message spells out; a broken file can have thousands."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule is broken, or in doubt (`status` "warn"); `hint` replaces the rule's own."""

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
    """What is verified: a parsed model."""

    model: ModelFile

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


Judge: TypeAlias = Callable[[Subject], Iterator[Finding]]
Applies: TypeAlias = Callable[[Subject], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Stable name, as in reports and in the reference.
        holds: What is so when the rule holds, one sentence without a full stop.
        hint: What to do when it does not.
        applies: Whether there is anything to judge; a rule that does not apply is not reported.
        judge: Generates the findings.
    """

    id: str
    holds: str
    hint: str
    applies: Applies
    judge: Judge

    def check(self, subject: Subject) -> Check | None:
        """Judge a subject; None when the rule does not apply."""
        if not self.applies(subject):
            return None
        findings = list(self.judge(subject))
        if not findings:
            return Check(self.id, "pass", self.holds)
        worst = next((finding for finding in findings if finding.status == "fail"), findings[0])
        findings = [finding for finding in findings if finding.status == worst.status]
        shown = "; ".join(finding.message for finding in findings[:_SHOWN])
        more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
        return Check(self.id, worst.status, shown + more, worst.hint or self.hint, worst.expected, worst.found)


RULES: Final[dict[str, Rule]] = {}
"""Every rule by id, in the order of the reference."""


def always(_: Subject) -> bool:
    """Apply to every model."""
    return True


def rule(identifier: str, holds: str, *, hint: str, applies: Applies = always) -> Callable[[Judge], Judge]:
    """Register a generator of findings as a rule."""

    def register(judge: Judge) -> Judge:
        assert identifier not in RULES, identifier
        RULES[identifier] = Rule(identifier, holds, hint, applies, judge)
        return judge

    return register
