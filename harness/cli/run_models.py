"""`mww run` after its options are parsed: load, check, apply or write allowances, print."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.check import check_models
from harness.cli.output import console, emit_json, progress, say, say_lines, warn
from harness.cli.run_options import Place, clip_source
from harness.clips.sources import ClipFile, ClipSource
from harness.report.run_document import overall, run_document
from harness.report.wording import (
    allowance_account,
    arena_account,
    clip_account,
    compared_with,
    false_accepts_account,
    headline,
    instructions_account,
    names_account,
    near_misses_account,
    number,
    place,
    problem_account,
    profile_account,
    profile_rows,
    recall_account,
    worst_first,
)
from harness.run.allowances import find_allowances, merged, propose, read_allowances, render, render_entries
from harness.run.allowing import differences, today
from harness.run.evaluation.statistics import Evaluation
from harness.run.journal import NAME
from harness.run.options import RunOptions
from harness.run.results import ClipResult, RunResult, Verdict
from harness.serial.ports import current_user
from harness.targets.base import OperatorCost
from mww.core.errors import MwwError, OutputError, UsageError
from mww.core.files import write_files
from mww.core.readable import is_folder, is_there, printable, printable_name
from mww.esphome.contract import cutoff_byte
from mww.esphome.model import Model, load_model, unreadable_model

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_COLOURS: Final = {"pass": "green", "fail": "red", "error": "red"}
_STATES: Final = {"used": "yellow", "unused": "dim", "exceeded": "red", "lapsed": "red"}
_ROWS: Final = 40
_TIMES: Final = 3

_NEVER: Final = ("frontend", "reset", "slice-order", "output", "detection", "count")
"""Problems that kernels cannot cause, so they cannot be accepted."""

EXIT_CODES: Final[dict[Verdict, int]] = {"pass": 0, "fail": 1, "error": 2}


def _write_allowances(path: Path, results: Sequence[RunResult], reason: str, by: str | None, *, aside: bool) -> None:
    """Accept every difference of a run, and show what that changes in the file; `aside` shows it on stderr.

    Nothing is written where clips ended in an error, or kernels are not the cause.

    Raises:
        AllowanceError: The existing file cannot be used.
        OutputError: It cannot be written.
    """
    refused = next(filter(None, map(_refusal, results)), None)
    if refused is not None:
        warn(f"nothing is written to {path}: {refused}")
        return
    former = read_allowances(path).allowances if is_there(path) else ()
    allowances = former
    for result in results:
        seen, who = differences(result.clips, path.absolute().parent), by or current_user()
        new = propose(result.model, result.model_sha256, result.target, seen, reason=reason, by=who, date=today())
        allowances = merged(allowances, new, [item.clip for item in seen])
    before, after = render(former) if former else "", render(allowances)
    if allowances == former:
        say(f"{path} stays as it is: it already allows every difference", err=aside)
        return
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), n=2, lineterm="")
    say_lines("\n".join(lines), err=aside)
    write_files({path: after.encode(errors="replace")})
    say(f"{path}: review and commit it; the next run applies it", err=aside)


def _refuse_to_allow_nothing(results: Sequence[RunResult]) -> None:
    """Refuse to write an allowance where there cannot be a difference.

    Raises:
        UsageError: A run compared nothing.
    """
    for result in results:
        if result.golden is None and result.verdict != "error":
            hint = "give a --golden, or a --target other than the runtime that makes goldens"
            raise UsageError(
                f"{result.model} was not compared with anything, so no difference can be allowed", hint=hint
            )


def _refusal(result: RunResult) -> str | None:
    """Why the differences of a run cannot be accepted; None where they can."""
    if result.verdict == "error":
        return f"some clips of {result.model} ended in an error"
    named = next((problem for problem in result.problems if problem.code in _NEVER), None)
    if named is not None:
        return f"kernels are not the cause: {named.message}"
    if any(problem.code == "arithmetic" for problem in result.problems):
        warn(f"{result.model} differs by more than rounding does", "run mww bisect first: it names the operator")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """The options of `mww run` besides those of the run itself; each field is an option of that name."""

    models: tuple[Path, ...]
    features: Place | None
    wav: tuple[Place, ...]
    golden: Place | None
    write_allowance: Path | None
    reason: str | None
    by: str | None
    report: Path | None
    junit: Path | None
    resume: bool
    as_json: bool

    def source(self, lead_in: float) -> ClipSource:
        """The given clips; a golden only by its own option.

        Raises:
            UsageError: No clips are given, or several kinds.
        """
        source = clip_source(self.features, self.wav, lead_in, self.golden)
        file = self.features or self.golden
        if isinstance(file, Path) and is_folder(file):
            return [file]
        return ClipFile(file, golden=self.golden is not None) if file else source

    def allowances(self, options: RunOptions) -> Path | None:
        """The file of allowances, after a check that the options make sense.

        Raises:
            UsageError: There is an allowance to write without a reason, or a reason without an allowance.
        """
        given, written, reason = options.allowances, self.write_allowance, self.reason
        assert given is None or isinstance(given, Path)
        if written is not None and not (reason or "").strip():
            raise UsageError("--write-allowance without --reason", hint='--reason "why these differences are right"')
        if reason and written is None:
            raise UsageError("--reason without --write-allowance", hint="--write-allowance FILE.yaml")
        if given is None and written is not None and is_there(written):
            given = written
        beside = [self.golden.parent] if isinstance(self.golden, Path) else []
        return find_allowances(given, *beside, Path())


def run_models(errand: Errand, options: RunOptions) -> int:
    """Run every model, write and print the result, and return the exit code; see `mww run --help`."""
    options = replace(options, allowances=errand.allowances(options))
    source = errand.source(options.lead_in)
    paths = errand.models
    models = [load_model(paths[0])] if len(paths) == 1 else [_load(path) for path in paths]
    vad = options.vad if options.vad is None or isinstance(options.vad, Model) else load_model(options.vad)
    with _open_report(errand.report, errand.resume) as unfinished, progress() as shown:
        options = replace(options, vad=vad, progress=shown, unfinished=unfinished)
        results = check_models(models, source, options)
    _write(results, errand)
    if (
        unfinished is not None and overall(results) != "error"
    ):  # a run with errors keeps its journal: --resume repeats only what failed
        unfinished.unlink(missing_ok=True)
    _show(results, errand)
    return EXIT_CODES[overall(results)]


def _show(results: Sequence[RunResult], errand: Errand) -> None:
    accepted = errand.write_allowance
    if accepted is not None:
        _refuse_to_allow_nothing(results)
    for warning in dict.fromkeys(warning for result in results for warning in result.warnings):
        warn(warning)
    if errand.as_json:
        document = run_document(results)
        emit_json(str(document["schema"]), document)
    else:
        for result in results:
            print_run(result, propose=accepted is None)
    if accepted is not None:
        _write_allowances(accepted, results, errand.reason or "", errand.by, aside=errand.as_json)


def _load(path: Path) -> Model:
    """Load one of several models; its error is reported in its place, and the others run."""
    try:
        return load_model(path)
    except MwwError as problem:
        return unreadable_model(path, problem)


@contextmanager
def _open_report(folder: Path | None, resume: bool) -> Iterator[Path | None]:
    """Make the report's folder before hours of clips run, and give its file that keeps finished clips.

    The file is emptied unless `resume`. The folder is removed again if a run fails at once and leaves nothing in it.
    """
    if folder is None:
        if resume:
            raise UsageError("--resume without --report", hint="finished clips are kept beside the report")
        yield None
        return
    is_new = not is_there(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            (folder / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}", hint="choose another --report"
        ) from error
    try:
        yield folder / NAME
    except KeyboardInterrupt:
        if is_there(folder / NAME):
            say("finished clips are kept: the same command with --resume runs the others", err=True)
        raise
    except (MwwError, OSError):
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise


def _write(results: Sequence[RunResult], errand: Errand) -> None:
    """Write the requested files; the writers are imported only then."""
    if errand.report is not None:
        from harness.report.bundle import write_report

        write_report(errand.report, results)
    if errand.junit is not None:
        from harness.report.junit import junit_xml

        write_files({errand.junit: junit_xml(results)})
    if "GITHUB_STEP_SUMMARY" in os.environ:
        from harness.report.markdown import append_to_step_summary, markdown_summary

        append_to_step_summary(markdown_summary(results))


def print_run(result: RunResult, *, propose: bool = True) -> None:
    """Print a run; of many clips only the worst. With `propose`, also print the allowance for its differences."""
    from rich.text import Text

    out = console()
    out.print(Text.assemble((printable_name(result.model), "bold"), printable(f"  {place(result)}")))
    for part in _about_clips(result):
        out.print(part)
    out.print(Text(printable(f"compared with {compared_with(result)}")))
    for row in _evaluation(result.evaluation) if result.evaluation is not None else ():
        out.print(Text(printable(row)))
    for line in _problems(result):
        out.print(line)
    for use in result.allowances.entries if result.allowances else ():
        out.print(Text(f"allowance {printable(allowance_account(use))}", style=_STATES[use.state]))
    if result.profile is not None:
        out.print(Text(printable(f"operators: {profile_account(result.profile)}")))
        if (table := _profile(result.profile)) is not None:
            out.print(table)
    if (cost := instructions_account(result)) is not None:
        out.print(Text(printable(f"cost: {cost}")))
    if result.arena is not None:
        out.print(Text(printable(f"arena: {arena_account(result.arena)}")))
    if propose and result.proposed_allowance is not None:
        out.print(
            Text(
                "the allowance for these differences, as --write-allowance FILE --reason TEXT writes it:",
                style="bold",
            )
        )
        say_lines(render_entries([result.proposed_allowance]))
    out.print(
        Text.assemble((result.verdict.upper(), f"bold {_COLOURS[result.verdict]}"), printable(f"  {headline(result)}"))
    )


def _about_clips(result: RunResult) -> Iterator[Table | Text]:
    """The table of clips and the notes about them; in place of both, an error that all clips have."""
    from rich.text import Text

    common = _common_error(result)
    if common is None or common.error is None:
        yield _clips(result)
        yield from _clip_notes(result)
        return
    yield Text(printable(f"all {len(result.clips)} clips: {clip_account(common)}"), style="red")
    yield Text(printable(common.error.hint or ""), style="dim")


def _common_error(result: RunResult) -> ClipResult | None:
    """The first of several clips that all ended in the same error; None where they did not."""
    accounts = {clip_account(clip) if clip.error is not None else None for clip in result.clips}
    return result.clips[0] if len(result.clips) > 1 and len(accounts) == 1 and None not in accounts else None


def _clips(result: RunResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    cutoff = cutoff_byte(result.probability_cutoff)
    highest = f"highest\naverage\nof {cutoff}"  # short, so that a narrow terminal shows whole names
    table = Table("clip", "", "the result", highest, "detected at", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"  # a shortened name cannot be copied
    shown = worst_first(result)[:_ROWS]
    for clip in shown:
        status = Text(clip.status, style=_COLOURS[clip.status])
        table.add_row(
            Text(printable_name(clip.name)),
            status,
            Text(printable(clip_account(clip))),
            _highest(clip),
            _detected(clip),
        )
    if len(result.clips) > len(shown):
        table.add_row(f"and {len(result.clips) - len(shown)} more", "", "", "", "")
    return table


def _profile(profile: Sequence[OperatorCost]) -> Table | None:
    from rich.table import Table
    from rich.text import Text

    rows, unit = profile_rows(profile)
    if not rows:
        return None
    table = Table("operator", "", box=None, pad_edge=False)
    table.add_column(unit, justify="right")
    table.add_column("share", justify="right")
    for row in rows:
        table.add_row(Text(printable_name(row.operator)), f"x {row.count}", number(row.amount), f"{row.share:.1%}")
    return table


def _clip_notes(result: RunResult) -> Iterator[Text]:
    """The hints of clips that ended in an error, and warnings about the others."""
    from rich.text import Text

    for clip in result.clips[:_ROWS]:
        name = printable_name(clip.name)
        if clip.error is not None and clip.error.hint:
            yield Text(f"{name}: {printable(clip.error.hint)}", style="dim")
        for warning in clip.warnings:
            yield Text(printable(f"{name}: {warning.code}: {warning.message}"), style="yellow")


def _problems(result: RunResult) -> Iterator[Text]:
    from rich.text import Text

    for problem in result.problems:
        yield Text.assemble((f"{problem.code}: ", "bold red"), printable(problem_account(problem)))
        if problem.hint:
            yield Text(f"   hint: {printable(problem.hint)}", style="dim")


def _highest(clip: ClipResult) -> str:
    return "" if clip.highest_average is None else str(clip.highest_average)


def _evaluation(evaluation: Evaluation) -> Iterator[str]:
    """The recall and false accepts on labelled clips, and the clips behind them."""
    if evaluation.at.recall.trials:
        yield f"recall: {recall_account(evaluation)}"
    if evaluation.missed:
        yield f"   missed: {names_account(evaluation.missed)}"
    if evaluation.at.false_accepts.hours:
        yield f"false accepts: {false_accepts_account(evaluation)}"
    if evaluation.woken_by:
        yield f"   woken by: {names_account(evaluation.woken_by)}"
    if evaluation.at.near_misses.trials:
        yield f"near misses: {near_misses_account(evaluation)}"
    if evaluation.near_misses_woken_by:
        yield f"   woken by: {names_account(evaluation.near_misses_woken_by)}"


def _detected(clip: ClipResult) -> str:
    times = [f"{entry.time_s:.2f} s" for entry in clip.detections if not entry.vad_blocked]
    more = [f"and {len(times) - _TIMES} more"] if len(times) > _TIMES else []
    return ", ".join(times[:_TIMES] + more)
