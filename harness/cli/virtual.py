"""`mww virtual`: serve a virtual ESP32 until interrupted."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.numbers import Whole
from harness.cli.output import emit_json, json_option, say
from mww.core.errors import OutputError
from mww.core.files import write_files
from mww.core.readable import is_file
from mww.esphome.chips import DEFAULT_CHIP, VIRTUAL_CHIPS


@click.command(help="Serve a virtual ESP32, which esptool can flash, until interrupted. It listens on loopback only.")
@click.option("--chip", default=DEFAULT_CHIP, show_default=True, help=f"{', '.join(VIRTUAL_CHIPS)}.")
@click.option("--port-file", type=click.Path(path_type=Path), help="Write the port here once the board is ready.")
@click.option("--state", type=click.Path(path_type=Path), help="Keep the flash in this folder.")
@click.option("--transport", default="socket", show_default=True, help="socket, pty or rfc2217.")
@click.option("--baud", type=Whole(300, 5_000_000), help="Simulate a UART of this rate.")
@click.option("--inference-us", type=Whole(1, 60_000_000), help="Microseconds that an inference takes.")
@click.option("--microphone", type=click.Path(path_type=Path), help="A sound file that its microphone hears.")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="Such as drop=0.02 or reboot=100; repeatable.")
@click.option(
    "--efuse", "efuses", multiple=True, metavar="NAME", help="secure-boot, flash-encryption, secure-download."
)
@click.option("--until-stdin-ends", is_flag=True, help="End when stdin is closed.")
@json_option
def command(  # noqa: PLR0913, PLR0917 -- one parameter an option
    chip: str,
    port_file: Path | None,
    state: Path | None,
    transport: str,
    baud: int | None,
    inference_us: int | None,
    microphone: Path | None,
    faults: tuple[str, ...],
    efuses: tuple[str, ...],
    until_stdin_ends: bool,
    as_json: bool,
) -> None:
    """Combine the options and serve."""
    import sys

    from harness.virtual.chips import find_chip, security_of
    from harness.virtual.faults import parse_faults
    from harness.virtual.server import VirtualOptions, serve

    options = VirtualOptions(
        chip=find_chip(chip),
        transport=transport,
        state=state,
        baud=baud,
        inference_us=inference_us,
        microphone=microphone,
        faults=parse_faults(faults),
        security=security_of(efuses),
    )

    if port_file is not None and is_file(port_file):
        _forget(port_file)

    def ready(url: str) -> None:
        if port_file is not None:
            write_files({port_file: f"{url}\n".encode()})
        if as_json:
            emit_json("mww.virtual/1", {"port": url, "chip": chip, "transport": transport})
        else:
            say(url)
        sys.stdout.flush()

    serve(options, ready=ready, watch=sys.stdin.fileno() if until_stdin_ends else None)


def _forget(port_file: Path) -> None:
    """Remove the port file of a board that was killed, so that nobody takes it for this board's."""
    try:
        port_file.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {port_file}: {error.strerror}", hint="choose another --port-file") from error
