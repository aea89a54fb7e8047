from __future__ import annotations

import html
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest

from harness.cli import execute, mww
from harness.clips.npz import write_archive

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>",
    "../../../../tmp/escaped",
    "/etc/passwd\0.wav",
    "a\r\nb\u202egnp.exe\ud800'\"&]]>",
    "[bold red]markup[/] {{ 7 * 7 }}",
    "x" * 10_000,
)


@pytest.fixture
def features(tmp_path: Path, spoken: tuple[npt.NDArray[np.int8], ...]) -> Path:
    names = [name.encode(errors="replace").decode() for name in HOSTILE]
    write_archive(tmp_path / "f.npz", [(name.replace("\0", "\x01"), spoken[0]) for name in names])
    return tmp_path / "f.npz"


@pytest.mark.parametrize("as_json", [False, True])
def test_names_write_nothing_but_themselves(
    models: Path, features: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], as_json: bool
) -> None:
    report = tmp_path / "report"
    words = ["run", str(models / "okay_nabu.json"), "--features", str(features), "--engine", "litert"]
    words += ["--report", str(report), "--junit", str(tmp_path / "junit.xml"), *(["--json"] if as_json else [])]
    assert execute(mww, words) == 0
    shown = capfd.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "\x07" not in shown.out + shown.err
    if as_json:
        assert len(json.loads(shown.out)["clips"]) == len(HOSTILE)
    page = (report / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert html.escape("<script>alert") in page
    for junit in (report / "junit.xml", tmp_path / "junit.xml"):
        assert len(ElementTree.parse(junit).getroot().findall(".//testcase")) >= len(HOSTILE)
    assert "<script>alert" not in (report / "summary.md").read_text("utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"f.npz", "report", "junit.xml"}
    assert execute(mww, ["compare-runs", str(report), str(report)]) == 0
    assert "\x1b" not in "".join(capfd.readouterr())


def test_a_hostile_name_in_a_manifest_or_inventory_stays_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = {"type": "micro", "model": "../\x1b[2J.tflite", "wake_word": "\x1b[2J", "version": 2, "micro": {}}
    (tmp_path / "m.json").write_text(json.dumps(manifest))
    (tmp_path / "boards.yaml").write_text('boards:\n- {id: "\\e[2J", port: "/dev/\\e[2J"}\n')
    assert execute(mww, ["verify", str(tmp_path / "m.json")]) != 0
    execute(mww, ["boards", "list", "--map", str(tmp_path / "boards.yaml")])
    execute(mww, ["run", "--target", "/dev/\x1b[2J", str(tmp_path / "m\x1b[2J.json"), "--wav", str(tmp_path)])
    assert "\x1b[2J" not in "".join(capfd.readouterr())
