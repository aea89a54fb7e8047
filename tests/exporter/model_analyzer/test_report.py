from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import flatbuffers
import pymicro_wakeword
import pytest
from ai_edge_litert import schema_py_generated as schema

from exporter.model_analyzer import generate_model_report
from mww.core.errors import OutputError, UsageError

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
OKAY_NABU = MODELS / "okay_nabu.tflite"


class Page(HTMLParser):
    """What a browser would load, and which elements there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset") or name.startswith("on")
        ]


def hostile(tmp_path: Path) -> Path:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(OKAY_NABU.read_bytes()))
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"<script>alert({number})</script>\"' onload=x &amp;\x1b[31m\x00{{{{ 7 * 7 }}}}".encode()
    for graph in model.subgraphs:
        for operator in graph.operators:
            if hasattr(operator.builtinOptions, "sharedName"):
                operator.builtinOptions.sharedName = b"<img src=x>" + operator.builtinOptions.sharedName
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "hostile.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def test_the_page_needs_nothing_but_itself() -> None:
    text = generate_model_report(OKAY_NABU.with_suffix(".json"))
    page = Page(text)
    assert page.loads == []
    assert "script" not in page.tags
    assert "url(" not in text
    assert page.tags.count("svg") == 4  # the graph, and a memory map for each of three groups of chips
    assert "prefers-color-scheme: dark" in text
    assert "runs on ESPHome" in text
    assert "6.6\N{EN DASH}6.8 ms" in text
    assert "34,512" in text


def test_names_out_of_the_file_stay_names(tmp_path: Path) -> None:
    text = generate_model_report(hostile(tmp_path))
    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.loads == []
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "{{ 7 * 7 }}" in text
    plain = generate_model_report(hostile(tmp_path), format="text")
    assert "\x1b" not in plain


def test_a_broken_model_has_a_page_that_says_so(tmp_path: Path) -> None:
    content = OKAY_NABU.read_bytes()
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(content.replace(bytes.fromhex("d1d0d03d"), bytes.fromhex("9a99193e")))
    text = generate_model_report(broken)
    assert "does not run on ESPHome" in text
    assert "input-scale" in text


def test_json_is_what_the_command_prints() -> None:
    document = json.loads(generate_model_report(OKAY_NABU.with_suffix(".json"), format="json"))
    assert document["schema"] == "mww.analyze/1"
    assert document["compatible"] is True
    assert document["arena"]["esp32s3"]["minimum"] == 34_512
    assert document["performance"]["esp32"]["times"] == []
    assert document["performance"]["esp32s3"]["times"][0]["kind"] == "published"
    assert document["architecture"]["stride"] == 3
    assert document["quality"]["passed"] is True


def test_text_has_every_section() -> None:
    text = generate_model_report(OKAY_NABU, format="text")
    for title in ("Layers", "Streaming state", "Tensor arena", "Time an inference", "Quality", "Checks"):
        assert re.search(rf"^{title}", text, re.MULTILINE)
    assert "no published figure for esp32c3" in text


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "reports" / "model.html"
    text = generate_model_report(OKAY_NABU, target)
    assert target.read_text(encoding="utf-8") == text
    assert [path.name for path in target.parent.iterdir()] == ["model.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        generate_model_report(OKAY_NABU, tmp_path / "file" / "model.html")


def test_an_unknown_format() -> None:
    bad: Any = "pdf"
    with pytest.raises(UsageError):
        generate_model_report(OKAY_NABU, format=bad)
