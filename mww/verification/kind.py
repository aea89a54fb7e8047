"""The rule that comes first and stands alone: whether the file is a micro wake word at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mww.esphome.model import foreign_model
from mww.verification.rules import Finding, Subject, rule

ID: Final = "kind"


@rule(
    ID,
    "The file is a TFLite model of no other engine",
    hint="give the .tflite that was trained for microWakeWord",
)
def kind(subject: Subject) -> Iterator[Finding]:
    """A web page, a pointer, an archive or another engine's model breaks every other rule, and no cure helps."""
    foreign = foreign_model(subject.model)
    if foreign is not None:
        yield Finding(f"the file is {foreign.message}", "a micro wake word", foreign.name, hint=foreign.hint)
