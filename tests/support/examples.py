"""How many examples of hypothesis the tests draw."""

import os


def examples(count: int) -> int:
    """`count` in `make test`, and as many times more as MWW_EXAMPLES says: `MWW_EXAMPLES=10 pytest tests/exporter`."""
    return count * int(os.environ.get("MWW_EXAMPLES", "1"))
