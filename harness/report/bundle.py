"""The report of a run as a folder: the page, the summary, JUnit, every output, and run.json, which comes last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.report.junit import junit_xml
from harness.report.markdown import markdown_summary
from harness.report.page import html_page
from harness.report.run_document import run_document
from harness.run.results import RunResult
from mww.core.files import write_files

RUN: Final = "run.json"
PAGE: Final = "report.html"
SUMMARY: Final = "summary.md"
JUNIT: Final = "junit.xml"
OUTPUTS: Final = "outputs.npz"


def write_report(folder: Path, results: Sequence[RunResult]) -> Path:
    """Write the report of one or more models' runs into `folder`, and return its run.json.

    run.json lists every other file with its sha256 and is written last; a failure keeps an earlier report.

    Raises:
        OutputError: A file cannot be written.
    """
    contents = {
        PAGE: html_page(results).encode(errors="replace"),
        SUMMARY: markdown_summary(results).encode(errors="replace"),
        JUNIT: junit_xml(results),
        OUTPUTS: _archive(_arrays(results)),
    }
    files = [_entry(name, content) for name, content in contents.items()]
    document = {**run_document(results), "files": files}
    contents[RUN] = _text(document)
    write_files({folder / name: content for name, content in contents.items()})
    return folder / RUN


def _text(document: dict[str, object]) -> bytes:
    """A document's JSON, made piece by piece: all pieces together need several times the memory of the text."""
    stream = BytesIO()
    for piece in json.JSONEncoder(indent=2, allow_nan=False).iterencode(document):
        stream.write(piece.encode(errors="replace"))
    stream.write(b"\n")
    return stream.getvalue()


def _arrays(results: Sequence[RunResult]) -> dict[str, npt.NDArray[np.generic]]:
    """Every output as `RUN/CLIP/outputs`, by number, since names of clips may not be valid file names."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for number, result in enumerate(results):
        for index, clip in enumerate(result.clips):
            place, trace = f"{number}/{index}", clip.trace
            arrays[f"{place}/outputs"] = trace.outputs
            if trace.golden is not None:
                arrays[f"{place}/golden"] = trace.golden
            if trace.microseconds is not None:
                arrays[f"{place}/microseconds"] = trace.microseconds
    return arrays


def _archive(arrays: dict[str, Any]) -> bytes:
    stream = BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _entry(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
