"""Keeps the worst habits out of texts and names; `make lint` runs it.

A pattern is added here once the tree is free of it. The words to use instead are in CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]

NAMES: Final = {
    "found": "result, match, entry",
    "one": "item, entry, first",
    "said": "message, text",
    "told": "reported, answer",
    "ours": "own",
    "theirs": "other",
}
"""Variable names that say nothing, and what to call such things."""
_ASSIGNED: Final = re.compile(rf"\b(?:{'|'.join(NAMES)})\b\s*(?:[:,=)\]]|in\b|\W{{1,3}}=)")
"""What may assign to such a name, and need be parsed to know; a text that does not match does not."""

PHRASES: Final = {
    r"\b(?:[Tt]here|[Ii]t) is none\b": "it does not exist; without one",
    r"\bmend(?:s|ed|ing)?\b": "repair, correct",
    r"\bdone without\b": "left out",
    r"\bwhat (?:comes|came) of it\b": "the result",
}
"""Phrases that stop a reader whose first language is another, and plain ones."""

PHRASES_OF_THE_PRODUCT: Final = {
    r"\bis no \w+": "what is missing, or what does not exist",
    r"\b[Tt]old\b": "reported, said",
    r"\bof which\b": "two sentences, or 'where', 'and'",
    r"\b[Oo]ne that\b": "the thing's name again",
    r"\b[Tt]heirs\b": "the owner's name",
    r"\black(?:s|ed)?\b": "does not have, is missing",
}
"""Likewise, in what users read and in the three roots; tests may still have them."""

_TEXTS: Final = (".md", ".py", ".h", ".cpp", ".j2")
_THIS: Final = ("tools/plain_english.py", "CONTRIBUTING.md", "tests/tools/test_plain_english.py")


def findings(root: Path = _ROOT) -> Iterator[str]:
    """A line for each bad habit in the files that Git knows."""
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        path = root / name
        if path.suffix not in _TEXTS or name in _THIS or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        product = path.suffix == ".md" or name.startswith(("mww/", "exporter/", "harness/", "firmware/"))
        phrases = PHRASES | PHRASES_OF_THE_PRODUCT if product else PHRASES
        yield from (f"{name}:{finding}" for finding in phrases_in(text, phrases))
        if path.suffix == ".py":
            yield from (f"{name}:{finding}" for finding in names_in(text))


def phrases_in(text: str, phrases: Mapping[str, str] = PHRASES) -> Iterator[str]:
    """Phrases to write otherwise, each with its line."""
    matches = (
        (match.start(), match[0], plain) for pattern, plain in phrases.items() for match in re.finditer(pattern, text)
    )
    for start, phrase, plain in sorted(matches):
        number = text.count("\n", 0, start) + 1
        yield f"{number}: {phrase!r}: write {plain}"


def names_in(text: str) -> Iterator[str]:
    """Variables to call otherwise, each with its line; fields and keywords are promises and stay."""
    for node in ast.walk(ast.parse(text)) if _ASSIGNED.search(text) else ():
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Store) or node.id not in NAMES:
            continue
        if not _is_field(text, node):
            yield f"{node.lineno}: the name {node.id!r}: call it {NAMES[node.id]}"


def _is_field(text: str, node: ast.Name) -> bool:
    """Whether a name is declared as a field, `name: type`, on the level of a class."""
    line = text.splitlines()[node.lineno - 1]
    return re.match(rf"    {node.id}: ", line) is not None


if __name__ == "__main__":
    habits = list(findings())
    sys.stdout.writelines(f"{habit}\n" for habit in habits)
    sys.exit(bool(habits))
