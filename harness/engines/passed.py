"""A record of checks of engines that passed, in the user's cache, so that each is made once."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path


def has_passed(note: str) -> bool:
    """Whether a check of this name has passed."""
    return (_folder() / note).exists()


def note_pass(note: str) -> None:
    """Remember a pass; where nothing can be written, the check is made each time."""
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / note).touch()
    except OSError:
        return


def _folder() -> Path:
    return user_cache_path("mww-harness") / "engines"
