from __future__ import annotations

import pytest

from harness.virtual.board import ResetCircuit

Step = tuple[bool, bool, float]  # DTR, RTS, seconds until the next


def _boot_modes(steps: list[Step]) -> list[bool]:
    """Play line changes and return the modes that the chip boots in."""
    circuit, now, modes = ResetCircuit(), 0.0, []
    for dtr, rts, wait in steps:
        circuit.set(dtr, rts, now)
        end = now + wait
        while now < end:
            now += 0.001
            mode = circuit.latch(now)
            if mode is not None:
                modes.append(mode)
    return modes


CLASSIC: list[Step] = [(False, True, 0.1), (True, True, 0.0), (True, False, 0.05), (False, False, 1.0)]
TIGHT: list[Step] = [(True, True, 0.0), (False, True, 0.1), (True, False, 0.05), (False, False, 1.0)]
OVER_A_NETWORK: list[Step] = [(False, True, 0.2), (True, True, 0.12), (True, False, 0.15), (False, False, 1.0)]


@pytest.mark.parametrize("steps", [CLASSIC, TIGHT, OVER_A_NETWORK])
def test_esptools_sequences_end_in_the_bootloader_once(steps: list[Step]) -> None:
    assert _boot_modes(steps) == [True]


def test_a_hard_reset_boots_the_flash() -> None:
    assert _boot_modes([(False, True, 0.1), (False, False, 1.0)]) == [False]


def test_opening_and_closing_a_port_resets_nothing() -> None:
    assert _boot_modes([(True, False, 0.01), (True, True, 2.0), (False, False, 1.0)]) == []


def test_a_chip_that_is_held_in_reset_does_not_boot() -> None:
    circuit = ResetCircuit()
    circuit.set(False, True, 0.0)
    assert circuit.held
    assert circuit.latch(100.0) is None
