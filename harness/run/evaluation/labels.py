"""The labels of clips: from folders named `positive`, `near-miss` and `negative`, or from a CSV file.

A near miss resembles the word on purpose. It is counted separately: negatives stand for hours of a day, and near misses
among them would give a rate of false accepts that does not occur.
"""

from __future__ import annotations

import csv
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal, get_args

from mww.core.errors import InputError
from mww.core.readable import read_regular, shown

LabelKind = Literal["positive", "near-miss", "negative"]
LABELS: Final[dict[str, LabelKind]] = {kind: kind for kind in get_args(LabelKind)}

_FOLDERS: Final[dict[str, LabelKind]] = {
    **LABELS,
    "testing_ambient": "negative",
    "validation_ambient": "negative",
    "negative_datasets": "negative",
    "generated_augmented_features": "positive",
}
"""Names of folders and the labels of their clips; the last four are the official trainer's."""
_EXAMPLE: Final = "docs/reports.md shows an example"
_FULL_NAME: Final = "give its full name, as in run.json"
_MAX_BYTES: Final = 64 << 20
_NEEDED: Final = ("clip", "label")
_COLUMNS: Final = (*_NEEDED, "end_s")


class LabelError(InputError):
    """A file of labels that cannot be used."""

    code = "labels"


@dataclass(frozen=True, slots=True)
class Label:
    """A clip's label; `end_s` is the end of the wake word in the clip, in seconds, None where it is unknown."""

    kind: LabelKind
    end_s: float | None = None


def labels_from_names(names: Iterable[str]) -> dict[str, Label]:
    """Label the clips that lie in a folder with the name of a label; the innermost such folder decides.

    The official trainer's names of folders are known too.
    """
    labels: dict[str, Label] = {}
    for name in names:
        folders = [folder for folder in PurePosixPath(name).parts[:-1] if folder in _FOLDERS]
        if folders:
            labels[name] = Label(_FOLDERS[folders[-1]])
    return labels


def read_labels(path: Path | str, names: Iterable[str]) -> tuple[dict[str, Label], tuple[str, ...]]:
    """Read a CSV with the columns `clip`, `label` and, if wanted, `end_s`; `clip` is a clip's name or file name.

    Other columns, such as those of `mww synth`, are not read.

    Returns:
        The labels, and the clips of the file that are not in `names`: a run may have only a part of a corpus.

    Raises:
        LabelError: It cannot be read, a value is not a label, a line matches several clips, no line matches a clip, or
            two lines give a clip different labels.
    """
    path = Path(path)
    known = _by_ending(names)
    labels: dict[str, Label] = {}
    absent: dict[str, str] = {}
    for number, row in enumerate(_rows(path), start=2):
        where = f"{path}, line {number}"
        kind = (row.get("label") or "").strip()
        if kind not in LABELS:
            raise LabelError(f"{where} has label {kind[:40]!r}", hint="positive, near-miss or negative")
        label = Label(LABELS[kind], _seconds(where, row.get("end_s")))
        clip = (row.get("clip") or "").strip()
        name = _match(where, clip, known)
        if name is None:
            absent[clip] = where
        elif labels.setdefault(name, label) != label:
            raise LabelError(f"{where} contradicts an earlier line about {name[:80]!r}", hint="keep one of the lines")
    if absent and not labels:
        clip, where = next(iter(absent.items()))
        raise LabelError(f"{where}: {clip[:80]!r} is not a clip of this run, nor is any other", hint=_FULL_NAME)
    return labels, tuple(absent)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = read_regular(path, _MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not in UTF-8"
        raise LabelError(
            f"cannot read {path}: {reason}", hint=f"give a CSV file of labels in UTF-8: {_EXAMPLE}"
        ) from error
    try:
        reader = csv.DictReader(text.splitlines(), strict=True)
        rows = list(reader)
    except csv.Error as error:
        raise LabelError(f"{path} is not a CSV file: {error}", hint=f"give a CSV file of labels: {_EXAMPLE}") from error
    fields = reader.fieldnames or []
    for column in _NEEDED:
        if column not in fields:
            has = f"it has {shown(', '.join(fields))}" if fields else "it is empty"
            message = f"{path} does not have the column {column}: {has}"
            raise LabelError(message, hint=f"the first line names the columns, with commas: {','.join(_COLUMNS)}")
    longer = next((number for number, row in enumerate(rows, start=2) if None in row), None)
    if longer is not None:
        raise LabelError(
            f"{path}, line {longer} has more values than the first line has columns",
            hint="put quotation marks around a value with a comma",
        )
    return rows


def _seconds(where: str, text: str | None) -> float | None:
    if not (text or "").strip():
        return None
    try:
        seconds = float(text or "")
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise LabelError(
            f"{where} has end_s {str(text)[:40]!r}, which is not a number of seconds",
            hint="write seconds, such as 1.25, or leave it empty",
        )
    return seconds


def _by_ending(names: Iterable[str]) -> dict[str, list[str]]:
    """Clips by their names, and by every part of a name that follows a slash."""
    result: dict[str, list[str]] = {}
    for name in names:
        parts = _plain(name).split("/")
        for start in range(len(parts)):
            result.setdefault("/".join(parts[start:]), []).append(name)
    return result


def _plain(name: str) -> str:
    """A name without `./` in front, and with its accents in one form: macOS writes another than other systems."""
    return unicodedata.normalize("NFC", name if "://" in name else PurePosixPath(name).as_posix())


def _match(where: str, clip: str, known: dict[str, list[str]]) -> str | None:
    """The clip of that name, or the clip whose path ends in it; None without one."""
    clip = clip and _plain(clip)
    result = known.get(clip, [])
    for name in result:
        if _plain(name) == clip:
            return name
    if len(result) > 1:
        raise LabelError(f"{where}: {clip[:80]!r} matches {len(result)} clips of this run", hint=_FULL_NAME)
    return result[0] if result else None
