"""What a board printed last: why it started, and what it said before and after."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from harness.link.reader import LogSink

_KEPT: Final = 40
_BEFORE: Final = 4
_AFTER: Final = 2
_LONGEST: Final = 120
RESET_REASON: Final = re.compile(r"rst:(0x[0-9a-f]+ \(\w+\))")
"""How every chip's ROM begins its first line after a reset."""


class BootLog:
    """The newest lines of a board's log; lines come in one thread and are reported in another."""

    def __init__(self, on_log: LogSink | None = None) -> None:
        """Keep lines, and pass each on to `on_log`."""
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._on_log = on_log or (lambda line: None)
        self.count = 0

    def add(self, line: str) -> None:
        """Take a line."""
        self.count += 1
        self._lines.append(line.strip()[:_LONGEST])
        self._on_log(line)

    def story(self) -> str | None:
        """Why the board last started, what it had said before, and what its log ends with; None if it said nothing."""
        lines = list(self._lines)
        if not lines:
            return None
        starts = [index for index, line in enumerate(lines) if RESET_REASON.search(line)]
        if not starts:
            return f"its log: {' | '.join(lines[-_BEFORE:])}"
        results = [*lines[max(0, starts[-1] - _BEFORE) : starts[-1]], *lines[starts[-1] + 1 :][-_AFTER:]]
        reason = RESET_REASON.findall(lines[starts[-1]])[0]
        return f"reset reason {reason}; its log: {' | '.join(results)}"
