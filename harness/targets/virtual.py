"""A virtual board for a run: it is started, flashed by esptool, used over the link, and removed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from harness.boards.flashing import FlashJob, flash
from harness.targets.device import DeviceTarget, check_engine
from harness.targets.registry import TargetOptions
from harness.virtual.chips import find_chip
from harness.virtual.factory import factory_image_for
from harness.virtual.process import VirtualBoard
from mww.core.errors import UsageError
from mww.esphome.chips import DEFAULT_CHIP


def open_target(name: str, options: TargetOptions) -> DeviceTarget:
    """Start a virtual board, which simulates a given baud rate, and flash its firmware.

    Raises:
        UsageError: An option has no meaning for a virtual board.
        VirtualBoardError: It does not start.
    """
    check_engine(options)
    if not options.flash:
        raise UsageError("a new virtual board has no model", hint="leave --no-flash out")
    chip = find_chip(options.chip or DEFAULT_CHIP)
    with ExitStack() as stack:
        board = stack.enter_context(VirtualBoard(chip.name, baud=options.baud, faults=options.faults))
        flash(FlashJob(board.port, firmware=factory_image_for))
        target = DeviceTarget(board.port, replace(options, baud=None))
        target.own(stack.pop_all())
        return target
