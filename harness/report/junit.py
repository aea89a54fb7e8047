"""A run as JUnit XML, `xunit1`: a suite for each model, a case for each clip and for the tensor arena."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harness.report.wording import (
    allowance_account,
    arena_account,
    clip_account,
    false_accepts_account,
    headline,
    near_misses_account,
    problem_account,
    profile_account,
    recall_account,
)
from harness.run.evaluation.statistics import Evaluation
from harness.run.results import ClipResult, RunResult

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that an XML 1.0 document cannot contain, even escaped."""


def junit_xml(results: Sequence[RunResult]) -> bytes:
    """The JUnit document of the runs of one or more models."""
    root = Element("testsuites")
    for result in results:
        root.append(_suite(result))
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'.encode()


def _suite(result: RunResult) -> Element:
    cases = [_case(result, clip) for clip in result.clips]
    if result.arena is not None:
        cases.append(_arena_case(result))
    if result.evaluation is not None:
        cases.append(_quality_case(result, result.evaluation))
    suite = Element(
        "testsuite",
        name=f"mww.{clean(result.model)}",
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped="0",
        time=f"{result.seconds:.3f}",
        timestamp=result.started,
    )
    properties = SubElement(suite, "properties")
    for name, value in _properties(result):
        SubElement(properties, "property", name=clean(name), value=clean(value))
    suite.extend(cases)
    return suite


def _properties(result: RunResult) -> list[tuple[str, str]]:
    target = result.target
    allowances = result.allowances.entries if result.allowances else ()
    return [
        ("verdict", result.verdict),
        ("model_sha256", result.model_sha256),
        ("target", target.kind),
        ("chip", target.chip),
        ("engine", target.engine),
        ("tolerance", str(result.tolerance)),
        *((f"problem.{problem.code}", problem_account(problem)) for problem in result.problems),
        *((f"allowance.{number}", allowance_account(use)) for number, use in enumerate(allowances, 1)),
        *([("operators", profile_account(result.profile))] if result.profile is not None else []),
        *((f"version.{name}", version) for name, version in target.versions),
        *((f"environment.{name}", version) for name, version in result.environment),
    ]


def _case(result: RunResult, clip: ClipResult) -> Element:
    case = Element("testcase", classname=f"mww.{clean(result.model)}", name=clean(clip.name))
    if clip.status != "pass":
        kind = "error" if clip.status == "error" else "failure"
        behind = [problem for problem in result.problems if clip.name in problem.clips]
        code = clip.error.code if clip.error else "mismatch" if clip.mismatches or not behind else behind[0].code
        sentence = clip_account(clip)
        hints = [clip.error.hint] if clip.error else [problem.hint for problem in behind]
        lines = [sentence, *(problem.message for problem in behind), *(f"hint: {hint}" for hint in hints if hint)]
        SubElement(case, kind, type=code, message=clean(sentence)).text = clean("\n".join(lines))
    elif clip.allowed or clip.warnings:
        lines = [clip_account(clip), *(f"{warning.code}: {warning.message}" for warning in clip.warnings)]
        SubElement(case, "system-out").text = clean("\n".join(lines))
    return case


def _arena_case(result: RunResult) -> Element:
    assert result.arena is not None
    case = Element("testcase", classname=f"mww.{clean(result.model)}", name="tensor arena")
    if result.arena.fits is False:
        sentence = arena_account(result.arena)
        SubElement(case, "failure", type="arena", message=clean(sentence)).text = clean(
            f"{headline(result)}: {sentence}"
        )
    return case


def _quality_case(result: RunResult, evaluation: Evaluation) -> Element:
    """Recall and false accepts; a failure where they miss the required limits."""
    case = Element("testcase", classname=f"mww.{clean(result.model)}", name="recall and false accepts")
    problems = [problem for problem in result.problems if problem.code == "quality"]
    lines = [f"recall: {recall_account(evaluation)}", f"false accepts: {false_accepts_account(evaluation)}"]
    if evaluation.at.near_misses.trials:
        lines.append(f"near misses: {near_misses_account(evaluation)}")
    lines += [f"{problem.message}: {', '.join(problem.clips)}" for problem in problems]
    if problems:
        message = "; ".join(problem.message for problem in problems)
        SubElement(case, "failure", type="quality", message=clean(message)).text = clean("\n".join(lines))
    else:
        SubElement(case, "system-out").text = clean("\n".join(lines))
    return case


def clean(text: str) -> str:
    """Replace characters that XML cannot contain."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
