"""Writes what follows from the registry: the firmware's `messages.h` and the wire protocol's reference page.

`python -m tools.wire` rewrites both in a checkout; a test fails when either is stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mww.core.resources import firmware_dir
from tools.wire import cpp, docs

HEADER: Final = Path("components/mww_harness/messages.h")
"""Within the firmware folder."""


def generated_files(firmware: Path) -> Mapping[Path, str]:
    """Every generated file of the checkout that holds `firmware`, with the text it should have."""
    return {
        firmware / HEADER: cpp.header(),
        firmware / "host" / "src" / "reencode.cpp": cpp.reencoder(),
        firmware.parent / "docs" / "reference" / "wire-protocol.md": docs.page(),
    }


def main() -> None:
    """Write every generated file."""
    for path, text in generated_files(firmware_dir()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
