"""`mww doctor`: what this machine can do, and the line that repairs what it cannot."""

from __future__ import annotations

from dataclasses import asdict

import click

from harness.cli.doctor_checks.finding import Finding
from harness.cli.doctor_checks.installation import examine
from harness.cli.output import emit_json, json_option, say

_MARKS = {
    "ok": ("ok     ", "green"),
    "missing": ("missing", "yellow"),
    "warn": ("warn   ", "yellow"),
    "fail": ("FAIL   ", "red"),
}


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Tell what this machine can do, and what is missing.

    Exits with 0 when the base works, whatever optional thing is missing, and with 1 when it does not.
    """
    findings = examine()
    works = all(finding.status != "fail" for finding in findings)
    if as_json:
        emit_json("mww.doctor/1", {"ok": works, "checks": [asdict(finding) for finding in findings]})
        return 0 if works else 1
    for finding in findings:
        _print(finding)
    missing = sum(finding.status == "missing" for finding in findings)
    verdict, colour = ("the base works", "green") if works else ("the base does not work", "red")
    say(verdict, fg=colour, nl=False)
    say(f", {missing} optional things are missing" if missing else ", nothing is missing")
    return 0 if works else 1


def _print(finding: Finding) -> None:
    mark, colour = _MARKS[finding.status]
    say(mark, fg=colour, nl=False)
    say(f"  {finding.id}: {finding.message}")
    if finding.hint:
        say(f"         {finding.hint}")
