"""Tries every fault at random, and prints what was lost as the table of docs/reliability.md. Run by `make reliability`.

`--size 1` takes about an hour on two cores; `--only` takes the rows whose name holds the word.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.reliability.devices import LIES, STRANGERS, try_lies, try_preludes, try_strangers
from benchmarks.reliability.faults import FAULTS, try_deaths, try_faults, try_full_disk, try_renaming
from benchmarks.reliability.files import KINDS, try_files
from benchmarks.reliability.models import try_models
from benchmarks.reliability.page import put_row
from benchmarks.reliability.processes import VERBS, disturb


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, how often it is tried at full size, and what tries it: each result is None, or what was lost."""

    name: str
    count: int
    tries: Callable[[int], Iterator[str | None]]


def rows(seed: int) -> list[Row]:
    """All of them."""
    results = [Row(f"Hostile {kind}", 2000, lambda n, kind=kind: try_files(kind, n, seed)) for kind in KINDS]
    for engine in ("tflm", "litert"):
        results.append(Row(f"Mutated models run by {engine}", 200, lambda n, e=engine: try_models(e, n, seed)))
    for verb, count in VERBS.items():
        name = f"`{verb}` interrupted, terminated, or a process of it killed"
        results.append(Row(name, count, lambda n, verb=verb: disturb(verb, n, seed)))
    for fault in FAULTS:
        results.append(Row(f"Board with {fault}", 20, lambda n, fault=fault: try_faults(fault, n, seed)))
    results.append(Row("Board unplugged, and back under another name", 20, lambda n: try_renaming(n, seed)))
    results.append(Row("One of two boards killed for good", 20, lambda n: try_deaths(n, seed)))
    results.append(Row("Board with garbage before its first frame", 50, lambda n: try_preludes(n, seed)))
    for lie in LIES:
        results.append(Row(f"Board that lies: {lie}", 100, lambda n, lie=lie: try_lies(lie, n, seed)))
    for name in STRANGERS:
        results.append(Row(f"No board at the port: {name}", 1, lambda n, name=name: iter([try_strangers(name)])))
    if os.geteuid() == 0:
        results.append(Row("Disk full while the report is written", 10, lambda n: try_full_disk(n, seed)))
    return results


def main() -> int:
    """Print the table on stdout and what was lost on stderr; 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=1.0, help="share of the tries of a full run")
    parser.add_argument("--only", default="", help="a word in the names of the rows to take")
    parser.add_argument("--seed", type=int, default=0, help="where chance begins")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/reliability.md")
    options = parser.parse_args()
    print("| Fault | tried | lost | seconds |\n|---|---:|---:|---:|", flush=True)
    lost = False
    for row in rows(options.seed):
        if options.only not in row.name:
            continue
        started = time.monotonic()
        outcomes = Counter(row.tries(max(1, round(row.count * options.size))))
        bad = {outcome: count for outcome, count in outcomes.items() if outcome is not None}
        lost = lost or bool(bad)
        tried, seconds = sum(outcomes.values()), time.monotonic() - started
        cells = [row.name, str(tried), str(sum(bad.values()) or "nothing")]
        print(f"| {' | '.join(cells)} | {seconds:.0f} |", flush=True)
        if options.write:
            put_row("Fault", cells)
        for outcome, count in bad.items():
            print(f"{row.name}: {count} times {outcome}", file=sys.stderr, flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
