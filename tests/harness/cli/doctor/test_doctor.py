"""`mww doctor` knows what pyproject.toml declares, and gives the line that repairs each lack."""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")

from harness.cli import execute, mww
from harness.cli.doctor import BASE, EXTRAS, PYTHONS, Finding, examine, look_at_installation
from mww.core.resources import IMPORT_ROOT
from tests.support.needs import pretend_computer

PROJECT = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!; ]", requirement)[0] for requirement in requirements}


def _finding(key: str) -> Finding:
    return next(finding for finding in look_at_installation() if finding.id == key)


def _without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in absent:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_its_tables_are_pyproject_s() -> None:
    assert set(BASE) == _names(PROJECT["dependencies"]) - {"tomli"}
    assert PROJECT["requires-python"] == ">=3.10,<3.15"
    assert PYTHONS == ((3, 10), (3, 14))
    declared = PROJECT["optional-dependencies"]
    assert {extra.name for extra in EXTRAS} == set(declared) - {"all", "test"}
    for extra in EXTRAS:
        assert set(extra.distributions) == _names(declared[extra.name]) - {"numpy", "importlib_metadata"}, extra.name


def test_a_missing_extra_comes_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "keras")
    finding = _finding("extra.export")
    assert finding.status == "missing"
    assert "keras" in finding.message and "tensorflow" not in finding.message
    assert re.search(r"pip install .*\[export\]'$", finding.hint or "")


def test_an_extra_without_a_wheel_says_so_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "tflite-micro")
    pretend_computer(monkeypatch, "3.11.2", "aarch64")
    assert "has no wheel here" in (_finding("extra.tflm").hint or "")
    assert "pip" not in (_finding("extra.tflm").hint or "")


def test_a_missing_base_package_or_an_old_python_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without(monkeypatch, "cobs")
    assert _finding("base").status == "fail"
    assert execute(mww, ["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert _finding("python").status == "fail"


def test_what_shadows_our_names_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exporter.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert (_finding("shadowing").status, "python -m" in _finding("shadowing").message) == ("warn", True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(IMPORT_ROOT), str(tmp_path)])
    assert "exporter.py is hidden by mww-harness" in _finding("shadowing").message
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert _finding("shadowing").status == "fail"
    assert f"{tmp_path / 'exporter.py'} is imported instead of mww-harness" in _finding("shadowing").message


def test_an_installed_package_with_our_names_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file, content in (
        ("wheel", "RECORD", "wheel/__init__.py,,\nexporter/__init__.py,sha256=x,12\n"),
        ("egg", "top_level.txt", "harness\n"),
        ("other", "RECORD", "other/mww/__init__.py,,\nmwwx.py,,\n../../bin/mww,,\n"),
    ):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / file).write_text(content)
    monkeypatch.setattr(sys, "path", [str(IMPORT_ROOT), str(tmp_path)])
    finding = _finding("shadowing")
    assert finding.status == "fail"
    assert set(finding.message.split("; ")) == {
        "the installed package wheel also has a module exporter",
        "the installed package egg also has a module harness",
    }


def test_without_a_compiler_ziglang_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    findings = {finding.id: finding for finding in examine()}
    assert "stands in" in findings["compiler"].message
    assert findings["cmake"].status == "ok"


def test_this_machine_has_a_working_base(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(mww, ["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.doctor/1"
    assert {"python", "base", "shadowing", "compiler", "cache", "serial-access"} <= {
        check["id"] for check in document["checks"]
    }
    assert execute(mww, ["doctor"]) == 0
    assert "the base works" in capsys.readouterr().out
