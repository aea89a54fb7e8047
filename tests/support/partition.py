"""A model partition, read as the firmware does: an oracle for what is written to it."""

from __future__ import annotations

import zlib

from harness.link.messages import MAX_MODELS
from harness.link.model_table import (
    EMPTY,
    SECTOR_SIZE,
    TABLE_MAGIC,
    TABLE_SECTORS,
    TABLE_SIZE,
    TABLE_VERSION,
    ModelRecord,
    TableEntry,
    TableHeader,
)
from mww.core.errors import WireFormatError


def read_partition(image: bytes) -> tuple[ModelRecord | None, ...]:
    """The models that a partition holds, by slot; a model that its digest disowns is left out."""
    return tuple(_model(image, entry) for entry in _live_entries(image))


def _live_entries(image: bytes) -> tuple[TableEntry, ...]:
    best: tuple[int, tuple[TableEntry, ...]] = (-1, (EMPTY,) * MAX_MODELS)
    for sector in range(TABLE_SECTORS):
        table = image[sector * SECTOR_SIZE : sector * SECTOR_SIZE + TABLE_SIZE + 4]
        try:
            header = TableHeader.decode(table[: TableHeader.fixed_size()])
        except WireFormatError:
            continue
        valid = (header.magic, header.version, header.slots) == (TABLE_MAGIC, TABLE_VERSION, MAX_MODELS)
        if valid and zlib.crc32(table[:TABLE_SIZE]).to_bytes(4, "little") == table[TABLE_SIZE:]:
            width = TableEntry.fixed_size()
            starts = range(TableHeader.fixed_size(), TABLE_SIZE, width)
            entries = tuple(TableEntry.decode(table[start : start + width]) for start in starts)
            best = max(best, (header.generation, entries), key=lambda table: table[0])
    return best[1]


def _model(image: bytes, entry: TableEntry) -> ModelRecord | None:
    if entry.offset < TABLE_SECTORS * SECTOR_SIZE or entry.offset + entry.length > len(image):
        return None
    model = ModelRecord(image[entry.offset : entry.offset + entry.length], entry.arena)
    return model if model.sha256 == entry.sha256 else None
