"""`mww bisect`: why a target's outputs differ from the golden outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harness.bisect.explanation import BisectResult, bisect
from harness.bisect.operator_search import Divergence, TensorFacts
from harness.bisect.reenactment import suspect
from harness.cli.output import emit_json, json_option, progress, say, warn
from harness.cli.run_options import Place, clip_options, clip_source, options_of_a_run, place
from harness.clips.sources import open_clips
from harness.engines.catalog import default_engine
from harness.targets.emulator import golden_tensors
from harness.targets.registry import TargetOptions, open_tensors, target_spec
from mww import __version__
from mww.core.files import write_files
from mww.esphome.model import load_model

_TABLE = ("| tensor | name | type | shape | scale | zero point |", "|---|---|---|---|---|---|")


def facts(result: BisectResult) -> Iterator[tuple[str, str]]:
    """Yield what is known about a difference, as pairs of a name and a text."""
    results = result.divergence
    if results is not None:
        which = "" if results.instances == 1 else f", the {_ordinal(results.instance)} of {results.instances}"
        yield "operator", f"{results.op} {results.operator}{which}"
        yield "inference", f"{results.inference}, the first whose results differ"
        yield "tensor", describe_tensor(results.tensor)
        yield "element", _element(results)
        yield "elements", f"{results.differing} of {results.elements} differ, by up to {results.largest:g}"
        for tensor in results.inputs:
            yield "input", describe_tensor(tensor)
        yield "look at", suspect(results, result.target)
    if result.examined:
        copies = "one copy" if result.copies == 1 else f"{result.copies} copies"
        yield "compared", f"{result.examined} results of operators, in {copies} of the model"
    for remark in result.remarks:
        yield "remark", remark
    for operator, reason in result.refused:
        yield "not examined", f"{operator}: {reason}"
    yield "target", versions(result.target)
    yield "golden", versions(result.golden)


def headline(result: BisectResult) -> str:
    """How much was compared, and where it differs first."""
    compared = f"{_count(result.clips, 'clip')}, {_count(result.inferences, 'inference')}"
    if result.clip is None:
        return f"no output differs: {compared}"
    if result.first_mismatch is None:
        return f"no output differs ({compared}), but an inner result of {result.clip} does"
    several = "" if result.mismatches == 1 else f", in {result.mismatches} outputs"
    return f"{result.clip} differs from inference {result.first_mismatch} on{several}"


def describe_tensor(tensor: TensorFacts) -> str:
    """A line about a tensor."""
    text = f"{tensor.index} ({tensor.name}), {_shape(tensor)}"
    if tensor.scale is not None:
        several = f", scales of {tensor.channels} channels from" if tensor.channels > 1 else ", scale"
        text += f"{several} {tensor.scale:.9g}, zero point {tensor.zero_point}"
    return f"{text}, constant" if tensor.constant else text


def versions(versions_of: Mapping[str, str]) -> str:
    """A line with the versions."""
    return ", ".join(f"{name} {version}" for name, version in versions_of.items())


def markdown(result: BisectResult, model: str) -> str:
    """The result as the text of an issue."""
    lines = [f"## {headline(result)}", ""]
    if result.explanation is not None:
        lines += [f"**{result.explanation.account}**", ""]
    lines += [f"- {name}: {_plain(text)}" for name, text in facts(result) if name not in ("input", "tensor")]
    lines.append(f"- model: {_plain(model)}, sha256 `{result.model_sha256}`")
    results = result.divergence
    if results is not None:
        lines += ["", *_TABLE, _row("result", results.tensor), *(_row("input", tensor) for tensor in results.inputs)]
    return "\n".join([*lines, "", f"Found by `mww bisect` of mww-harness {__version__}.", ""])


def _row(role: str, tensor: TensorFacts) -> str:
    kind = f"{role}, constant" if tensor.constant else role
    scale = "" if tensor.scale is None else f"{tensor.scale:.9g}" + (" ..." if tensor.channels > 1 else "")
    zero = "" if tensor.zero_point is None else str(tensor.zero_point)
    shape = f"[{', '.join(map(str, tensor.shape))}]"
    return f"| {tensor.index} ({kind}) | {_plain(tensor.name)} | {tensor.dtype} | {shape} | {scale} | {zero} |"


def _plain(text: str) -> str:
    """Text with the markup of Markdown and its tables escaped."""
    return "".join(f"\\{character}" if character in "\\`*_|<>[]#~&" else character for character in text)


def _element(results: Divergence) -> str:
    return f"[{', '.join(map(str, results.position))}]: expected {results.expected:g}, found {results.found:g}"


def _shape(tensor: TensorFacts) -> str:
    return f"{tensor.dtype} [{', '.join(map(str, tensor.shape))}]"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@clip_options
@click.option("--golden", type=place, metavar="GOLDEN.npz", help="Recorded clips; see mww record.")
@click.option("--target", required=True, help="virtual, qemu, machine:NAME, emulator, or a port.")
@options_of_a_run("engine", "chip", "baud", "faults", "timeout", "machine_image")
@click.option("--inside", is_flag=True, help="Compare inner results even where no output differs.")
@click.option(
    "--markdown", "report_file", type=click.Path(path_type=Path), help="Write an issue's text into this file."
)
@json_option
def command(  # noqa: PLR0913, PLR0917 -- one parameter an option
    model: Path,
    features: Place | None,
    wav: tuple[Place, ...],
    lead_in: float,
    golden: Place | None,
    target: str,
    inside: bool,
    report_file: Path | None,
    as_json: bool,
    **words: Any,
) -> int:
    """Find out why MODEL's outputs on a target differ from TFLM's.

    It distinguishes a wrong operator from a reset that keeps the state, slices in another order, a damaged output, and
    a target whose outputs change from run to run. To find the operator, the target gets a copy of the model whose
    outputs are every operator's result; a board gets its model back at the end. Exits with 0 when all agree, 1 when
    they do not.
    """
    loaded, options = load_model(model), TargetOptions(**words)
    if target_spec(target).takes_engine and options.engine in (None, default_engine()):
        warn(
            f"engine {default_engine()} is compared with itself", "--target names a board, --engine another interpreter"
        )
    with ExitStack() as stack:
        clips, recorded = open_clips(
            clip_source(features, wav, lead_in, golden), lead_in, stack, loaded.feature_step_size
        )
        if recorded is not None:
            recorded.check_model(loaded)
        report = stack.enter_context(progress())
        source = stack.enter_context(open_tensors(target, options, loaded, report))
        engine_here = stack.enter_context(golden_tensors())
        result = bisect(loaded, clips, source, engine_here, report, inside=inside, recorded=recorded)
    if report_file is not None:
        write_files({report_file: markdown(result, loaded.name).encode(errors="replace")})
    if as_json:
        emit_json("mww.bisect/1", _document(result, loaded.name))
    else:
        _print(result)
    return 0 if result.explanation is None else 1


def _document(result: BisectResult, model: str) -> dict[str, object]:
    from harness.bisect.reenactment import suspect

    results = result.divergence
    suggestion = suspect(results, result.target) if results else None
    return {"equal": result.explanation is None, "model": model, **asdict(result), "suspect": suggestion}


def _print(result: BisectResult) -> None:

    if result.explanation is None:
        say(headline(result), fg="green")
    else:
        say(headline(result))
        say(result.explanation.account, fg="red", bold=True)
    for name, text in facts(result):
        say(f"  {name + ':':<13} {text}")
