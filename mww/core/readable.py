"""What a file must be able to do to be read, wherever it is."""

from __future__ import annotations

from typing import BinaryIO, Literal, Protocol


class Readable(Protocol):
    """A `Path`, or a file elsewhere that opens as one does; `str()` is what errors call it."""

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Open it for reading; what is opened can seek.

        Raises:
            OSError: It cannot be opened; so may reading it later.
        """
        ...
