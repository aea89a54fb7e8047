"""`mww listen`: what a device would do with live sound, on a terminal or as JSON lines."""

from __future__ import annotations

import json
import re
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from harness.cli.output import console, say
from harness.cli.run_options import options_of_a_run
from harness.listen.keeping import Keeper
from harness.listen.listener import Heard, Level, Listener
from harness.listen.sound_sources import Lost, open_sound
from harness.listen.web import ListenPage
from harness.run.features import FeatureResult
from harness.targets.registry import TargetOptions, open_target, spec_of_kind, target_spec
from mww.core.errors import UsageError
from mww.core.readable import printable, printable_name
from mww.esphome.model import Model, load_model

if TYPE_CHECKING:
    from rich.table import Table

    from harness.listen.board_ears import BoardEars

_PATH = click.Path(path_type=Path)
_LEVELS_A_SECOND: Final = 10
_BAR: Final = 30


@click.command("listen")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=_PATH)
@click.option(
    "--input", "source", metavar="DEVICE|FILE|-", help="A microphone, a file, or raw s16le 16 kHz mono on stdin."
)
@options_of_a_run(
    "target",
    target="Where the model runs. A board hears its own microphone, or with --input the sound of this machine.",
)
@click.option("--vad", type=_PATH, metavar="MANIFEST.json", help="A VAD model that gates detections.")
@click.option(
    "--save",
    type=_PATH,
    metavar="DIR",
    help="Save a WAV of each detection, of each near miss, and when you press Enter.",
)
@click.option("--web", is_flag=True, help="Show it as a web page on this machine, until Ctrl-C.")
@click.option("--jsonl", is_flag=True, help="Print each event as a line of JSON.")
@click.option("--json", "as_json", is_flag=True, help="The same as --jsonl.")
def command(
    models: tuple[Path, ...],
    source: str | None,
    target: tuple[str, ...],
    vad: Path | None,
    save: Path | None,
    web: bool,
    jsonl: bool,
    as_json: bool,
) -> int:
    """Listen with each MODEL, a manifest or .tflite, under ESPHome's detection rule, until the sound ends or Ctrl-C.

    Exits with 0 at the end of a file or pipe, and with 130 on Ctrl-C; clips are saved in both cases.
    """
    loaded = [load_model(path) for path in models]
    gate = load_model(vad) if vad else None
    show: _Display = _Events(_print_line) if jsonl or as_json else _Terminal([model.name for model in loaded])
    keeper = Keeper(save) if save else None

    def lost(seconds: float) -> None:
        show.lost(seconds)  # in each form of display

    with ExitStack() as stack:
        ears = None if source else _ears(loaded, target, lost, stack)
        listener = stack.enter_context(_listener(loaded, gate, () if ears else target, record=web))
        page = stack.enter_context(ListenPage(_judge(listener), saves=save is not None)) if web else None
        if page is not None:
            say(f"{page.url}   (for this machine alone; Ctrl-C ends it)", err=True)
            show = _Both(show, _Events(page.show))
        sound = ears.blocks() if ears else open_sound(source, show.lost)
        stack.enter_context(show.shown(loaded, gate, "board" if ears else source))
        try:
            _listen(listener, sound, keeper, show, page, ears)
        finally:
            if ears is not None:
                show.features(ears.features)
            for path in keeper.close() if keeper else ():
                show.saved(path)
            show.end(listener.time_s)
        if page is not None:
            _stay(page, keeper, show)
    return 0


def _ears(models: Sequence[Model], targets: tuple[str, ...], lost: Lost, stack: ExitStack) -> BoardEars | None:
    """The microphone of the named board; None for the microphone of this computer."""
    if len(targets) != 1 or target_spec(targets[0]) is not spec_of_kind("device"):
        return None
    from harness.listen.board_ears import BoardEars

    with ExitStack() as opened:
        ears = opened.enter_context(BoardEars(targets[0], models, lost))
        if ears.has_microphone:
            stack.push(opened.pop_all())
            return ears
    return None


