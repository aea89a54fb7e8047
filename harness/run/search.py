"""The operator behind a clip's wrong outputs, looked for on the target that gave them: `mww bisect` within a run."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from harness.clips.clip import Clip
from harness.targets.registry import TargetOptions, open_tensors
from mww.core.errors import MwwError
from mww.esphome.model import Model


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: in a sentence, and where to look; None where it does not say."""

    account: str
    look_at: str | None


def find_operator(model: Model, clip: Clip, target: str, options: TargetOptions) -> Found | None:
    """Search on a target that nobody has open; None where all outputs are right this time, or it cannot be searched.

    A board is given a copy of the model whose outputs are all operators' results, and its own back.
    """
    from harness.bisect.explanation import bisect
    from harness.bisect.reenactment import suspect
    from harness.targets.emulator import golden_tensors

    try:
        with ExitStack() as stack:
            source = stack.enter_context(open_tensors(target, options, model))
            golden = stack.enter_context(golden_tensors())
            result = bisect(model, [clip], source, golden)
    except MwwError:  # the run stands without: what went wrong now is reported by `mww bisect` itself
        return None
    if result.explanation is None:
        return None
    account, results = result.explanation.account, result.divergence
    if results is None:
        return Found(account, None)
    place = f"at inference {results.inference}, element {list(results.position)}"
    where = f"{place} is {results.found:g}, not {results.expected:g}"
    return Found(f"{account}: {where}", suspect(results, result.target))
