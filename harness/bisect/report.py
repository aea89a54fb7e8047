"""What was found, in words: the same facts for a terminal and, as Markdown, for an issue upstream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.bisect.explanation import BisectResult
from harness.bisect.operator_search import Divergence, TensorFacts
from harness.bisect.suspicion import suspect
from mww import __version__

_TABLE = ("| tensor | name | type | shape | scale | zero point |", "|---|---|---|---|---|---|")


def facts(result: BisectResult) -> Iterator[tuple[str, str]]:
    """Yield what is known of a difference, a name and a text each."""
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
    """How much was compared, and from where it differs."""
    compared = f"{_count(result.clips, 'clip')}, {_count(result.inferences, 'inference')}"
    if result.clip is None:
        return f"no output differs: {compared}"
    if result.first_mismatch is None:
        return f"no output differs ({compared}), but an inner result of {result.clip} does"
    several = "" if result.mismatches == 1 else f", in {result.mismatches} outputs"
    return f"{result.clip} differs from inference {result.first_mismatch} on{several}"


def describe_tensor(tensor: TensorFacts) -> str:
    """A tensor in one line."""
    text = f"{tensor.index} ({tensor.name}), {_shape(tensor)}"
    if tensor.scale is not None:
        several = f", scales of {tensor.channels} channels from" if tensor.channels > 1 else ", scale"
        text += f"{several} {tensor.scale:.9g}, zero point {tensor.zero_point}"
    return f"{text}, constant" if tensor.constant else text


def versions(versions_of: Mapping[str, str]) -> str:
    """Versions in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions_of.items())


def markdown(result: BisectResult, model: str) -> str:
    """The account as an issue's text."""
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
    """Text without what Markdown, or a table of it, would take for markup."""
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
