"""A run as a Markdown summary, short enough for a pull request or a CI job's page."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.report.run_document import overall
from harness.report.wording import (
    allowance_account,
    arena_account,
    clip_account,
    compared_with,
    counted,
    false_accepts_account,
    headline,
    names_account,
    near_misses_account,
    place,
    problem_account,
    profile_account,
    recall_account,
    worst_first,
)
from harness.run.results import RunResult
from mww.core.errors import OutputError
from mww.core.files import appending
from mww.core.readable import printable

_MARKS: Final = {"pass": "✅ pass", "fail": "❌ fail", "error": "⚠️ error"}
_LISTED: Final = 20
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


def markdown_summary(results: Sequence[RunResult]) -> str:
    """The summary of the runs of one or more models: the verdict, a line for each model, and the problems."""
    lines = [
        f"### Wake words: {_MARKS[overall(results)]}",
        "",
        "| model | verdict | account | where |",
        "|---|---|---|---|",
    ]
    for result in results:
        cells = (escape(result.model), _MARKS[result.verdict], escape(headline(result)), escape(place(result)))
        lines.append(f"| {' | '.join(cells)} |")
    for result in results:
        lines += _details(result)
    return "\n".join(lines) + "\n"


def append_to_step_summary(summary: str) -> None:
    """Add a summary to the page of the GitHub Actions job, if this process runs in a job.

    Raises:
        OutputError: GITHUB_STEP_SUMMARY names a file that cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with appending(Path(path)) as file:
            file.write(f"{summary}\n".encode(errors="replace"))
    except OutputError as error:
        raise OutputError(
            f"GITHUB_STEP_SUMMARY: {error.message}",
            hint="set GITHUB_STEP_SUMMARY to a file that can be written, or unset it",
        ) from error


def escape(text: str) -> str:
    """Escape Markdown, HTML, and the ends of lines and table cells in a text."""
    return _SPECIAL.sub(r"\\\1", printable(text))


def _details(result: RunResult) -> list[str]:
    lines = ["", f"**{escape(result.model)}**", "", f"- compared with {escape(compared_with(result))}"]
    if result.arena is not None:
        lines.append(f"- tensor arena: {escape(arena_account(result.arena))}")
    if result.profile is not None:
        lines.append(f"- operators: {escape(profile_account(result.profile))}")
    if result.evaluation is not None:
        lines.append(f"- recall: {escape(recall_account(result.evaluation))}")
        lines.append(f"- false accepts: {escape(false_accepts_account(result.evaluation))}")
        if result.evaluation.at.near_misses.trials:
            lines.append(f"- near misses: {escape(near_misses_account(result.evaluation))}")
        if result.evaluation.missed:
            lines.append(f"- missed: {escape(names_account(result.evaluation.missed))}")
        if result.evaluation.woken_by:
            lines.append(f"- woken by: {escape(names_account(result.evaluation.woken_by))}")
    lines += [f"- {problem.code}: {escape(problem_account(problem))}" for problem in result.problems]
    if result.allowances is not None:
        lines += [f"- allowance {escape(allowance_account(use))}" for use in result.allowances.entries]
    lines += [f"- warning: {escape(warning)}" for warning in result.warnings]
    suspicious = [(clip, warning) for clip in result.clips for warning in clip.warnings]
    lines += [
        f"- {warning.code}: {escape(clip.name)}: {escape(warning.message)}" for clip, warning in suspicious[:_LISTED]
    ]
    wrong = [clip for clip in worst_first(result) if clip.status != "pass"]
    lines += [f"- {clip.status}: {escape(clip.name)}: {escape(clip_account(clip))}" for clip in wrong[:_LISTED]]
    if len(wrong) > _LISTED:
        lines.append(f"- and {counted(len(wrong) - _LISTED, 'clip')} more")
    return lines
