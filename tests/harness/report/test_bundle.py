"""A report is whole or not there, says the same in every form, and no name in it can do anything but be read."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from harness.report.bundle import write_report
from harness.report.junit import junit_xml
from harness.report.markdown import append_to_step_summary, markdown_summary
from harness.report.page import html_page
from harness.report.run_document import run_document
from harness.report.wording import profile_rows
from harness.run.results import ArenaResult, Problem, RunResult
from harness.targets.base import OperatorCost
from mww.core.errors import OutputError
from mww.core.scratch import ScratchFile
from tests.support.run_results import allowed, altered, clip, mixed_run, run, speech
from tools.run_json import PAGE, SCHEMA_FILE, page, schema

SCHEMA = json.loads(SCHEMA_FILE.read_text())
HOSTILE = "<script>alert(1)</script>\"'&|`[x](javascript:x)\x1b[31m\x00\udcff]]>/../../etc.wav"


def test_schema_and_reference_page_are_made_from_the_dataclasses() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema(), "run python -m tools.run_json"
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tools.run_json"


def _declared(schema: dict, document: object, place: str = "run") -> None:
    """Every key of a document is declared in its schema."""
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(document, dict):
        options = [schema, *schema.get("oneOf", [])]
        for key, value in document.items():
            entries = [option["properties"][key] for option in options if key in option.get("properties", {})]
            assert entries or any("additionalProperties" in option for option in options), f"{place}.{key}"
            if entries:
                _declared(entries[0], value, f"{place}.{key}")
    elif isinstance(document, list):
        items = next(option["items"] for option in [schema, *schema.get("oneOf", [])] if "items" in option)
        for item in document:
            _declared(items, item, f"{place}[]")


def test_run_json_follows_its_published_schema(mixed: RunResult, passing: RunResult) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for results in ([mixed], [passing], [mixed, passing]):
        document = json.loads(json.dumps(run_document(results)))
        jsonschema.validate(document, SCHEMA)
        _declared(SCHEMA["$defs"]["run_set" if len(results) > 1 else "run"], document)


PROFILE = (
    OperatorCost("CONV_2D", 0, 3000, None),
    OperatorCost("RESHAPE", 1, 0, None),
    OperatorCost("CONV_2D", 2, 900, None),
    OperatorCost("MUL", 3, 100, None),
)


def test_a_profile_is_in_every_form(passing: RunResult) -> None:
    profiled = replace(passing, profile=PROFILE)
    document = json.loads(json.dumps(run_document([profiled])))
    jsonschema.validate(document, SCHEMA)
    _declared(SCHEMA["$defs"]["run"], document)
    assert document["profile"][2] == {"operator": "CONV_2D", "index": 2, "microseconds": 900, "instructions": None}
    html = html_page([profiled])
    assert "<td>3,900</td><td>97.5 %</td>" in html
    assert html.index("CONV_2D") < html.index("MUL")
    account = "4,000 µs an inference, in 4 operators"
    assert account in html
    assert account in markdown_summary([profiled])
    assert account in junit_xml([profiled]).decode()
    rows, unit = profile_rows(PROFILE)
    assert unit == "µs"
    assert [(row.operator, row.count, row.amount) for row in rows] == [
        ("CONV_2D", 2, 3900),
        ("MUL", 1, 100),
        ("RESHAPE", 1, 0),
    ]
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_where_instructions_are_counted_and_no_chip_is_there_they_are_shown() -> None:
    counted = [OperatorCost("CONV_2D", 0, None, 2_000), OperatorCost("MUL", 1, None, 500)]
    rows, unit = profile_rows(counted)
    assert (unit, [row.amount for row in rows]) == ("instructions", [2_000, 500])


def test_a_report_names_all_its_files_with_their_sha256(tmp_path: Path, mixed: RunResult) -> None:
    path = write_report(tmp_path / "report", [mixed])
    document = json.loads(path.read_text())
    jsonschema.validate(document, SCHEMA)
    written = {file.name for file in path.parent.iterdir()} - {"run.json"}
    assert {file["name"] for file in document["files"]} == written
    for file in document["files"]:
        content = (path.parent / file["name"]).read_bytes()
        assert (file["sha256"], file["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    with np.load(path.parent / "outputs.npz", allow_pickle=False) as outputs:
        assert np.array_equal(outputs["0/1/golden"], mixed.clips[1].trace.golden)
        assert len(outputs["0/4/outputs"]) == mixed.clips[4].inferences


def test_a_report_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, mixed: RunResult, passing: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.read_bytes() for file in write_report(tmp_path, [passing]).parent.iterdir()}
    written: list[Path] = []

    class FullDisk(ScratchFile):
        def __init__(self, path: Path) -> None:
            written.append(path)
            if len(written) == 4:
                raise OSError(28, "No space left on device", str(path))
            super().__init__(path)

    monkeypatch.setattr("mww.core.files.ScratchFile", FullDisk)
    with pytest.raises(OutputError, match="No space left"):
        write_report(tmp_path, [mixed])
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


class _Reader(HTMLParser):
    """Collects a page's tags, attributes and texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_but_itself() -> None:
    page = html_page([mixed_run()])
    reader = _Reader(page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & set(reader.tags) - {"link"}
    links = [value for name, value in reader.attributes if name in ("href", "src", "action")]
    assert all(link and link.startswith(("#", "data:,")) for link in links)
    assert not re.search(r"url\(|@import|https?://", page)


def test_a_hostile_name_is_only_ever_text(tmp_path: Path) -> None:
    outputs = speech(3, 1.5)
    result = run([clip(f"positive/{HOSTILE}", altered(outputs, 3), outputs)], model=HOSTILE)
    problem = Problem("arithmetic", (f"positive/{HOSTILE}",), 3, HOSTILE, HOSTILE)
    result = replace(result, warnings=(HOSTILE,), environment=((HOSTILE, HOSTILE),), problems=(problem,))
    result = replace(result, allowances=allowed(HOSTILE), proposed_allowance=allowed(HOSTILE).entries[0].allowance)
    page = html_page([result])
    reader = _Reader(page)
    assert "script" not in reader.tags
    assert not any(name.startswith("on") for name, _ in reader.attributes)
    assert any("<script>alert(1)</script>" in text for text in reader.texts)
    suite = ElementTree.fromstring(junit_xml([result])).find("testsuite")
    assert suite is not None
    assert "<script>" in str(suite.get("name")) and "\x1b" not in str(suite.get("name"))
    summary = markdown_summary([result])
    assert "<script>" not in summary and "](javascript" not in summary and "\x1b" not in summary
    assert len([line for line in summary.splitlines() if line.startswith("| ")]) == 2
    write_report(tmp_path, [result])
    assert json.loads((tmp_path / "run.json").read_text())["clips"][0]["name"] == f"positive/{HOSTILE}"


@pytest.mark.slow
def test_the_page_stays_small_however_long_the_run_is() -> None:
    hour = speech(3600, *range(10, 3600, 60))
    noise = np.random.default_rng(1).integers(0, 256, 20_000).astype(np.uint8)
    clips = [clip(f"hour-{number}", hour, altered(hour, *range(0, 120_000, 7))) for number in range(3)]
    clips.append(clip("noise", noise, noise[::-1].copy()))
    short = clip("short", speech(1), speech(1))
    clips += [replace(short, name=f"{number:04}-{'long name ' * 5}") for number in range(4100)]
    page = html_page([run(clips)])
    assert len(page.encode()) < 5_000_000
    assert "more clips in run.json" in page


def test_junit_counts_what_it_lists(mixed: RunResult) -> None:
    suite = ElementTree.fromstring(junit_xml([mixed])).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert int(str(suite.get("tests"))) == len(cases) == len(mixed.clips) + 1 + (mixed.evaluation is not None)
    assert (suite.get("failures"), suite.get("errors")) == ("1", "1")
    failure = suite.find("testcase[@name='positive/okay-2.wav']/failure")
    assert failure is not None and "first at inference 40: expected" in str(failure.get("message"))
    properties = {entry.get("name"): entry.get("value") for entry in suite.findall("properties/property")}
    assert properties["version.esp-nn"] == "1.1.2"


def test_an_arena_that_is_too_small_is_a_failure_everywhere(passing: RunResult) -> None:
    arena = ArenaResult(27_000, 28_000, "measured", manifest=26_080, fits=False, predicted=22_704)
    result = replace(passing, verdict="fail", arena=arena)
    suite = ElementTree.fromstring(junit_xml([result])).find("testsuite")
    assert suite is not None and suite.find("testcase[@name='tensor arena']/failure") is not None
    for text in (html_page([result]), markdown_summary([result]).replace("\\", "")):
        assert "the tensor arena of 26,080 bytes is too small" in text
        assert "4,296 more than predicted" in text


def test_a_run_that_compared_nothing_says_so() -> None:
    result = run([clip("a.wav", speech(3, 1.5))])
    assert run_document([result])["golden"] is None
    for text in (html_page([result]), markdown_summary([result])):
        assert "nothing was compared" in text


def test_the_ci_summary_is_appended_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixed: RunResult
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    append_to_step_summary("nothing")
    page = tmp_path / "summary"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    append_to_step_summary(markdown_summary([mixed]))
    assert page.read_text().startswith("before\n### Wake words: ⚠️ error")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "absent" / "summary"))
    with pytest.raises(OutputError, match="GITHUB_STEP_SUMMARY"):
        append_to_step_summary("x")
