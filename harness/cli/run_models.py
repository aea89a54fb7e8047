"""What `mww run` does once its words are parsed: load, check, write, print."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from harness.check import check_models
from harness.cli.inputs import Place, clip_source
from harness.cli.output import emit_json, progress, warn
from harness.cli.run_allowances import (
    allowances_to_read,
    refuse_to_allow_nothing,
    write_allowances,
)
from harness.cli.run_table import print_run
from harness.clips.golden import is_golden
from harness.clips.npz import Archive
from harness.clips.sources import ClipSource, archive_file, open_clips
from harness.report.document import overall, run_document
from harness.run.evaluation.labels import Label, read_labels
from harness.run.journal import NAME
from harness.run.options import RunOptions
from harness.run.results import RunResult, Verdict
from mww.core.errors import GoldenError, MwwError, OutputError, UsageError
from mww.core.files import write_files
from mww.esphome.model import Model, load_model, unreadable_model

EXIT_CODES: Final[dict[Verdict, int]] = {"pass": 0, "fail": 1, "error": 2}


def run_models(  # noqa: PLR0913 -- one for each option
    *,
    models: tuple[Path, ...],
    features: Place | None,
    wav: tuple[Place, ...],
    lead_in: float,
    golden: Place | None,
    vad: Path | None,
    labels: Path | None,
    targets: tuple[str, ...],
    engine: str | None,
    chip: str | None,
    baud: int | None,
    tolerance: int | None,
    allowances: Path | None,
    write_allowance: Path | None,
    reason: str | None,
    by: str | None,
    no_flash: bool,
    bisect: bool | None,
    faults: tuple[str, ...],
    report: Path | None,
    junit: Path | None,
    resume: bool,
    jobs: int,
    cluster: str | None,
    as_json: bool,
) -> int:
    """Run every model, write and print what came of it, and return the exit code; see `mww run --help`."""
    judged_by = allowances_to_read(allowances, golden, write_allowance, reason)
    source = clip_source(features, wav, lead_in, golden)
    if (archive := features or golden) is not None:
        _check_kind(archive, recorded=golden is not None)
    loaded = [load_model(models[0])] if len(models) == 1 else [_load(model) for model in models]
    gate = load_model(vad) if vad else None
    unfinished = _open_report(report, resume)  # before hours of clips, not after
    with progress() as shown:
        options = RunOptions(
            target=targets[0],
            more_targets=targets[1:],
            engine=engine,
            chip=chip,
            baud=baud,
            flash=not no_flash,
            bisect=bisect,
            faults=faults,
            tolerance=tolerance,
            lead_in=lead_in,
            vad=gate,
            labels=_labels(labels, source, lead_in) if labels else None,
            jobs=jobs,
            progress=shown,
            allowances=judged_by,
            unfinished=unfinished,
            cluster=cluster,
        )
        results = check_models(loaded, source, options)
    _write(results, report, junit)
    if write_allowance is not None:
        refuse_to_allow_nothing(results)
    if unfinished is not None and overall(results) != "error":  # else --resume tries again what failed, and only that
        unfinished.unlink(missing_ok=True)
    for warning in dict.fromkeys(warning for result in results for warning in result.warnings):
        warn(warning)
    if as_json:
        document = run_document(results)
        emit_json(str(document["schema"]), document)
    else:
        for result in results:
            print_run(result, propose=write_allowance is None)
    if write_allowance is not None:
        write_allowances(write_allowance, results, reason or "", by, aside=as_json)
    return EXIT_CODES[overall(results)]


def _load(path: Path) -> Model:
    """One of several models; what is wrong with it is told in its place, and the others run."""
    try:
        return load_model(path)
    except MwwError as problem:
        return unreadable_model(path, problem)


def _labels(path: Path, source: ClipSource, lead_in: float) -> dict[str, Label]:
    with ExitStack() as stack:
        clips, _ = open_clips(source, lead_in, stack)
        return read_labels(path, (clip.name for clip in clips))


def _check_kind(given: Place, *, recorded: bool) -> None:
    """Refuse a golden where features are named, and the other way round: what is compared must be what was meant."""
    path = archive_file(given)
    with Archive(path) as archive:
        found = is_golden(archive)
    if recorded and not found:
        raise GoldenError(
            f"{path} is not a golden: it does not say where it came from", hint="mww record makes a golden"
        )
    if found and not recorded:
        raise UsageError(f"{path} is a golden", hint=f"--golden {path}")


def _open_report(folder: Path | None, resume: bool) -> Path | None:
    """Make the report's folder, and return the file in it that keeps finished clips; emptied unless to `resume`."""
    if folder is None:
        if resume:
            raise UsageError("--resume without --report", hint="finished clips are kept beside the report")
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            (folder / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}", hint="choose another --report"
        ) from error
    return folder / NAME


def _write(results: Sequence[RunResult], report: Path | None, junit: Path | None) -> None:
    """Write what was asked for; what writes it is only imported then."""
    if report is not None:
        from harness.report.bundle import write_report

        write_report(report, results)
    if junit is not None:
        from harness.report.junit import junit_xml

        write_files({junit: junit_xml(results)})
    if "GITHUB_STEP_SUMMARY" in os.environ:
        from harness.report.markdown import append_to_step_summary, markdown_summary

        append_to_step_summary(markdown_summary(results))
