"""Text out of files and devices, made safe to print."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """Replace control characters but those in `keep`, so that no name from a file can steer a terminal."""
    return "".join(letter if letter.isprintable() or letter in keep else "\N{REPLACEMENT CHARACTER}" for letter in text)
