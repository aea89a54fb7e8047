"""Every option that takes a number refuses what is not a number of a sensible size."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from harness.cli import execute, mww

HOSTILE = ("nan", "-nan", "inf", "-inf", "1e400", str(10**30), str(-(10**30)), "9" * 5000, "", "0x10")


def _numeric(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _numeric(inner, (*path, name))
    for parameter in command.params:
        if isinstance(parameter.type, (click.types.FloatParamType, click.types.IntParamType)):
            yield path, parameter


def test_no_option_takes_a_number_that_nothing_can_be_done_with(capsys: pytest.CaptureFixture[str]) -> None:
    options = list(_numeric(mww, ()))
    assert len(options) > 25
    for path, parameter in options:
        for value in HOSTILE:
            case = (*path, f"{parameter.opts[0]}={value}")
            assert execute(mww, case) == 2, case
            printed = capsys.readouterr()
            assert printed.out == "", case
            error, hint = printed.err.split("\n", 1)
            assert error.startswith("error: Invalid value for"), case
            assert len(error) < 500, case
            assert hint.startswith(" hint: Usage: mww"), case


def test_a_range_with_an_end_is_taken_to_its_end() -> None:
    (seed,) = (option for path, option in _numeric(mww, ()) if path == ("synth",) and option.name == "seed")
    assert seed.type.convert(str(2**63 - 1), seed, None) == 2**63 - 1
    with pytest.raises(click.BadParameter):
        seed.type.convert(str(2**63), seed, None)
