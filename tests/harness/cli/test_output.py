"""What goes to a terminal is one line of a readable length, without anything that steers it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harness.cli
from harness.cli.output import console, overwrite, print_error, say, say_lines, show_json, warn
from mww.core.errors import InputError, UsageError

_TEXT = st.text(st.characters(), max_size=80).map(lambda text: text + "\x1b[2J\r\udcff") | st.just("a" * 10_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=_TEXT, hint=_TEXT)
def test_errors_and_warnings_are_two_readable_lines(
    message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_error(InputError(message, hint=hint), as_json=False)
    print_error(UsageError(message, hint=hint.replace("\n", "")), as_json=False)
    warn(message, hint)
    out, err = capsys.readouterr()
    lines = err.removesuffix("\n").split("\n")
    assert out == ""
    assert len(lines) == 6
    assert all(len(line) < 520 and line.isprintable() for line in (*lines[:3], *lines[4:]))
    assert lines[3].isprintable()


def test_the_reason_at_the_end_stays(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(InputError(f"cannot read {'x' * 5000}: it is a pipe", hint="give a file"), as_json=False)
    assert capsys.readouterr().err.splitlines()[0].endswith("it is a pipe")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_TEXT)
def test_nothing_that_verbs_print_steers_a_terminal_or_fills_it(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    say(text)
    assert len(capsys.readouterr().out.removesuffix("\n")) < 500
    say_lines(text)
    table = Table("a name")
    table.add_row(Text(text[:200]))
    console().print(table)
    console().print(Text(text))
    show_json({"name": text})
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))
    overwrite(text)
    assert capsys.readouterr().err.removeprefix("\r").isprintable()


@given(text=_TEXT)
def test_a_document_that_is_shown_is_json(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("harness.cli.output.click.echo", lines.append)
        show_json({"name": text})
    assert json.loads(lines[0]) == {"name": text}


def test_verbs_print_through_the_one_module_that_cleans() -> None:
    assert harness.cli.__file__ is not None
    folder = Path(harness.cli.__file__).parent
    direct = re.compile(r"(?<![\w.])print\(|click\.s?echo\(|click\.style\(")
    names = [path.name for path in folder.rglob("*.py") if direct.search(path.read_text("utf-8"))]
    assert names == ["output.py"]
