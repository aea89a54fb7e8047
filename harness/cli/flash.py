"""`mww flash`: write firmware and models to a board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.numbers import Whole
from harness.cli.output import emit_json, json_option, progress, say
from harness.serial.connection import DEFAULT_BAUD
from harness.targets.registry import firmware_of
from mww.core.readable import is_file, is_there, read_regular, reading

if TYPE_CHECKING:
    from harness.boards.flashing import FlashReport
    from harness.link.model_table import ModelRecord

_MAX_FIRMWARE = 32 << 20  # bytes; no supported board has more flash


@click.command(help="Write firmware and models to a board: only what differs, verified afterwards.")
@click.option("--port", required=True, envvar="ESPPORT", help="A device path or pyserial URL.  [env: ESPPORT]")
@click.option("--chip", default="auto", show_default=True, help="The chip that the board must have.")
@click.option(
    "--firmware",
    type=click.Path(path_type=Path),
    metavar="FACTORY.bin|DIR",
    help="A factory image, the folder of a project that was built, or `virtual` for the virtual board's own image.",
)
@click.option(
    "--model", "models", type=click.Path(path_type=Path), multiple=True, metavar="MANIFEST.json", help="One to four."
)
@click.option("--baud", type=Whole(1), default=DEFAULT_BAUD, show_default=True, envvar="ESPBAUD", help="[env: ESPBAUD]")
@click.option("--before", default="default-reset", show_default=True, help="As esptool names it.")
@click.option("--after", default="hard-reset", show_default=True, help="As esptool names it.")
@json_option
def command(
    port: str,
    chip: str,
    firmware: Path | None,
    models: tuple[Path, ...],
    baud: int,
    before: str,
    after: str,
    as_json: bool,
) -> None:
    """Flash, and show what was written."""
    from harness.boards.flashing import FlashJob, flash
    from harness.boards.leases import hold_port

    records = cache(partial(_load, models))
    if not all(is_file(path) for path in models):
        records()  # their faults are reported before a board is touched
    job = FlashJob(
        port=port,
        chip=chip,
        firmware=None if firmware is None else _firmware(firmware),
        models=records if models else (),
        baud=baud,
        before=before,
        after=after,
    )
    with hold_port(port, purpose="mww flash") as board, progress() as report:
        done = flash(replace(job, port=board.port), report)
    if as_json:
        _emit(port, done, [record.sha256.hex() for record in records()])
        return
    say(f"{done.chip} {done.mac} at {board.id}")
    for part in done.parts:
        say(f"  {part.offset:#010x}  {part.size:>8}  {part.name:<16} {'written' if part.written else 'as it was'}")
    say(f"verified in {done.seconds:.1f} s")


def _load(paths: Sequence[Path]) -> tuple[ModelRecord, ...]:
    """The models as records of the model partition; imported late, because firmware alone does not need it."""
    from harness.link.model_table import ModelRecord
    from mww.esphome.model import load_model

    models = map(load_model, paths)
    return tuple(ModelRecord(model.content, model.tensor_arena_size or 0) for model in models)


def _firmware(path: Path) -> Callable[[str], bytes]:
    """Read the file now, or make the virtual firmware later, when the chip is known."""
    own = None if is_there(path) else firmware_of(str(path))
    if own is not None:
        return own
    from harness.boards.firmware_project import find_image

    path = find_image(path)
    with reading(path, hint="give a factory image"):
        content = read_regular(path, _MAX_FIRMWARE)
    return lambda chip: content


def _emit(port: str, done: FlashReport, models: list[str]) -> None:
    parts = [
        {"name": part.name, "offset": part.offset, "size": part.size, "written": part.written} for part in done.parts
    ]
    emit_json(
        "mww.flash/1",
        {
            "port": port,
            "chip": done.chip,
            "mac": done.mac,
            "models": models,
            "parts": parts,
            "verified": True,
            "seconds": round(done.seconds, 3),
        },
    )
