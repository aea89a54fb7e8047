"""`mww explain`: what went wrong, from a log of ESPHome or of the chip, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click

from harness.cli.output import emit_json, json_option, say
from mww.core.errors import InputError
from mww.core.readable import open_regular, reading
from mww.esphome.log_messages import Explained, explain

_MOST_BYTES: Final = 32 << 20
_LINE_BYTES: Final = 64 * 1024
_SHOWN: Final = 200


@click.command("explain")
@click.argument("log", type=click.Path(path_type=Path), default="-", metavar="[LOG]")
@json_option
def command(log: Path, as_json: bool) -> int:
    """Read LOG, a file or - for stdin, and show the cause of each known message, the cure, and a command that helps.

    Exits with 0 if it knows a message, with 1 if it knows none.
    """
    findings = explain(_lines(log))
    if as_json:
        emit_json("mww.explain/1", {"findings": [_document(entry) for entry in findings]})
    elif findings:
        for entry in findings:
            _print(entry)
    else:
        say("This log has no known message. docs/troubleshooting.md lists the known ones.")
    return 0 if findings else 1


def _lines(log: Path) -> Iterator[str]:
    if str(log) == "-":
        yield from _read(sys.stdin.buffer)
        return
    with reading(log, hint="give a log file, or - and the log on stdin"), open_regular(log) as file:
        yield from _read(file)


def _read(stream: BinaryIO) -> Iterator[str]:
    """The lines of a log of bounded size; bytes that are not text are replaced by a mark."""
    size = 0
    while line := stream.readline(_LINE_BYTES):
        size += len(line)
        if size > _MOST_BYTES:
            raise InputError(
                f"the log is longer than {_MOST_BYTES >> 20} MB", hint="give its last lines: tail -n 10000"
            )
        yield line.decode("utf-8", "replace")


def _document(entry: Explained) -> dict[str, object]:
    message = entry.message
    return {
        "id": message.id,
        "line": entry.line,
        "message": entry.text[:_SHOWN],
        "cause": message.cause,
        "cure": message.cure,
        "command": message.command,
    }


def _print(entry: Explained) -> None:
    message = entry.message
    say(f"line {entry.line}: ", nl=False, bold=True)
    say(entry.text[:_SHOWN])
    say(f"  cause    {message.cause}")
    say(f"  cure     {message.cure}")
    say(f"  command  {message.command}")
