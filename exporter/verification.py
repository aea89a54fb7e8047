"""`python -m exporter.verification` is `mww verify`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command as a process does."""
    from harness.cli import execute
    from harness.cli.verify import command

    sys.exit(execute(command, sys.argv[1:]))


if __name__ == "__main__":
    main()
