"""The host's half of exactly-once: which requests are unanswered, and which to send again.

Pure bookkeeping on sequence numbers, without clock or port. The board answers in order, and remembers as many answers
as the window has requests; so an early answer proves that the missing ones were sent and lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from harness.link.declaration import Message
from harness.link.framing import Frame, encode_frame

_MODULUS: Final = 1 << 16


@dataclass(slots=True)
class _Pending:
    sequence: int
    wire: bytes
    request: Message
    answer: Frame | None = None


class Window:
    """Unanswered requests in order, at most `requests` of them and `capacity` bytes on the wire."""

    def __init__(self, sequence: int, *, requests: int, capacity: int) -> None:
        self._next = sequence % _MODULUS
        self._requests = requests
        self._capacity = capacity
        self._pending: deque[_Pending] = deque()
        self._bytes = 0
        self._gap: tuple[int, int] | None = None
        self._asked_again: int | None = None

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def oldest(self) -> Message | None:
        """The oldest unanswered request."""
        return self._pending[0].request if self._pending else None

    def has_room(self, request_size: int) -> bool:
        """Whether another request of that many bytes on the wire may be sent; a single request always may."""
        if not self._pending:
            return True
        return len(self._pending) < self._requests and self._bytes + request_size <= self._capacity

    def send(self, request: Message, payload: bytes) -> bytes:
        """Give the request, encoded as `payload`, the next number; returns the bytes to write."""
        wire = encode_frame(request.type, self._next, payload)
        self._pending.append(_Pending(self._next, wire, request))
        self._bytes += len(wire)
        self._next = (self._next + 1) % _MODULUS
        return wire

    def accept(self, frame: Frame) -> tuple[list[tuple[Message, Frame]], bytes]:
        """Take an answer; returns the requests that are now answered in order, and bytes to write."""
        index = self._index(frame.sequence)
        if index is None:
            return [], b""
        self._pending[index].answer = frame
        done: list[tuple[Message, Frame]] = []
        while self._pending and (answered := self._pending[0].answer) is not None:
            first = self._pending.popleft()
            self._bytes -= len(first.wire)
            done.append((first.request, answered))
        return done, self._ask_for_lost()

    def go_back(self, expected: int, refused: int) -> bytes:
        """The board waits for `expected` and refused `refused`; returns all requests from there on, once for each loss.

        The board refuses every request after a loss, so the refused numbers rise; they fall only when the repeated
        request was lost too.
        """
        index = self._index(expected)
        if index is None or self._index(refused) is None:
            return b""
        if self._gap is not None and self._gap[0] == expected and self._distance(self._gap[1], refused) > 0:
            self._gap = (expected, refused)
            return b""
        self._gap = (expected, refused)
        return b"".join(pending.wire for pending in list(self._pending)[index:])

    def resend_oldest(self) -> bytes:
        """The oldest request has timed out: returns its bytes."""
        return self._pending[0].wire if self._pending else b""

    def _ask_for_lost(self) -> bytes:
        """The bytes to write after an early answer: the oldest request again, once."""
        if not self._pending or all(pending.answer is None for pending in self._pending):
            return b""
        first = self._pending[0]
        if self._asked_again == first.sequence:
            return b""
        self._asked_again = first.sequence
        return first.wire

    def _index(self, sequence: int) -> int | None:
        if not self._pending:
            return None
        index = self._distance(self._pending[0].sequence, sequence)
        return index if 0 <= index < len(self._pending) else None

    @staticmethod
    def _distance(start: int, end: int) -> int:
        return (end - start + _MODULUS // 2) % _MODULUS - _MODULUS // 2
