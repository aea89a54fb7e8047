"""The `mww` command: a table of verbs, each imported only when it is called, and the edge of the process.

A verb's module parses, calls and prints; errors, interrupts and exit codes are handled here, once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click

from harness.cli.output import print_error, say
from harness.engines.exact.blas import set_up_blas
from mww import __version__
from mww.core.errors import InputError, MwwError, UsageError

VERBS: Final = {
    "export": "A trained checkpoint to a streaming INT8 model and its manifest.",
    "recover": "A published model back to a trained checkpoint.",
    "verify": "Every rule of the runtime, checked on a model or manifest.",
    "manifest": "A manifest for a model, or a repaired one.",
    "optimize": "The same model in a smaller file and arena.",
    "arena": "The tensor arena per chip, to the byte.",
    "budget": "Several models on one device: flash, memory and time per chip.",
    "analyze": "What a model is made of, as text, JSON or a page.",
    "compare": "What two models differ in.",
    "features": "WAV clips to the features that the device sees.",
    "listen": "What a device would do with this machine's sound, live.",
    "record": "Golden outputs of a model on clips.",
    "synth": "From a phrase to labelled clips: the phrase, near misses, negatives.",
    "cutoff": "A better cutoff for a wake word, by labelled clips.",
    "run": "Stream clips through a target and judge every output.",
    "compare-runs": "What changed between two runs.",
    "matrix": "The same models over ESPHome releases, library versions and chips.",
    "bisect": "Why a target's outputs are not the golden ones, down to the operator.",
    "virtual": "Serve a virtual ESP32.",
    "firmware": "An ESPHome project with the harness's firmware for a board.",
    "flash": "Write firmware and models to a board.",
    "boards": "The boards of this machine: inventory, ports, who uses them.",
    "bench": "How fast and how small, against what you would otherwise do.",
    "demo": "The whole way on a real wake word, in a minute.",
    "explain": "What a log of ESPHome says went wrong, and the cure.",
    "doctor": "What this machine can do, and what is missing.",
}
"""Verb to one-line help; the module is `harness.cli.<verb>`, its command `command`."""

INTERRUPTED: Final = 130

_SMALL_PRODUCTS: Final = ("run", "record", "cutoff", "bisect", "demo", "bench")
"""Verbs whose matrix products are small, and decide how long they take."""


class LazyGroup(click.Group):
    """A group that imports a verb when it is called, and lists verbs without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of a user's day."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's module."""
        if cmd_name not in VERBS:
            return None
        if cmd_name in _SMALL_PRODUCTS:
            set_up_blas()
        command = import_module(f"harness.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="mww")
@click.option("--debug", is_flag=True, help="Show a traceback for errors, and what was ignored.")
def mww(debug: bool) -> None:  # `execute` has already taken --debug out; here it stands for the help
    """Export ESPHome wake words and prove, byte for byte, that they run on the device."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run `mww` and exit: 0 holds, 1 does not hold, 2 could not be carried out, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(execute(mww, arguments))


def execute(command: click.Command, arguments: Sequence[str], *, name: str | None = None) -> int:
    """Run a click command on the edge of the process, by its own or another name, and return its exit code."""
    _open_closed_streams()
    as_json = "--json" in arguments
    debug = "--debug" in arguments
    words = [argument for argument in arguments if argument != "--debug"]  # taken in any place, for every verb
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = command.main(args=words, prog_name=name or command.name, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        usage = error.ctx.get_usage() if error.ctx else "mww --help lists the commands"
        print_error(UsageError(error.format_message(), hint=usage), as_json=as_json)
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        say("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (MwwError, OSError, MemoryError, UnicodeEncodeError) as error:
        if debug:
            raise
        known = error if isinstance(error, MwwError) else _refused_by_the_system(error)
        print_error(known, as_json=as_json)
        return known.exit_code


def _open_closed_streams() -> None:
    """Give output that was closed before the start a place to go."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 -- open to the end


def _refused_by_the_system(error: OSError | MemoryError | UnicodeEncodeError) -> MwwError:
    """What no reader or writer expected: a path that cannot even be looked at, a full disk, too little memory."""
    if isinstance(error, UnicodeEncodeError):
        return InputError("a name or text is not Unicode", hint="rename the file, or remove what is not UTF-8 from it")
    if isinstance(error, MemoryError):
        return InputError("the memory of this machine does not suffice", hint="give smaller files, or fewer at a time")
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return InputError(f"the system refuses: {reason}", hint="--debug shows what was asked of it")
    return InputError(f"cannot use {error.filename}: {reason}", hint="give a path that you may use")


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Treat SIGTERM as Ctrl-C, so that everything that cleans up does."""
    raise KeyboardInterrupt
