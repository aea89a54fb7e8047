"""What goes to a terminal is one line of a readable length, without anything that steers it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli.output import print_error, warn
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
