"""The options that name clips, the same on every verb that streams: exactly one of features, WAVs and a golden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from harness.cli.run_options import options_of_a_run
from harness.clips.remote import is_url
from mww.core.errors import UsageError

if TYPE_CHECKING:
    from harness.clips.sources import ClipSource

F = TypeVar("F", bound=Callable[..., Any])


Place: TypeAlias = "Path | str"
"""A path, or the URL of a file or folder."""


def place(text: str) -> Place:
    """A path, or a URL as it stands: its slashes are no folders of this machine."""
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
        click.option("--wav", type=place, multiple=True, metavar="PATH", help="A WAV file or a folder, or their URL."),
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
        UsageError: It does not exist or several, or a lead-in for what has no audio.
    """
    given = [name for name, value in (("--features", features), ("--wav", wav), ("--golden", golden)) if value]
    if len(given) != 1:
        message = "no clips are given" if not given else f"{' and '.join(given)} are given together"
        raise UsageError(message, hint="one of --features FILE.npz, --wav PATH and, for mww run, --golden GOLDEN.npz")
    if lead_in and not wav and not (isinstance(features, Path) and features.is_dir()):
        raise UsageError(f"--lead-in with {given[0]}", hint="it is silence before the front-end: only --wav takes it")
    return features or golden or list(wav)
