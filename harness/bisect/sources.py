"""What `mww bisect --target` names, opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness.bisect.board import BoardTensors
from harness.bisect.probing import EngineTensors, TensorSource
from harness.targets.qemu.target import open_target as open_qemu
from harness.targets.registry import EMULATOR, VIRTUAL, TargetOptions, check_faults, is_qemu, target_spec
from harness.virtual.process import VirtualBoard
from mww.core.progress import Progress, no_progress
from mww.esphome.chips import DEFAULT_CHIP
from mww.esphome.model import Model


@contextmanager
def open_source(
    target: str, options: TargetOptions, model: Model, progress: Progress = no_progress
) -> Iterator[TensorSource]:
    """Open what `mww bisect --target` names; a virtual board is started, with its faults, and removed, as QEMU is.

    Raises:
        UsageError: There is no such target, or an option has no meaning for it.
        MwwError: It cannot be opened.
    """
    check_faults(target, options)
    target_spec(target)
    with ExitStack() as stack:
        if target == EMULATOR:
            source: TensorSource = EngineTensors(options.engine)
        else:
            if target == VIRTUAL:
                board = VirtualBoard(options.chip or DEFAULT_CHIP, baud=options.baud, faults=options.faults)
                target = stack.enter_context(board).port
            elif is_qemu(target):
                emulated = stack.enter_context(open_qemu(target, options))
                target = stack.enter_context(emulated.lend_port())
            source = BoardTensors(target, options, model, progress)
        yield stack.enter_context(source)
