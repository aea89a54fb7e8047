"""Benchmark results and the machine they were measured on, as a JSON document and as a page."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from harness.bench.catalog import BENCHMARKS, REPETITIONS, Measured
from harness.bench.measuring import Row
from mww import __version__
from mww.core.errors import InputError
from mww.core.resources import distribution_version

_PACKAGES: Final = (
    "numpy",
    "tflite-micro",
    "pymicro-features",
    "pymicro-wakeword",
    "tensorflow",
    "keras",
    "h5py",
    "flatbuffers",
    "esptool",
)

SCHEMA: Final = "mww.bench/1"

_HEAD: Final = """# Benchmarks

How fast it is, and how small. `mww bench --write docs/benchmarks.md` writes this page, together with
[benchmarks.json](benchmarks.json), where every repetition is; `mww bench NAME...` measures some.

Each line compares a measured command with the usual alternative, or with a physical limit. Both run by turns, five
times each unless stated otherwise; the figure is the median of the repetitions' ratios (differences, values), in
brackets the smallest and the largest. *Undisturbed* compares each side's best repetition, which other load on the
machine affects least. Before the comparison, both sides are checked to have done the same.
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the versions of a measurement.

    Attributes:
        cpu: The processor's model.
        cores: Number of cores that this process may use.
        memory_gb: Memory of the machine.
        system: Kernel and architecture.
        python: Version of the interpreter.
        versions: Installed versions of this project and of the packages that affect a figure.
    """

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    versions: tuple[tuple[str, str], ...]


def describe_machine() -> Machine:
    """Describe this machine."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        system=f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=(
            ("mww-harness", __version__),
            *((name, version) for name in _PACKAGES if (version := distribution_version(name))),
        ),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def bench_document(
    measured: Sequence[Measured], machine: Machine, *, quick: bool, former: Sequence[Any] = ()
) -> dict[str, object]:
    """The document of `mww bench --json`, without its schema.

    `former` holds benchmarks of an earlier document of the same machine; those that were not measured again stay.
    """
    result = {item["name"]: item for item in (*former, *map(_benchmark_document, measured))}
    benchmarks = [result[name] for name in BENCHMARKS if name in result]
    return {
        "holds": all(item["error"] is None and all(row["holds"] for row in item["rows"]) for item in benchmarks),
        "quick": quick,
        "repetitions": 1 if quick else REPETITIONS,
        "environment": {**asdict(machine), "versions": dict(machine.versions)},
        "benchmarks": benchmarks,
    }


def former_benchmarks(path: Path, machine: Machine) -> Sequence[Any]:
    """The benchmarks of an earlier document of this machine; empty where the file does not exist.

    Raises:
        InputError: It is another kind of document, or another machine's, which cannot be compared with this one.
    """
    try:
        document: Any = json.loads(path.read_bytes())
        if (document["schema"], document["quick"]) != (SCHEMA, False):
            raise ValueError(document["schema"])
        measured_on, benchmarks = document["environment"], list(document["benchmarks"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not a result of mww bench: {error}", hint="measure all into another file"
        ) from error
    if measured_on != {**asdict(machine), "versions": dict(machine.versions)}:
        raise InputError(f"{path} was measured on another machine or with other versions", hint="measure all of them")
    return benchmarks


def _benchmark_document(item: Measured) -> dict[str, Any]:
    problem = item.problem
    return {
        "name": item.benchmark.name,
        "question": item.benchmark.question,
        "seconds": round(item.seconds, 1),
        "load": item.load,
        "error": problem and problem.facts.to_json(),
        "rows": [_row_document(row) for row in item.rows],
    }


def _row_document(row: Row) -> dict[str, object]:
    return {
        "what": row.what,
        "against": row.against,
        "unit": row.unit,
        "own": [_rounded(value) for value in row.own],
        "reference": [_rounded(value) for value in row.reference],
        "comparison": row.comparison,
        "median": _rounded(row.figure),
        "min": _rounded(min(row.figures)),
        "max": _rounded(max(row.figures)),
        "undisturbed": _rounded(row.undisturbed),
        "goal": asdict(row.goal),
        "holds": row.holds,
        "same": row.same,
        "notes": dict(row.notes),
    }


def bench_page(document: Any) -> str:
    """A `mww.bench/1` document as Markdown."""
    parts = [_HEAD, *_machine(document["environment"])]
    for benchmark in document["benchmarks"]:
        parts += _section(benchmark)
    return "\n".join(parts)


def _machine(machine: Any) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield f"Measured on: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB; {machine['system']};"
    yield f"{machine['python']}; {versions}.\n"


def _section(benchmark: Any) -> Iterator[str]:
    yield f"## {benchmark['name']}\n\n{benchmark['question']}\n"
    if benchmark["error"] is not None:
        yield f"Could not be measured: {benchmark['error']['message']}.\n"
        return
    yield "| measured | against | its median | reference, median | figure | undisturbed | goal | |"
    yield "|---|---|---:|---:|---:|---:|---:|---|"
    for row in benchmark["rows"]:
        yield _line(row)
    same = dict.fromkeys(row["same"] for row in benchmark["rows"])
    yield f"\nThe same on both sides: {'; '.join(same)}. Load in the minute before: {benchmark['load']:g}.\n"
    for row in benchmark["rows"]:
        yield from _notes(row)


def _line(row: Any) -> str:
    unit = row["unit"]
    left, other = (f"{_number(median(row[side]))} {unit}" if row[side] else "" for side in ("own", "reference"))
    spread = f" ({_number(row['min'])} to {_number(row['max'])})" if row["min"] != row["max"] else ""
    own = "" if row["comparison"] == "ratio" else f" {unit}"
    goal = f"{row['goal']['relation']} {_number(row['goal']['value'])}{own}"
    cells = [
        row["what"],
        row["against"],
        left,
        other,
        f"{_number(row['median'])}{spread}",
        _number(row["undisturbed"]),
    ]
    return f"| {' | '.join([*cells, goal, 'holds' if row['holds'] else '**does not hold**'])} |"


def _notes(row: Any) -> Iterator[str]:
    if row["notes"]:
        yield f"{row['what']}:\n"
        yield from (f"- {name}: {text}" for name, text in row["notes"].items())
        yield ""


def _rounded(value: float) -> float:
    """Four digits; whole numbers stay as they are."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def _number(value: float) -> str:
    """Three digits, or all of a whole number."""
    return f"{value:.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
