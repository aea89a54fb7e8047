"""What the pages on boards, pytest and CI show can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from harness.boards.inventory import load_inventory
from harness.cli import VERBS, mww

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["boards.md", "pytest.md", "reports.md", "ci.md"]


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_inventory_on_the_page_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "boards.yaml").write_text(_blocks("boards.md", "yaml")[0])
    boards = load_inventory(tmp_path / "boards.yaml")
    assert [board.id for board in boards] == ["voice-pe", "devkit", "attic"]
    assert boards[0].power_cycle[-1] == "cycle"


def test_the_test_on_the_page_compiles_and_the_workflow_has_both_jobs() -> None:
    compile(_blocks("pytest.md", "python")[0], "test_wake_word.py", "exec")
    workflow = yaml.safe_load(_blocks("ci.md", "yaml")[0])
    assert set(workflow["jobs"]) == {"emulator", "boards"}
    assert "self-hosted" in workflow["jobs"]["boards"]["runs-on"]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists_with_its_options(page: str) -> None:
    text = (DOCS / page).read_text()
    for words in re.findall(r"(?:^\$ |- run: |bin/)mww ([^\n#`]+)", text, re.MULTILINE):
        verb, *rest = words.split()
        assert verb in VERBS, words
        command = mww.get_command(click.Context(mww), verb)
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), rest[0])
        assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (DOCS / page).read_text()):
        assert target.startswith("https://") or (DOCS / target).exists(), target


def test_every_option_of_the_plugin_is_on_its_page() -> None:
    source = (DOCS.parent / "harness" / "pytest_plugin.py").read_text()
    page = (DOCS / "pytest.md").read_text()
    for name in re.findall(r'"(--mww-[a-z]+)"', source) + re.findall(r"def (mww_[a-z]+)\(", source):
        assert f"`{name}`" in page, name
