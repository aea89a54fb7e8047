"""`mww verify`: every rule of the runtime, checked on a model or manifest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from harness.cli.output import emit_json, json_option, say
from mww.verification import Check, VerificationReport, verify_esphome_compatibility

_MARKS = {"pass": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}

_NEVER_WAKES: Final = {"highest-output", "lowest-output"}
"""Checks that also fail for models that load and run."""


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Make warnings fail.")
@click.option(
    "--runtime-model", is_flag=True, help="Also check the rules for a model that a device downloads while it runs."
)
@click.option("-v", "--verbose", is_flag=True, help="Also show the checks that pass.")
@json_option
def command(file: Path, strict: bool, runtime_model: bool, verbose: bool, as_json: bool) -> int:
    """Check FILE, a .tflite model or a manifest, against every rule of ESPHome's runtime.

    Exits with 0 if every check holds, 1 if a check fails, 2 if FILE cannot be read.
    """
    report = verify_esphome_compatibility(file, at_run_time=runtime_model)
    if strict:
        report = report.strict()
    if as_json:
        document = {
            "model": report.model,
            "model_sha256": report.model_sha256,
            "compatible": report.compatible,
            "checks": [asdict(check) for check in report.checks],
        }
        emit_json("mww.verify/1", document)
    else:
        _print(report, verbose=verbose)
    return 0 if report.compatible else 1


def _print(report: VerificationReport, *, verbose: bool) -> None:
    for check in report.checks:
        if verbose or check.status != "pass":
            _print_check(check)
    verdict, colour = ("runs on ESPHome", "green") if report.compatible else ("does not run on ESPHome", "red")
    if not report.compatible and {check.id for check in report.failures} <= _NEVER_WAKES:
        verdict = "runs on ESPHome, but never wakes"
    counts = [f"{len(report.checks)} checks"]
    counts += [f"{len(report.failures)} failed"] if report.failures else []
    counts += [f"{len(report.warnings)} warned"] if report.warnings else []
    say(f"{report.model} ", nl=False)
    say(verdict, fg=colour, nl=False)
    say(f" ({', '.join(counts)})")


def _print_check(check: Check) -> None:
    mark, colour = _MARKS[check.status]
    say(mark, fg=colour, nl=False)
    say(f"  {check.id}: {check.message}")
    if check.expected is not None and check.found is not None:
        say(f"      expected {check.expected}, found {check.found}")
    if check.hint:
        say(f"      hint: {check.hint}")