def _listener(models: Sequence[Model], vad: Model | None, targets: tuple[str, ...], *, record: bool) -> Listener:
    names = targets or ("emulator",)
    if len(names) > 1 or (names[0] != "emulator" and len(models) > 1):
        raise UsageError("a board listens with a single model", hint="give one MODEL and one --target")
    words = [(model, open_target(names[0], TargetOptions())) for model in models]
    gate = (vad, open_target("emulator", TargetOptions())) if vad else None
    return Listener(words, gate, record=record)


def _judge(listener: Listener) -> Callable[[int, int], list[dict[str, Any]]]:
    def judge(model: int, cutoff: int) -> list[dict[str, Any]]:
        return [asdict(detection) for detection in listener.judge(model, cutoff)]

    return judge


def _listen(
    listener: Listener,
    sound: Iterator[bytes],
    keeper: Keeper | None,
    show: _Display,
    page: ListenPage | None,
    ears: BoardEars | None,
) -> None:
    shown, kept = 0.0, set[tuple[str, int]]()
    keys = sys.stdin is not None and sys.stdin.isatty()
    for block in sound:
        for path in keeper.hear(block) if keeper else ():
            show.saved(path)
        for heard in chain(ears.detections() if ears else (), listener.hear(block)):
            if keeper is not None and (heard.model, heard.inference) not in kept:
                keeper.keep(heard)  # before it is shown, and a user presses Ctrl-C
                kept.add((heard.model, heard.inference))  # the other rule says the same
            show.heard(heard)
        if (now := time.monotonic()) - shown >= 1 / _LEVELS_A_SECOND:
            show.level(replace(listener.level(block), board=tuple(ears.outputs.items()) if ears else ()))
            shown = now
        _save_requested(page, keeper, show)
        if keeper is not None and keys:
            _keep_by_key(keeper, show)


def _keep_by_key(keeper: Keeper, show: _Display) -> None:
    """Save the last seconds when Enter is pressed; a word typed before it is the clip's label."""
    if select.select([sys.stdin], [], [], 0)[0]:
        word = re.sub(r"[^\w-]", "_", sys.stdin.readline().strip(), flags=re.ASCII)
        show.saved(keeper.keep_now(word or "kept"))


def _save_requested(page: ListenPage | None, keeper: Keeper | None, show: _Display) -> None:
    while page is not None and keeper is not None and not page.keep_requests.empty():
        show.saved(keeper.keep_now(page.keep_requests.get()))


def _stay(page: ListenPage, keeper: Keeper | None, show: _Display) -> None:
    """Serve the page after the sound has ended, until Ctrl-C."""
    try:
        while True:
            _save_requested(page, keeper, show)
            time.sleep(1 / _LEVELS_A_SECOND)
    except KeyboardInterrupt:
        return


class _Display(Protocol):
    """Receives the events."""

    @contextmanager
    def shown(self, models: Sequence[Model], vad: Model | None, source: str | None) -> Iterator[None]:
        """Begin and end."""
        ...

    def level(self, level: Level) -> None:
        """Another tenth of a second of sound."""
        ...

    def heard(self, heard: Heard) -> None:
        """A detection or a near miss."""
        ...

    def saved(self, path: Path) -> None:
        """A WAV was written."""
        ...

    def lost(self, seconds: float) -> None:
        """Sound was lost."""
        ...

    def features(self, result: FeatureResult | None) -> None:
        """Whether a board's features are equal to this computer's; None where sound was lost."""
        ...

    def end(self, seconds: float) -> None:
        """The sound has ended."""
        ...


class _Events:
    """Writes events as JSON documents, each passed to `put` at once."""

    def __init__(self, put: Callable[[dict[str, Any]], None]) -> None:
        self._give = put

    @contextmanager
    def shown(self, models: Sequence[Model], vad: Model | None, source: str | None) -> Iterator[None]:
        words = [{"name": model.name, "cutoff": model.cutoff_byte, "sha256": model.sha256} for model in models]
        self._put("start", models=words, vad=vad.name if vad else None, input=source)
        yield

    def level(self, level: Level) -> None:
        models = {"averages": dict(level.averages), "board": dict(level.board)}
        self._put("level", **{**asdict(level), **models})

    def heard(self, heard: Heard) -> None:
        facts = asdict(heard)
        self._put("near-miss" if facts.pop("near_miss") else "detection", **facts)

    def saved(self, path: Path) -> None:
        self._put("saved", path=str(path))

    def lost(self, seconds: float) -> None:
        self._put("lost", seconds=seconds)

    def features(self, result: FeatureResult | None) -> None:
        first = result.first_mismatch if result else None
        mismatches = result.mismatches if result else None
        self._put("features", mismatches=mismatches, first_mismatch=asdict(first) if first else None)

    def end(self, seconds: float) -> None:
        self._put("end", time_s=seconds)

    def _put(self, event: str, **facts: Any) -> None:
        self._give({"event": event, **facts})


