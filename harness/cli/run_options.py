"""Options that several commands share: those of `harness.run.options`, and those that give clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from harness.cli.numbers import Real, Whole
from harness.clips.remote import is_url
from harness.run.options import Option, run_options
from harness.targets.registry import DEFAULT_TARGET
from mww.core.errors import UsageError
from mww.core.readable import is_folder

if TYPE_CHECKING:
    from harness.clips.sources import ClipSource


Place: TypeAlias = "Path | str"
"""A path, or the URL of a file or folder."""

F = TypeVar("F", bound=Callable[..., Any])


def place(text: str) -> Place:
    """A path, or an unchanged URL: its slashes do not separate folders of this machine."""
    return text if is_url(text) else Path(text)


def clip_options(function: F) -> F:
    """Add `--features`, `--wav` and `--lead-in`."""
    options = (
        click.option(
            "--features",
            type=place,
            metavar="FILE.npz|DIR",
            help="Clips of mww features or a trainer.",
        ),
        click.option(
            "--wav", type=place, multiple=True, metavar="PATH", help="A sound file or a folder, or its URL; repeatable."
        ),
        options_of_a_run("lead_in"),
    )
    for option in reversed(options):
        function = option(function)
    return function


def clip_source(
    features: Place | None, wav: tuple[Place, ...], lead_in: float, golden: Place | None = None
) -> ClipSource:
    """The one source that was given.

    Raises:
        UsageError: No source is given, or several, or a lead-in for a source without audio.
    """
    given = [name for name, value in (("--features", features), ("--wav", wav), ("--golden", golden)) if value]
    if len(given) != 1:
        message = "no clips are given" if not given else f"{' and '.join(given)} are given together"
        raise UsageError(message, hint="one of --features FILE.npz, --wav PATH and, for mww run, --golden GOLDEN.npz")
    if lead_in and not wav and not (isinstance(features, Path) and is_folder(features)):
        raise UsageError(f"--lead-in with {given[0]}", hint="it is silence before the front-end: only --wav takes it")
    return features or golden or list(wav)


def options_of_a_run(*names: str, **meanings: str) -> Callable[[F], F]:
    """Add options of a run by their keywords; without `names` all but the lead-in, which belongs to the clips.

    `meanings` replaces help texts for this command.
    """

    def add(function: F) -> F:
        options = run_options()
        for name in reversed(names or [name for name in options if options[name][0].flag and name != "lead_in"]):
            option, default = options[name]
            function = _click_option(name, option, default, meanings.get(name, option.meaning))(function)
        return function

    return add


def taken_options(words: dict[str, Any]) -> dict[str, Any]:
    """Take the options of a run out of a command's keywords, as those of `RunOptions`."""
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
