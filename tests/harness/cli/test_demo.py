"""The demo: the whole way, on the published okay_nabu."""

import json
import subprocess
import sys
from pathlib import Path

from harness.cli.demo import run_demo
from tests.support.needs import needs_tensorflow

pytestmark = needs_tensorflow


def test_the_demo_proves_a_wake_word_on_a_virtual_board(tmp_path: Path) -> None:
    titles: list[str] = []
    result = run_demo(tmp_path / "demo", titles.append)
    assert len(titles) == 5
    assert result.board_run.verdict == "pass"
    assert result.board_run.target.kind == "virtual"
    assert sum(clip.mismatches or 0 for clip in result.board_run.clips) == 0
    assert [bool(clip.detections) for clip in result.board_run.clips] == [True] * 3 + [False] * 3
    assert result.agreement.same_clips
    assert result.agreement.mean < 4
    assert result.board_run.arena is not None
    assert result.board_run.arena.fits
    assert len(result.exported.content) < len(result.published.content)
    assert "okay_nabu" in result.report.read_text()
    assert result.analysis.is_file()
    document = json.loads((result.folder / "report" / "run.json").read_text())
    assert document["verdict"] == "pass"


def test_help_tells_of_it_without_importing_anything_heavy() -> None:
    code = (
        "import sys\nfrom harness.cli import execute, mww\n"
        "execute(mww, ['demo', '--help'])\nprint('tensorflow' in sys.modules)"
    )
    results = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--output" in results.stdout
    assert results.stdout.splitlines()[-1] == "False"
