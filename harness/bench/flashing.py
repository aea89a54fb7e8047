"""Flashing a virtual board at a real baud rate: `mww flash` compared with esptool alone, writing the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from harness.bench.inputs import manifest
from harness.bench.measuring import BUG, Goal, Plan, Row
from harness.bench.programs import mww, run
from harness.link.model_table import ModelRecord, partition_image
from harness.serial.connection import DEFAULT_BAUD
from harness.virtual.chips import find_chip
from harness.virtual.factory import PARTITIONS, factory_image
from harness.virtual.process import VirtualBoard
from mww.core.errors import BenchmarkError
from mww.esphome.model import load_model
from mww.images.esp_image import Segment, build_image

_CHIP: Final = "esp32s3"
_, _APP, _MODELS = PARTITIONS


def flash(plan: Plan) -> list[Row]:
    """Swap a model, and write firmware with it."""
    return [_model_swap(plan), _full_image(plan)]


def _model_swap(plan: Plan) -> Row:
    model = load_model(manifest())
    image = partition_image([ModelRecord(model.content, model.tensor_arena_size or 0)], _MODELS.size)
    bare = _file(plan, "model.bin", image)
    return _row(plan, "a model", ["--model", str(manifest())], _MODELS.offset, bare)


def _full_image(plan: Plan) -> Row:
    bare = _file(plan, "factory.bin", _firmware(plan.size(768 << 10, 16 << 10)))
    return _row(plan, "firmware", ["--firmware", str(bare)], 0, bare)


def _row(plan: Plan, what: str, options: list[str], offset: int, image: Path) -> Row:
    """Write an image to a flash that is erased before each run."""
    size = -(-image.stat().st_size // 4096) * 4096
    state = plan.scratch / what
    with VirtualBoard(_CHIP, baud=DEFAULT_BAUD, state=state) as board:

        def esptool(*words: object) -> float:
            fixed = [sys.executable, "-m", "esptool", "--port", board.port, "--baud", DEFAULT_BAUD]
            return run([str(word) for word in (*fixed, *words)]).seconds

        def written(write: Callable[[], float]) -> float:
            esptool("erase-region", hex(offset), hex(size))
            seconds = write()
            _check(state / "flash.bin", offset, image.read_bytes())
            return seconds

        own, others = plan.by_turns(
            lambda: written(lambda: run(mww("flash", "--port", board.port, "--baud", DEFAULT_BAUD, *options)).seconds),
            lambda: written(lambda: esptool("write-flash", hex(offset), image)),
        )
    return Row(
        what=f"`mww flash`, {what}",
        against="`esptool write-flash`",
        unit="s",
        own=tuple(own),
        reference=tuple(others),
        comparison="ratio",
        goal=Goal("at most", 1.1),
        same=f"{image.stat().st_size} bytes of flash ({what})",
    )


def _check(flash: Path, offset: int, image: bytes) -> None:
    with flash.open("rb") as file:
        file.seek(offset)
        if file.read(len(image)) != image:
            raise BenchmarkError("the flash does not hold what was written", hint=BUG)


def _firmware(size: int) -> bytes:
    """A factory image with an application of `size` bytes, which compresses as well as machine code does."""
    chip = find_chip(_CHIP)
    code = np.random.default_rng(0).integers(0, 60, size, np.uint8).tobytes()
    segments = (Segment(chip.drom + 0x20, code), Segment(chip.iram, bytes(4)))
    app = build_image(chip.image_id, chip.iram, segments, flash_size=chip.flash_size, flash_speed=0xF)
    return factory_image(chip)[: _APP.offset] + app


def _file(plan: Plan, name: str, content: bytes) -> Path:
    path = plan.scratch / name
    path.write_bytes(content)
    return path
