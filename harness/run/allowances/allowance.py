"""What an allowance says, whether it still holds for a target, and which differences it takes. Pure rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from harness.targets.base import TargetInfo

State = Literal["used", "unused", "exceeded", "lapsed"]
"""`used`: it took a difference; `unused`: it holds, and nothing needed it; `exceeded`: a clip differs by more;
`lapsed`: the model or a version is another than it was given for."""

LIKELY_ROUNDING: Final = 1
"""Steps of an output byte: kernels that round otherwise differ by no more, and a run proposes an allowance for them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How a clip's outputs differ from the golden ones: how many of them, and by how much at most."""

    clip: str
    differing: int
    largest: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """Differences that were accepted.

    Attributes:
        model: Its name, for people, and to tell an allowance that has lapsed from one of another model.
        model_sha256: Of the `.tflite`.
        chip: As `mww.esphome.chips` spells it.
        versions: What the target must say of itself, by name: runtime, kernels, firmware.
        max_difference: The largest difference of an output byte.
        clips: How many outputs of each clip may differ.
        reason: Why it was accepted.
        by: Who did.
        date: When, ISO 8601.
    """

    model: str
    model_sha256: str
    chip: str
    versions: Mapping[str, str]
    max_difference: int
    clips: Mapping[str, int]
    reason: str
    by: str
    date: str

    def concerns(self, model: str, model_sha256: str, chip: str, versions: Collection[str]) -> bool:
        """Whether it is about this model, or one of its name, on a target with this chip that says these versions."""
        same_model = self.model == model or self.model_sha256 == model_sha256
        return same_model and self.chip == chip and set(self.versions) <= set(versions)

    def lapse(self, model_sha256: str, info: TargetInfo) -> str | None:
        """Why it holds no more; None where it does."""
        if self.model_sha256 != model_sha256:
            return f"the model is {model_sha256[:12]}, not {self.model_sha256[:12]}"
        reported = dict(info.versions)
        changed = [
            f"{name} is {reported.get(name, 'unknown')}, not {version}"
            for name, version in self.versions.items()
            if reported.get(name) != version
        ]
        return "; ".join(changed) or None

    def takes(self, difference: Difference) -> bool:
        """Whether a clip's differences are within it."""
        allowed = self.clips.get(difference.clip, 0)
        return difference.differing <= allowed and difference.largest <= self.max_difference


@dataclass(frozen=True, slots=True)
class AllowanceUse:
    """An allowance in a run.

    Attributes:
        allowance: What was allowed.
        state: What became of it.
        why: Why it has lapsed; None where it holds.
        found: How many outputs of each of its clips differ; None for a clip that was not compared.
    """

    allowance: Allowance
    state: State
    why: str | None
    found: Mapping[str, int | None]


def usage(allowance: Allowance, why: str | None, seen: Sequence[Difference]) -> AllowanceUse:
    """What became of an allowance in a run over those clips; `why` is what `Allowance.lapse` says."""
    compared = {item.clip: item for item in seen}
    result = {clip: compared[clip].differing if clip in compared else None for clip in allowance.clips}
    if why is not None:
        return AllowanceUse(allowance, "lapsed", why, result)
    results = [item for item in seen if item.clip in allowance.clips and item.differing]
    within = all(allowance.takes(item) for item in results)
    return AllowanceUse(allowance, "unused" if not results else "used" if within else "exceeded", None, result)


def propose(
    model: str, model_sha256: str, info: TargetInfo, seen: Sequence[Difference], *, reason: str, by: str, date: str
) -> Allowance:
    """The allowance that takes exactly what was seen."""
    differing = [item for item in seen if item.differing]
    return Allowance(
        model=model,
        model_sha256=model_sha256,
        chip=info.chip,
        versions=dict(info.versions),
        max_difference=max((item.largest for item in differing), default=0),
        clips={item.clip: item.differing for item in differing},
        reason=reason,
        by=by,
        date=date,
    )
