"""`mww demo`: the whole way on a real wake word, with a short account."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from harness.cli.demo_run import DemoResult, run_demo
from harness.cli.output import console, emit_json, json_option


@click.command("demo")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("mww-demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for every file.",
)
@json_option
def command(output: Path, as_json: bool) -> int:
    """Recover a published wake word, export it again, and prove it on a virtual ESP32, in about a minute."""
    result = run_demo(output, _tell_step)
    if as_json:
        emit_json("mww.demo/1", _document(result))
    else:
        _print_account(result)
    return 0 if _holds(result) else 1


def _tell_step(title: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"  {title} ...", err=True)


def _holds(result: DemoResult) -> bool:
    return result.board_run.verdict == "pass" and result.agreement.same_clips


def _document(result: DemoResult) -> dict[str, object]:
    return {
        "verdict": "pass" if _holds(result) else "fail",
        "folder": str(result.folder),
        "model": str(result.exported.path),
        "model_sha256": result.exported.sha256,
        "agreement": asdict(result.agreement),
        "detections": {clip.name: len(clip.detections) for clip in result.board_run.clips},
        "mismatches": sum(clip.mismatches or 0 for clip in result.board_run.clips),
        "inferences": sum(clip.inferences for clip in result.board_run.clips),
        "tensor_arena_size": result.exported.tensor_arena_size,
        "arena": {arena.chip: {"used": arena.used, "minimum": arena.minimum} for arena in result.arenas},
        "report": str(result.report),
        "analysis": str(result.analysis),
        "seconds": result.seconds,
    }


def _print_account(result: DemoResult) -> None:
    from rich.table import Table

    out = console()
    out.print(f"\n[bold]{result.exported.name}[/], recovered from the published model and exported again\n")
    table = Table("clip", "published", "exported", "on the board", "differences", box=None, pad_edge=False)
    for published, exported, board in zip(
        result.published_run.clips, result.exported_run.clips, result.board_run.clips, strict=True
    ):
        differences = f"{board.mismatches} of {board.inferences}"
        cells = (_heard(len(clip.detections), clip.max_output) for clip in (published, exported, board))
        table.add_row(Path(board.name).relative_to(result.folder / "clips").as_posix(), *cells, differences)
    out.print(table)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(result):
        facts.add_row(f"[dim]{name}[/]", value)
    out.print(facts, "")


def _heard(detections: int, highest: int | None) -> str:
    return f"[green]detected[/], peak {highest}" if detections else f"silent, peak {highest}"


def _facts(result: DemoResult) -> list[tuple[str, str]]:
    agreement, board = result.agreement, result.board_run
    inferences = sum(clip.inferences for clip in board.clips)
    chips: dict[int, list[str]] = {}
    for arena in result.arenas:
        chips.setdefault(arena.minimum, []).append(arena.chip)
    arenas = ", ".join(f"{', '.join(names)} {minimum:,}" for minimum, names in chips.items())
    golden = f"the engine {board.golden.engine}'s" if board.golden else "nothing"
    mismatches = sum(clip.mismatches or 0 for clip in board.clips)
    return [
        (
            "agreement",
            f"{agreement.mean:.2f} of 255 on average, {agreement.largest} at most, over {agreement.outputs} outputs",
        ),
        (
            "board",
            f"virtual {board.target.chip}, flashed by esptool: "
            f"{mismatches} of {inferences:,} outputs differ from {golden}",
        ),
        ("size", f"{len(result.published.content):,} bytes published, {len(result.exported.content):,} exported"),
        ("arena", f"{arenas} bytes at least (predicted); the manifest asks for {result.exported.tensor_arena_size:,}"),
        ("time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())),
        (
            "files",
            f"{result.folder}: {result.report.relative_to(result.folder)}, {result.analysis.name} and all models",
        ),
        ("verdict", "[bold green]pass[/]" if _holds(result) else "[bold red]fail[/]"),
    ]
