"""`mww firmware`: an ESPHome project with the harness's firmware for a board."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from harness.boards.firmware_project import board_names, write_project
from harness.cli.output import emit_json, json_option, say


@click.command("firmware")
@click.argument("board", type=click.Choice(board_names()), metavar="BOARD")
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option(
    "--model",
    "manifests",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="MANIFEST.json",
    help="Also write a YAML with the real micro_wake_word and this model; repeatable.",
)
@click.option("--vad", type=click.Path(path_type=Path), metavar="MANIFEST.json", help="The model under its vad:.")
@click.option("--microphone", is_flag=True, help="Give the firmware the board's microphone, for mww listen --target.")
@json_option
def command(
    board: str, output: Path, manifests: tuple[Path, ...], vad: Path | None, microphone: bool, as_json: bool
) -> None:
    """Write an ESPHome project with the harness's firmware for BOARD into DIR.

    An existing DIR/BOARD.yaml is kept; everything else is replaced. `esphome compile` builds it.
    """
    project = write_project(board, output, manifests=manifests, vad=vad, microphone=microphone)
    if as_json:
        document = {
            "board": project.board,
            "config": str(project.config),
            "image": str(project.image),
            "wake_word": str(project.wake_word) if project.wake_word else None,
        }
        emit_json("mww.firmware/1", document)
        return
    say(f"Wrote the firmware for {board} to {output}. Next steps:")
    say(f"  build      esphome compile {shlex.quote(str(project.config))}")
    say(f"  flash      mww flash --port PORT --firmware {shlex.quote(str(output))}")
    if len(manifests) > 1:
        first = manifests[0].stem
        say(f"  note       ESPHome enables only {first} at first boot; mww budget adds up what the models take")
    say("  try        mww run MANIFEST.json --wav CLIP.wav --target PORT")
    if microphone:
        say("  listen     mww listen MANIFEST.json --target PORT")
    if project.wake_word:
        say(f"  wake word  esphome run {shlex.quote(str(project.wake_word))}")
