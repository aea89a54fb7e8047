"""The inventory: every key is known, every board has a name that no tty gave it, and nothing is read twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.boards.inventory import Board, InventoryError, PowerCycleError, identity, load_inventory, power_cycle
from tests.support.waiting import PATIENCE

FULL = """
boards:
  - id: voice
    chip: esp32s3
    product: Voice PE
    serial: "F4:12:FA:5B:8C:20"
    port: /dev/ttyACM0
    baud: 2000000
    psram: octal 8 MB
    notes: left shelf
    power_cycle: [uhubctl, --action, cycle, --ports, "2"]
  - id: bare
    chip: esp32
    mac: 240ac4000001
    psram: false
"""


def _inventory(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "boards.yaml"
    path.write_text(text)
    return path


def test_an_inventory_says_all_about_its_boards(tmp_path: Path) -> None:
    voice, bare = load_inventory(_inventory(tmp_path, FULL))
    assert voice.power_cycle == ("uhubctl", "--action", "cycle", "--ports", "2")
    assert (voice.baud, voice.port, voice.notes) == (2_000_000, "/dev/ttyACM0", "left shelf")
    assert bare == Board(id="bare", chip="esp32", mac="240ac4000001")


def test_a_mac_is_one_board_however_it_is_written() -> None:
    assert identity("f4:12:fa:5b:8c:20") == identity("F412FA5B8C20") == identity("F4-12-FA-5B-8C-20")
    assert identity("F412FA5B8C20") != identity("F412FA5B8C21")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("boards: []", "lists no board", "docs/boards.md"),
        ("- id: x", "boards.yaml must be an object (keys with values), not [{", "docs/boards.md"),
        ("bords: []", "boards.yaml has the unknown key 'bords'", "did you mean boards?"),
        ("boards: {id: a}", "boards.yaml: boards must be a list of at most 1000 entries", None),
        ("boards: [a]", "boards.yaml: board 1 must be an object", None),
        ("boards: [{id: a, chip: esp32, seriel: x}]", "unknown key 'seriel'", "did you mean serial"),
        ("boards: [{id: a, chip: esp32s9, serial: x}]", "boards.yaml: board 1: chip must be esp32, esp32s2, ", None),
        ("boards: [{id: a, chip: esp32}]", "neither serial nor mac", "mww boards scan"),
        ("boards: [{chip: esp32, serial: x}]", "board 1 has no id", "docs/boards.md"),
        ("boards: [{id: a, chip: esp32, mac: 24:0a}]", "board 1: mac must be a MAC address, not '24:0a'", "in quotes"),
        ("boards: [{id: a, chip: esp32, serial: 0001}]", "board 1: serial must be text, not 1", "in quotes"),
        (
            "boards: [{id: a, chip: esp32, serial: x, baud: 0}]",
            "board 1: baud must be a whole number from 1 to 10000000, not 0",
            None,
        ),
        (
            "boards: [{id: a, chip: esp32, serial: x, power_cycle: reboot now}]",
            "board 1: power_cycle must be a list of words, not 'reboot now'",
            "a list of words",
        ),
        ("boards: [{id: a, chip: esp32, serial: x}, {id: a, chip: esp32, serial: y}]", "id a twice", None),
        (
            "boards: [{id: a, chip: esp32, serial: x}, {id: b, chip: esp32, serial: X}]",
            "serial X twice: a and b",
            "mac",
        ),
        ("boards: [{id: a, chip: esp32, serial: !!python/name:os.system x}]", "not readable YAML at line 1", None),
        ("[" * 5000, "not readable YAML", None),
        ("boards: [" + "[" * 500, "not readable YAML", None),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(InventoryError) as caught:
        load_inventory(_inventory(tmp_path, text))
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_an_absent_and_a_huge_inventory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot read"):
        load_inventory(tmp_path / "absent.yaml")
    with pytest.raises(InventoryError, match="larger than"):
        load_inventory(_inventory(tmp_path, "#" * (1 << 20) + "\nboards: []"))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["id", "chip", "serial", "mac", "baud", "psram", "power_cycle"]), _values))
def test_no_entry_gives_anything_but_a_board_or_the_one_error(
    tmp_path_factory: pytest.TempPathFactory, entry: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump({"boards": [entry]}))
    try:
        assert len(load_inventory(path)) == 1
    except InventoryError as error:
        assert str(path) in error.message


def test_power_is_cycled_by_a_command_without_a_shell(tmp_path: Path) -> None:
    proof = tmp_path / "it's; done"
    cycle = (sys.executable, "-c", "import sys, pathlib; pathlib.Path(sys.argv[1]).touch()", str(proof))
    power_cycle(Board("a", "esp32", serial="x", power_cycle=cycle))
    assert proof.exists()


@pytest.mark.parametrize(
    ("command", "timeout", "message"),
    [
        ((), PATIENCE, "board a has no command for a power cycle"),
        (("/absent/uhubctl",), PATIENCE, "cannot run /absent/uhubctl"),
        ((sys.executable, "-c", "raise SystemExit('no such hub')"), PATIENCE, "exit code 1"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), 0.5, "did not end in 0.5 s"),
    ],
)
def test_a_power_cycle_that_fails_says_why(command: tuple[str, ...], timeout: float, message: str) -> None:
    with pytest.raises(PowerCycleError) as caught:
        power_cycle(Board("a", "esp32", serial="x", power_cycle=command), timeout=timeout)
    assert message in caught.value.message
