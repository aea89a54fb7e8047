"""A pasted log is explained in its own words."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import VERBS, execute, mww
from mww.esphome.log_messages import MESSAGES, explain
from tools.troubleshooting import PAGE, page

APRIL_2026 = """\
[12:15:33.442][D][micro_wake_word:378]: State changed from STARTING to DETECTING_WAKE_WORD
[12:15:33.444][D][ring_buffer:034][mww]: Created ring buffer with size 3840
Failed to resize buffer. Requested: 33488, available 20472, missing: 13016
[12:15:33.464][E][micro_wake_word:061][mww]: Failed to allocate tensors for the streaming model
[12:15:33.468][E][micro_wake_word:252]: Encountered an error while performing an inference
"""
CONFIG = """\
Failed config

micro_wake_word: [source /config/esphome/voice.yaml:1430]

  [micro_wake_word] is an invalid option for [<root>].
"""
OPENWAKEWORD = """\
Didn't find op for builtin opcode 'TRANSPOSE'
Failed to get registration from op code  TRANSPOSE

[E][micro_wake_word:057]: Failed to allocate tensors for the streaming model
"""
CRASH = """\
Guru Meditation Error: Core  1 panic'ed (LoadProhibited). Exception was unhandled.
0x4201abcd: tflite::MicroInterpreterGraph::FreeSubgraphs() at micro_interpreter_graph.cc:98
"""


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[dict[str, Any]]]:
    code = execute(mww, ["explain", *map(str, words), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mww.explain/1"
    return code, document["findings"]


@pytest.mark.parametrize(
    ("log", "identifier", "line", "command"),
    [
        (APRIL_2026, "arena-resize", 3, "mww arena"),
        (CONFIG, "invalid-option", 5, "mww verify"),
        (OPENWAKEWORD, "operator-missing", 1, "mww verify"),
        (CRASH, "crash-probe", 2, "mww arena"),
    ],
)
def test_a_real_log_names_the_cause_and_not_its_company(
    log: str, identifier: str, line: int, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "log.txt").write_text(log)
    code, (finding,) = asked(capsys, path)
    assert (code, finding["id"], finding["line"]) == (0, identifier, line)
    assert command in finding["command"]
    assert finding["cause"] and finding["cure"]


def test_a_message_that_only_accompanies_others_is_explained_where_it_is_alone() -> None:
    (entry,) = explain(["[E][micro_wake_word:057]: Failed to allocate tensors for the streaming model"])
    assert entry.message.id == "arena-allocate"


def test_stdin_and_noise_are_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    noisy = b"\xff\xfe\x00\x1b[31m" + CONFIG.encode() + b"x" * 100_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(noisy)))
    code, findings = asked(capsys, "-")
    assert (code, [finding["id"] for finding in findings]) == (0, ["invalid-option"])


def test_control_characters_of_a_log_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / "log.txt").write_text("\x1b]0;title\x07 Invalid TFLite model magic number \x1b[2J")
    assert execute(mww, ["explain", str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_log_without_a_known_message_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path := tmp_path / "log.txt").write_text("[I][app:102]: ESPHome version 2026.10.0 compiled\n")
    assert asked(capsys, path) == (1, [])
    assert execute(mww, ["explain", str(path)]) == 1


def test_what_is_not_a_file_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "pipe"):
        assert execute(mww, ["explain", str(path), "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["error"]["hint"]


def test_every_message_matches_its_own_text_and_names_verbs_that_exist() -> None:
    assert len({message.id for message in MESSAGES}) == len(MESSAGES)
    for message in MESSAGES:
        assert message.pattern.search(message.text.replace("...", "12")), message.id
        verbs = re.findall(r"mww ([a-z-]+)", f"{message.cure} {message.command}")
        assert verbs and set(verbs) <= set(VERBS), message.id


def test_the_page_is_made_from_the_messages() -> None:
    assert PAGE.read_text("utf-8") == page(), "run python -m tools.troubleshooting"
