"""The virtual chips have the addresses that the installed esptool uses."""

from __future__ import annotations

import subprocess
import sys

from tools.chip_addresses import MODULE, module


def test_the_addresses_are_esptools() -> None:
    assert MODULE.read_text(encoding="utf-8") == module(), "run python -m tools.chip_addresses"


def test_a_board_starts_without_esptool() -> None:
    code = "import sys; import harness.virtual.server, harness.cli.virtual; print('esptool' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
