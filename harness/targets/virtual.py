"""A virtual board of one's own: started, flashed with firmware and model through esptool, used, and removed."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.boards.flashing.writing import FlashJob, flash
from harness.link.model_table import ModelRecord
from harness.targets.base import ArenaUse, Inference, TargetInfo
from harness.targets.device import DeviceTarget, check_engine
from harness.targets.registry import TargetOptions
from harness.virtual.chips import find_chip
from harness.virtual.factory import factory_image
from harness.virtual.process import VirtualBoard
from mww.core.errors import UsageError
from mww.esphome.chips import DEFAULT_CHIP
from mww.esphome.model import Model

if TYPE_CHECKING:
    from typing_extensions import Self


class VirtualTarget:
    """A `DeviceTarget` together with its board; the first model comes by esptool, later ones over the link."""

    def __init__(self, options: TargetOptions) -> None:
        """Start the board, which simulates the baud rate if there is one.

        Raises:
            UsageError: An option has no meaning for a virtual board.
            VirtualBoardError: It does not start.
        """
        check_engine(options)
        if not options.flash:
            raise UsageError("a new virtual board has no model", hint="leave --no-flash out")
        self._chip = options.chip or DEFAULT_CHIP
        find_chip(self._chip)
        self._options = replace(options, baud=None)
        self._board = VirtualBoard(self._chip, baud=options.baud, faults=options.faults)
        self._device: DeviceTarget | None = None
        self._flashed = False

    def info(self) -> TargetInfo:
        """What the board says of itself."""
        return self._connected().info()

    def load(self, model: Model) -> ArenaUse:
        """Flash the firmware and the model, or upload one after the first; then open it."""
        if not self._flashed:
            self._disconnect()
            record = ModelRecord(model.content, model.tensor_arena_size or 0)
            flash(FlashJob(self._board.port, firmware=lambda chip: factory_image(find_chip(chip)), models=(record,)))
            self._flashed = True
        return self._connected().load(model)

    def reset(self) -> None:
        """Put the streaming state back."""
        self._connected().reset()

    def infer(self, frames: npt.NDArray[np.int8]) -> Inference:
        """Stream frames `[n, stride, 40]`."""
        return self._connected().infer(frames)

    def inferences(self) -> int | None:
        """What the board has counted."""
        return self._connected().inferences()

    def close(self) -> None:
        """Take the board's power away."""
        self._disconnect()
        self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> DeviceTarget:
        if self._device is None:
            self._device = DeviceTarget(self._board.port, self._options)
        return self._device

    def _disconnect(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()


def open_target(name: str, options: TargetOptions) -> VirtualTarget:
    """Start a virtual board."""
    return VirtualTarget(options)
