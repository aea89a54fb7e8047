"""Text out of files and devices, made safe to print."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 480
"""Characters of a line that somebody can still read."""

LONGEST_NAME: Final = 160
"""Characters of a name within a line or table."""


def printable(text: str, keep: str = "", longest: int | None = LONGEST) -> str:
    """Make text from outside safe to print: no name from a file steers a terminal, or fills it.

    Args:
        text: Any text.
        keep: Control characters that stay.
        longest: Characters that are left of a longer text, without its middle: a reason often comes last. None: all.
    """
    if longest is not None and len(text) > longest:
        text = f"{text[: longest // 2]} \N{HORIZONTAL ELLIPSIS} {text[-(longest // 2) :]}"
    return "".join(letter if letter.isprintable() or letter in keep else "\N{REPLACEMENT CHARACTER}" for letter in text)


def printable_name(text: str) -> str:
    """A name of a clip, model, board or program, made safe to print within a line or table."""
    return printable(text, longest=LONGEST_NAME)
