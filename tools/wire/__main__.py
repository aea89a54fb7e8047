"""Writes what follows from the registry, from ESPHome's contract, and from the host library's header.

These are the firmware's `messages.h` and `contract.h`, the wire protocol's reference page, and the header for ctypes.
`python -m tools.wire` rewrites them in a checkout; a test fails when one is stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mww.core.resources import firmware_dir
from tools.wire import cpp, docs, host_abi

HEADER: Final = Path("components/mww_harness/messages.h")
"""Within the firmware folder."""


def generated_files(firmware: Path) -> Mapping[Path, str]:
    """Every generated file of the checkout that holds `firmware`, with the text it should have."""
    header = (firmware / "host" / "include" / "mww_host.h").read_text(encoding="utf-8")
    return {
        firmware / HEADER: cpp.header(),
        firmware / HEADER.with_name("contract.h"): cpp.esphome_contract(),
        firmware.parent / "harness" / "virtual" / "host_abi.py": host_abi.module(header),
        firmware / "host" / "src" / "model_facts.h": host_abi.facts_copy(header),
        firmware.parent / "docs" / "reference" / "wire-protocol.md": docs.page(),
    }


def main() -> None:
    """Write every generated file."""
    for path, text in generated_files(firmware_dir()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
