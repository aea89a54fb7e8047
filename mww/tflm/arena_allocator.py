"""TFLM's `SingleArenaBufferAllocator` as arithmetic, without memory: a head that grows up, a tail that grows down."""

from __future__ import annotations

from typing import Final

BUFFER_ALIGNMENT: Final = 16
"""`MicroArenaBufferAlignment()`."""


def align_up(size: int, alignment: int = BUFFER_ALIGNMENT) -> int:
    """Round up to a multiple of `alignment`."""
    return (size + alignment - 1) // alignment * alignment


class SingleArenaBufferAllocator:
    """Head, temporary and tail level of an arena whose start and size are multiples of 16, all in bytes.

    Attributes:
        head: Bytes of the resizable buffer at the start.
        tail: Bytes of persistent buffers at the end.
        required: The smallest arena in which every allocation so far has room, not rounded.
        by_kind: Persistent bytes, alignment included, by the kind given.
    """

    def __init__(self) -> None:
        self.head = 0
        self.tail = 0
        self.required = 0
        self.by_kind: dict[str, int] = {}
        self._temp = 0

    def allocate_persistent(self, kind: str, size: int, alignment: int = 4) -> None:
        """Take `size` bytes below the tail, rounded down to the alignment.

        TFLM looks whether they reach into the head, not whether they reach into temporary bytes: there it fails a
        moment later, unless they touch only the last few, the end of a zero point array that nobody reads again.
        """
        tail = align_up(self.tail + size, alignment)
        self.by_kind[kind] = self.by_kind.get(kind, 0) + tail - self.tail
        self.tail = tail
        self._require(max(self.head, self._temp // BUFFER_ALIGNMENT * BUFFER_ALIGNMENT))

    def allocate_temp(self, size: int) -> None:
        """Take `size` bytes above the head, until `reset_temp`; every struct that TFLM puts there is aligned to 4."""
        self._temp = align_up(self._temp, 4) + size
        self._require(self._temp)

    def reset_temp(self) -> None:
        """Free all temporary bytes."""
        self._temp = self.head

    def resize_head(self, size: int) -> None:
        """Make the buffer at the start `size` bytes long; `reset_temp` has been called."""
        self.head = self._temp = size
        self._require(size)

    def require_workspace(self, size: int) -> int:
        """Take `size` bytes of the room between temporary bytes and tail, both rounded to 16, for a moment.

        Returns the size that the arena must have for it.
        """
        required = align_up(self._temp) + align_up(self.tail) + size
        self.required = max(self.required, required)
        return required

    def _require(self, start: int) -> None:
        self.required = max(self.required, start + self.tail)
