"""Writes `exporter/model_analyzer/instructions.toml`: what an inference of the published models costs in instructions.

    python -m tools.measure_instructions --built 'GCC 12.2, -O3' rv32imc=FIRST.elf rv32imc=SECOND.elf xtensa=THIRD.elf

Each program is a `mww_machine.elf` of docs/machine-code.md with its own kernels; each model runs on one clip of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from exporter.model_analyzer.architecture import analyze_model_architecture
from exporter.model_analyzer.performance import DATA
from harness.check import check
from harness.run.results import RunResult
from mww.core.files import write_files
from mww.core.resources import fixtures_dir
from mww.esphome.model import load_model

_MODELS: Final = ("okay_nabu", "hey_jarvis", "hey_mycroft", "alexa")
_HEAD: Final = """\
# Instructions of an inference of the published models on the emulated processors of docs/machine-code.md: the median
# over the clip's inferences, and of each kind of operator. Written by `python -m tools.measure_instructions`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure with the programs that are named, and write the file anew."""
    parser = argparse.ArgumentParser("python -m tools.measure_instructions")
    parser.add_argument("--built", required=True, help="compiler and flags of the library, in words")
    parser.add_argument("programs", nargs="+", metavar="MACHINE=ELF")
    words = parser.parse_args(arguments)
    sections = [
        "\n".join(_measurement(machine, Path(image), words.built))
        for machine, _, image in (program.partition("=") for program in words.programs)
    ]
    write_files({DATA: (_HEAD + "".join(f"\n{section}\n" for section in sections)).encode()})
    sys.stderr.write(f"{DATA}\n")
    return 0


def _measurement(machine: str, image: Path, built: str) -> Iterator[str]:
    spec = find_spec("pymicro_wakeword")
    assert spec is not None
    assert spec.origin is not None
    for position, name in enumerate(_MODELS):
        model = load_model(Path(spec.origin).parent / "models" / f"{name}.json")
        clip = sorted((fixtures_dir() / "clips" / name).rglob("*.wav"))[0]
        result = check(model, clip, lead_in=1.0, target=f"machine:{machine}", machine_image=image, profile=True)
        assert result.verdict == "pass", result.problems
        if position == 0:
            yield from _place(machine, result, built)
        yield from _model(result, clip)


def _place(machine: str, result: RunResult, built: str) -> Iterator[str]:
    versions = dict(result.target.versions)
    yield "[[measurement]]"
    yield f"machine = {json.dumps(machine)}"
    for key, name in (
        ("kernels", "kernels"),
        ("esp_tflite_micro", "esp-tflite-micro"),
        ("esp_nn", "esp-nn"),
        ("processor", "processor"),
        ("qemu", "qemu"),
    ):
        yield f"{key} = {json.dumps(versions.get(name, ''))}"
    yield f"built = {json.dumps(built)}"


def _model(result: RunResult, clip: Path) -> Iterator[str]:
    (measured,), profile = result.clips, result.profile
    assert measured.instructions is not None
    assert profile is not None
    spec = find_spec("pymicro_wakeword")
    assert spec is not None
    assert spec.origin is not None
    cost = analyze_model_architecture(Path(spec.origin).parent / "models" / f"{result.model}.tflite").cost
    operators: dict[str, int] = {}
    for operator in profile:
        operators[operator.operator] = operators.get(operator.operator, 0) + (operator.instructions or 0)
    ordered = sorted(operators.items(), key=lambda item: -item[1])
    yield ""
    yield "[[measurement.model]]"
    yield f"name = {json.dumps(result.model)}"
    yield f"sha256 = {json.dumps(result.model_sha256)}"
    yield f"clip = {json.dumps(str(clip.relative_to(fixtures_dir())))}"
    yield f"macs = {cost.macs}"
    yield f"moved_bytes = {cost.moved_bytes}"
    yield f"instructions = {measured.instructions.p50}"
    yield f"operators = {{ {', '.join(f'{name} = {count}' for name, count in ordered)} }}"


if __name__ == "__main__":
    sys.exit(main())
