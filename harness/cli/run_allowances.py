"""What `mww run` makes of its options about allowances, and the deliberate act of writing one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.cli.output import say, say_lines, warn
from harness.run.allowances.allowance import propose
from harness.run.allowances.file import find_allowances, merged, read_allowances, render
from harness.run.allowing import differences, today
from harness.run.results import RunResult
from harness.serial.ports import current_user
from mww.core.errors import UsageError
from mww.core.files import write_files

_NEVER: Final = ("frontend", "reset", "slice-order", "output", "detection", "count")
"""Problems that no kernel brings about: what comes of them is not to be accepted."""


def allowances_to_read(
    given: Path | None, golden: Path | str | None, written: Path | None, reason: str | None
) -> Path | None:
    """The file to judge by, once the options are known to make sense.

    Raises:
        UsageError: An allowance is to be written without a reason, or there is a reason and nothing to write.
    """
    if written is not None and not (reason or "").strip():
        raise UsageError("--write-allowance without --reason", hint='--reason "why these differences are right"')
    if reason and written is None:
        raise UsageError("--reason without --write-allowance", hint="--write-allowance FILE.yaml")
    if given is None and written is not None and written.exists():
        given = written
    beside = [golden.parent] if isinstance(golden, Path) else []
    return find_allowances(given, *beside, Path())


def write_allowances(path: Path, results: Sequence[RunResult], reason: str, by: str | None, *, aside: bool) -> None:
    """Accept every difference of a run, and show what that changes in the file; `aside` shows it on stderr.

    Where clips were not carried out, or kernels are not the cause, nothing is written.

    Raises:
        AllowanceError: The file that is there cannot be used.
        OutputError: It cannot be written.
    """
    refused = next(filter(None, map(_refusal, results)), None)
    if refused is not None:
        warn(f"nothing is written to {path}: {refused}")
        return
    former = read_allowances(path).allowances if path.exists() else ()
    allowances = former
    for result in results:
        seen, who = differences(result.clips, path.absolute().parent), by or current_user()
        new = propose(result.model, result.model_sha256, result.target, seen, reason=reason, by=who, date=today())
        allowances = merged(allowances, new, [item.clip for item in seen])
    before, after = render(former) if former else "", render(allowances)
    if allowances == former:
        say(f"{path} stays as it is: no output differs otherwise than it says", err=aside)
        return
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), n=2, lineterm="")
    say_lines("\n".join(lines), err=aside)
    write_files({path: after.encode()})
    say(f"{path}: look at it, and commit it; the next run judges by it", err=aside)


def refuse_to_allow_nothing(results: Sequence[RunResult]) -> None:
    """Tell somebody who accepts differences that there cannot be any.

    Raises:
        UsageError: A run compared nothing.
    """
    for result in results:
        if result.golden is None and result.verdict != "error":
            hint = "give a --golden, or a --target other than the runtime that makes goldens"
            raise UsageError(f"{result.model} was compared with nothing, so there is nothing to allow", hint=hint)


def _refusal(result: RunResult) -> str | None:
    """Why what a run found cannot be accepted; None where it can."""
    if result.verdict == "error":
        return f"not every clip of {result.model} was carried out"
    named = next((problem for problem in result.problems if problem.code in _NEVER), None)
    if named is not None:
        return f"kernels are not the cause: {named.message}"
    if any(problem.code == "arithmetic" for problem in result.problems):
        warn(f"{result.model} differs by more than rounding does", "mww bisect says the operator before you accept it")
    return None