def _print_line(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class _Both:
    """Passes events to two displays."""

    def __init__(self, first: _Display, second: _Display) -> None:
        self._displays = (first, second)

    @contextmanager
    def shown(self, models: Sequence[Model], vad: Model | None, source: str | None) -> Iterator[None]:
        first, second = self._displays
        with first.shown(models, vad, source), second.shown(models, vad, source):
            yield

    def level(self, level: Level) -> None:
        for display in self._displays:
            display.level(level)

    def heard(self, heard: Heard) -> None:
        for display in self._displays:
            display.heard(heard)

    def saved(self, path: Path) -> None:
        for display in self._displays:
            display.saved(path)

    def lost(self, seconds: float) -> None:
        for display in self._displays:
            display.lost(seconds)

    def features(self, result: FeatureResult | None) -> None:
        for display in self._displays:
            display.features(result)

    def end(self, seconds: float) -> None:
        for display in self._displays:
            display.end(seconds)


class _Terminal:
    """A live table of levels, with detections above it; without a terminal only the detections."""

    def __init__(self, names: Sequence[str]) -> None:
        from rich.live import Live

        self._names = names
        self._cutoffs: dict[str, int] = {}
        self._console = console()
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._lost = 0.0

    @contextmanager
    def shown(self, models: Sequence[Model], vad: Model | None, source: str | None) -> Iterator[None]:
        self._cutoffs = {model.name: model.cutoff_byte for model in models}
        if not self._console.is_terminal:
            yield
            return
        with self._live:
            yield

    def level(self, level: Level) -> None:
        if self._console.is_terminal:
            self._live.update(self._table(level), refresh=True)

    def heard(self, heard: Heard) -> None:
        kind = "near miss" if heard.near_miss else "no speech by the VAD" if heard.vad_blocked else "detected"
        who = " by the board" if heard.by == "board" else ""
        self._say(f"{heard.time_s:8.2f} s  {heard.model}: {kind}{who}, average {heard.average}")

    def saved(self, path: Path) -> None:
        self._say(f"            saved {path}")

    def lost(self, seconds: float) -> None:
        self._lost += seconds
        self._say(f"            sound was lost: {self._lost:.1f} s so far; this machine is too slow or too busy")

    def features(self, result: FeatureResult | None) -> None:
        if result is None:
            self._say("            the board's features were not compared: sound was lost")
        elif result.first_mismatch is None:
            self._say("            the board's features are those of this computer")
        else:
            self._say(f"            the board's features differ from slice {result.first_mismatch.slice} on")

    def end(self, seconds: float) -> None:
        self._say(f"{seconds:8.2f} s  end of the sound")

    def _say(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(printable(line)))

    def _table(self, level: Level) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        loud = "clipped" if level.clipped else f"peak {level.peak:.2f}, DC {level.dc:+.3f}"
        table.add_row(f"{level.time_s:8.1f} s", Text(_bar(level.rms**0.5)), loud)
        board = dict(level.board)
        for name, average in level.averages:
            cutoff = self._cutoffs[name]
            style = "green" if average > cutoff else ""
            table.add_row(
                Text(printable_name(name)),
                Text(_bar(average / 255), style=style),
                f"{average} of {cutoff}",
                *_on_board(board.get(name)),
            )
        return table


def _on_board(output: int | None) -> tuple[str, ...]:
    return () if output is None else (f"board {output}",)


def _bar(share: float) -> str:
    filled = round(min(1.0, max(0.0, share)) * _BAR)
    return "█" * filled + "·" * (_BAR - filled)
