"""The regression suite as users run it: on two virtual boards under two workers, and on four for speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.plugin import PLUGIN
from tests.support.rack import rack

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "MWW_LEASE_DIR": str(folder)}
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-q", "-rfs", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_it_passes_on_two_boards_of_two_chips(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    with rack(tmp_path, ["esp32s3", "esp32"]) as inventory:
        words = ["tests/hardware", "-k", "okay_nabu or alexa", "--mww-boards", str(inventory), "-n", "2"]
        done = _pytest(tmp_path, *words, "--junit-xml", str(junit))
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout
    boards = {entry.get("value") for entry in ElementTree.parse(junit).iterfind(".//property[@name='mww_board']")}
    assert boards == {"virtual-0", "virtual-1"}


@pytest.mark.parametrize(
    ("fault", "found_by"),
    [
        ("kernel=DEPTHWISE_CONV_2D", "test_every_output_is_the_golden_one"),
        ("arena=4096", "test_the_arena_is_what_is_predicted_and_fits_the_manifest"),
        ("noreset", "test_a_reset_is_a_cold_start"),
        ("swap=60", "test_every_output_is_the_golden_one"),
    ],
)
def test_a_planted_fault_is_found_by_the_test_that_names_it(tmp_path: Path, fault: str, found_by: str) -> None:
    model = "tests/hardware/test_models.py"
    with rack(tmp_path, ["esp32s3"], faults=(fault,)) as inventory:
        done = _pytest(tmp_path, model, "--mww-boards", str(inventory), "-k", f"okay_nabu and {found_by}")
    assert done.returncode == 1, done.stdout[-5000:]
    assert f"FAILED {model}::{found_by}[okay_nabu]" in done.stdout
