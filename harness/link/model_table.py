"""The model partition's layout: where each model is, stored so that an interrupted write never loses a model.

The first two sectors hold the table, alternately: the valid one with the higher generation counts. A new model is
written to sectors that no live entry uses, then the other table sector is erased and written, and only a table whose
checksum holds counts. The firmware's `model_store.cpp` follows the same layout from the same declarations.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from harness.link.declaration import U16, U32, Fixed, Record, record
from harness.link.messages import MAX_MODELS
from mww.core.errors import ModelPartitionError

SECTOR_SIZE: Final[Annotated[int, U32, "Bytes that flash erases at once."]] = 4096
TABLE_MAGIC: Final[Annotated[int, U32, "`MWWT` as bytes."]] = 0x5457_574D
TABLE_VERSION: Final[Annotated[int, U16, "Of this layout."]] = 1
TABLE_SECTORS: Final[Annotated[int, U32, "Sectors that hold the table, alternately."]] = 2

_ERASED: Final = b"\xff"


@record
@dataclass(frozen=True, slots=True)
class TableHeader(Record):
    """Begins a table sector; the entries follow, then the CRC32 of all that is before it."""

    magic: Annotated[int, U32, "TABLE_MAGIC."]
    version: Annotated[int, U16, "TABLE_VERSION."]
    slots: Annotated[int, U16, "Entries that follow."]
    generation: Annotated[int, U32, "One more than the table that this table replaces."]


@record
@dataclass(frozen=True, slots=True)
class TableEntry(Record):
    """One model slot; all zero if it is empty."""

    offset: Annotated[int, U32, "Where the .tflite begins in the partition, at a sector; 0 if the slot is empty."]
    length: Annotated[int, U32, "Bytes of the .tflite."]
    arena: Annotated[int, U32, "The manifest's tensor_arena_size; 0 without a manifest."]
    sha256: Annotated[bytes, Fixed(32), "Digest of the .tflite."]


TABLE_RECORDS: Final[tuple[type[Record], ...]] = (TableHeader, TableEntry)
EMPTY: Final = TableEntry(0, 0, 0, bytes(32))
TABLE_SIZE: Final = TableHeader.fixed_size() + MAX_MODELS * TableEntry.fixed_size()


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model as the partition stores it; `arena` is the manifest's, 0 without a manifest."""

    content: bytes
    arena: int

    @property
    def sha256(self) -> bytes:
        """Digest of the `.tflite`."""
        return hashlib.sha256(self.content).digest()


def partition_image(models: Sequence[ModelRecord | None], size: int) -> bytes:
    """The partition's first bytes, up to the end of the last model; later bytes do not matter.

    Raises:
        ModelPartitionError: More models than slots, an empty model, or more than `size` bytes.
    """
    if len(models) > MAX_MODELS:
        raise ModelPartitionError(
            f"{len(models)} models, and the partition has {MAX_MODELS} slots", hint="flash fewer models"
        )
    entries = [EMPTY] * MAX_MODELS
    body = bytearray()
    for slot, model in enumerate(models):
        if model is None:
            continue
        if not model.content:
            raise ModelPartitionError(f"the model for slot {slot} is empty", hint="give a .tflite file with content")
        offset = TABLE_SECTORS * SECTOR_SIZE + len(body)
        entries[slot] = TableEntry(offset, len(model.content), model.arena, model.sha256)
        body += _whole_sectors(model.content)
    image = _whole_sectors(_table(entries)) + _ERASED * SECTOR_SIZE * (TABLE_SECTORS - 1) + bytes(body)
    if len(image) > size:
        raise ModelPartitionError(
            f"the models take {len(image)} bytes of a partition of {size}",
            hint="use fewer or smaller models, or firmware with a larger model partition",
        )
    return image


def _table(entries: Sequence[TableEntry]) -> bytes:
    header = TableHeader(TABLE_MAGIC, TABLE_VERSION, MAX_MODELS, 1)
    table = header.encode() + b"".join(entry.encode() for entry in entries)
    return table + zlib.crc32(table).to_bytes(4, "little")


def _whole_sectors(content: bytes) -> bytes:
    return content + _ERASED * (-len(content) % SECTOR_SIZE)
