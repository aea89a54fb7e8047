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
    "budget": "What several models on one device need: flash, memory and time per chip.",
    "analyze": "What a model is made of, as text, JSON or a page.",
    "compare": "What two models differ in.",
    "features": "WAV clips to the features that the device sees.",
    "listen": "What a device would do with this machine's sound, live.",
    "record": "Golden outputs of a model on clips.",
    "synth": "Labelled clips of synthetic speech for a phrase: positives, near misses, negatives.",
    "cutoff": "A better cutoff for a wake word, by labelled clips.",
    "run": "Stream clips through a target and judge every output.",
    "compare-runs": "What changed between two runs.",
    "matrix": "The same models over ESPHome releases, library versions and chips.",
    "bisect": "Why a target's outputs differ from the golden outputs, down to the operator.",
    "virtual": "Serve a virtual ESP32.",
    "firmware": "An ESPHome project with the harness's firmware for a board.",
    "flash": "Write firmware and models to a board.",
    "boards": "The boards of this machine: inventory, ports, who uses them.",
    "bench": "Benchmarks: speed and size, compared with the usual alternatives.",
    "demo": "Everything on a real wake word, in a minute.",
    "explain": "What went wrong on a device, from its ESPHome log, and the cure.",
    "doctor": "What this machine can do, and what is missing.",
}
"""Verb to one-line help; the module is `harness.cli.<verb>`, its command `command`."""

INTERRUPTED: Final = 130
NOT_READ: Final = 141
"""The exit code where the reader of the output ends first, as `head` does: a shell's code for SIGPIPE."""


class LazyGroup(click.Group):
    """A group that imports a verb only when it is called; listing the verbs imports nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which users need them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's module."""
        if cmd_name not in VERBS:
            return None
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
@click.option("--debug", is_flag=True, help="Show a traceback for errors, and ignored exceptions.")
def mww(debug: bool) -> None:  # `execute` has already taken --debug out; here it stands for the help
    """Export ESPHome wake words and prove, byte for byte, that they run on the device."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run `mww` and exit: 0 holds, 1 does not hold, 2 error, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(execute(mww, arguments))


def execute(command: click.Command, arguments: Sequence[str], *, name: str | None = None) -> int:
    """Run a click command as a process does, under its own or another name, and return its exit code."""
    _open_closed_streams()
    as_json = "--json" in arguments
    debug = "--debug" in arguments
    words = [argument for argument in arguments if argument != "--debug"]  # accepted in any place, for every verb
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
    except SystemExit as stop:  # click's own end with 1, which would be a verdict: nobody reads the output any more
        return NOT_READ if stop.code == 1 else int(stop.code or 0)
    except (MwwError, OSError, MemoryError, UnicodeEncodeError) as error:
        if debug:
            raise
        known = error if isinstance(error, MwwError) else _refused_by_the_system(error)
        print_error(known, as_json=as_json)
        return known.exit_code


def _open_closed_streams() -> None:
    """Replace standard streams that were closed before the start."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 -- stays open to the end


def _refused_by_the_system(error: OSError | MemoryError | UnicodeEncodeError) -> MwwError:
    """The error for what no reader or writer expects: an unusable path, a full disk, too little memory."""
    if isinstance(error, UnicodeEncodeError):
        return InputError("a name or text is not Unicode", hint="rename the file, or remove what is not UTF-8 from it")
    if isinstance(error, MemoryError):
        return InputError("this machine does not have enough memory", hint="give smaller files, or fewer at a time")
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return InputError(f"the system refuses: {reason}", hint="--debug shows the call")
    return InputError(f"cannot use {error.filename}: {reason}", hint="give a path that you may use")


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Treat SIGTERM like Ctrl-C, so that everything is cleaned up."""
    raise KeyboardInterrupt
