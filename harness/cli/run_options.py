"""The options of `harness.run.options` as options of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.numbers import Real, Whole
from harness.run.options import Option, run_options
from harness.targets.registry import DEFAULT_TARGET

F = TypeVar("F", bound=Callable[..., Any])


def options_of_a_run(*names: str, **meanings: str) -> Callable[[F], F]:
    """Add options of a run by their keywords; without `names` all but the lead-in, which goes with the clips.

    `meanings` are this verb's own words for them.
    """

    def add(function: F) -> F:
        options = run_options()
        for name in reversed(names or [name for name in options if options[name][0].flag and name != "lead_in"]):
            option, default = options[name]
            function = _click_option(name, option, default, meanings.get(name, option.meaning))(function)
        return function

    return add


def taken_options(words: dict[str, Any]) -> dict[str, Any]:
    """Take the options of a run out of a command's words, as the keywords of `RunOptions`."""
    taken = {name: words.pop(name) for name in run_options() if name in words}
    first, *others = taken.pop("target", ()) or (DEFAULT_TARGET,)
    return {**taken, "target": first, "more_targets": tuple(others)}


def _click_option(name: str, option: Option, default: object, meaning: str) -> Callable[[F], F]:
    if option.default is not None:
        meaning += f"  [default: {option.default}]"
    elif option.repeats and default:
        meaning += f"  [default: {default}]"
    more: dict[str, Any] = {"help": meaning, "metavar": option.metavar, "default": default}
    if option.repeats:
        more |= {"multiple": True, "default": ()}
    elif option.is_switch:
        more |= {"is_flag": True}
    else:
        more |= {"show_default": default is not None}
    if option.choices:
        more["type"] = click.Choice(list(option.choices))
    elif option.is_number:
        more["type"] = Real(option.low, option.high)
    elif option.low is not None:
        more["type"] = Whole(option.low, option.high)
    elif option.is_path:
        more["type"] = click.Path(path_type=Path)
    return click.option(option.flag or "", name, **more)
