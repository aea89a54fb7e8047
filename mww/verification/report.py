"""What a verification says: one check a rule, and the report that holds them. Judges nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one rule.

    Attributes:
        id: Stable name of the rule, unique within a report.
        status: Whether it holds, holds with a doubt, or is broken.
        message: What was found to be so, in one line.
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
