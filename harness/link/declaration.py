"""Declarations of messages: kinds of fields, and the codec that follows from them.

A message is a frozen dataclass whose fields are `Annotated[type, kind, "doc"]`, registered by `request` or `answer`;
a `record` is a row that repeats in a message or stands in flash; a number with a name on both ends is a
`Final[Annotated[int, kind, "doc"]]` of `messages` or `model_table`. Little endian throughout. `tools.wire`
reads the same declarations to write the C++ header and the reference page.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, get_type_hints

from mww.core.errors import WireFormatError

if TYPE_CHECKING:
    from typing_extensions import Self

FLASH_AGAIN: Final = "flash the firmware of this mww-harness version"
"""What to do with a board whose messages are not those of this version."""

TEXT_LIMIT: Final = 255
"""Bytes of the longest text: its length is one byte."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number of fixed width: its `struct` letter and its C++ type."""

    name: str
    letter: str
    cpp: str

    @property
    def size(self) -> int:
        """Bytes."""
        return struct.calcsize(f"<{self.letter}")


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bytes of a fixed count, such as a digest."""

    size: int

    @property
    def letter(self) -> str:
        """The `struct` letter."""
        return f"{self.size}s"

    @property
    def name(self) -> str:
        """The kind as the reference page names it."""
        return f"bytes[{self.size}]"


@dataclass(frozen=True, slots=True)
class TextKind:
    """A length byte, then UTF-8."""

    name: ClassVar[str] = "text"


@dataclass(frozen=True, slots=True)
class TailKind:
    """All bytes to the end of the payload."""

    name: ClassVar[str] = "tail"


@dataclass(frozen=True, slots=True)
class Records:
    """Rows of a record to the end of the payload."""

    row: "type[Record]"

    @property
    def name(self) -> str:
        """The kind as the reference page names it."""
        return f"{self.row.__name__}[]"


U8: Final = Scalar("u8", "B", "uint8_t")
U16: Final = Scalar("u16", "H", "uint16_t")
U32: Final = Scalar("u32", "I", "uint32_t")
I32: Final = Scalar("i32", "i", "int32_t")
F32: Final = Scalar("f32", "f", "float")
TEXT: Final = TextKind()
TAIL: Final = TailKind()

FixedKind = Scalar | Fixed
Kind = Scalar | Fixed | TextKind | TailKind | Records


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A declared field."""

    name: str
    kind: Kind
    doc: str


class Sender(Enum):
    """The sender of a message."""

    HOST = "host"
    DEVICE = "device"


class Record:
    """Base of all layouts: fixed-width fields first, then texts, then at most one tail."""

    __slots__ = ()
    layout: ClassVar[tuple[FieldSpec, ...]]
    _prefix: ClassVar[struct.Struct]
    _fixed: ClassVar[tuple[str, ...]]
    _texts: ClassVar[tuple[str, ...]]
    _tail: ClassVar[str | None]

    @classmethod
    def fixed_fields(cls) -> list[tuple[str, FixedKind]]:
        """The fields of fixed width."""
        return [(item.name, item.kind) for item in cls.layout if isinstance(item.kind, FixedKind)]

    @classmethod
    def fixed_size(cls) -> int:
        """Bytes of the fixed-width part."""
        return cls._prefix.size

    def encode(self) -> bytes:
        """The bytes on the wire.

        Raises:
            WireFormatError: A value does not fit its field.
        """
        try:
            parts = [self._prefix.pack(*[getattr(self, name) for name in self._fixed])]
        except struct.error as error:
            raise WireFormatError(
                f"{type(self).__name__} does not fit its fields: {error}", hint="use smaller values"
            ) from None
        for name in self._texts:
            text = getattr(self, name).encode()
            if len(text) > TEXT_LIMIT:
                raise WireFormatError(
                    f"{type(self).__name__}.{name} is longer than {TEXT_LIMIT} bytes", hint="shorten it"
                )
            parts.append(bytes((len(text),)) + text)
        if self._tail is not None:
            parts.append(getattr(self, self._tail))
        return b"".join(parts)

    @classmethod
    def decode(cls, payload: bytes) -> "Self":
        """Parse exactly `payload`.

        Raises:
            WireFormatError: It is too short, too long, or no such layout.
        """
        if len(payload) < cls._prefix.size:
            raise WireFormatError(
                f"{cls.__name__} of {len(payload)} bytes is cut short",
                hint=FLASH_AGAIN,
            )
        values: list[object] = list(cls._prefix.unpack_from(payload))
        offset = cls._prefix.size
        for name in cls._texts:
            end = offset + 1 + payload[offset] if offset < len(payload) else len(payload) + 1
            if end > len(payload):
                raise WireFormatError(f"{cls.__name__}.{name} is cut short", hint=FLASH_AGAIN)
            values.append(payload[offset + 1 : end].decode(errors="replace"))
            offset = end
        if cls._tail is not None:
            tail = payload[offset:]
            kind = cls.layout[-1].kind
            if isinstance(kind, Records) and len(tail) % kind.row.fixed_size():
                raise WireFormatError(
                    f"{cls.__name__} ends within a {kind.row.__name__}",
                    hint=FLASH_AGAIN,
                )
            values.append(tail)
        elif offset != len(payload):
            raise WireFormatError(
                f"{cls.__name__} has {len(payload) - offset} bytes too many",
                hint=FLASH_AGAIN,
            )
        return cls(*values)


class Message(Record):
    """A layout with a type number.

    `repeatable` requests change nothing, so the device may process them again. Requests `by_link` are answered by the
    link itself, all others by the firmware's session.
    """

    __slots__ = ()
    type: ClassVar[int]
    sender: ClassVar[Sender]
    repeatable: ClassVar[bool]
    by_link: ClassVar[bool]
    reply: ClassVar[str | None]


RecordT = TypeVar("RecordT", bound=Record)
MessageT = TypeVar("MessageT", bound=Message)


def record(cls: type[RecordT]) -> type[RecordT]:
    """Register the layout of a row."""
    _declare(cls)
    return cls


def request(
    number: int, *, reply: str, repeatable: bool = False, by_link: bool = False
) -> Callable[[type[MessageT]], type[MessageT]]:
    """Register a message from the host, and name the message that answers it; for the rest see `Message`."""
    return _message(number, Sender.HOST, reply, repeatable, by_link)


def answer(number: int) -> Callable[[type[MessageT]], type[MessageT]]:
    """Register a message from the device."""
    return _message(number, Sender.DEVICE, None, False, False)


def messages() -> Mapping[int, type[Message]]:
    """Every registered message by its type number."""
    return _MESSAGES


_MESSAGES: dict[int, type[Message]] = {}


def _message(
    number: int, sender: Sender, reply: str | None, repeatable: bool, by_link: bool
) -> Callable[[type[MessageT]], type[MessageT]]:
    def register(cls: type[MessageT]) -> type[MessageT]:
        assert number not in _MESSAGES, f"type {number:#04x} is declared twice"
        _declare(cls)
        cls.type, cls.sender, cls.reply, cls.repeatable, cls.by_link = number, sender, reply, repeatable, by_link
        _MESSAGES[number] = cls
        return cls

    return register


def _declare(cls: type[Record]) -> None:
    hints = get_type_hints(cls, include_extras=True)
    layout = tuple(_field(item.name, hints[item.name]) for item in fields(cls))  # type: ignore[arg-type]
    ranks = [_rank(item.kind) for item in layout]
    assert ranks == sorted(ranks) and ranks.count(2) <= 1, f"{cls.__name__}: fixed fields, then texts, then one tail"
    cls.layout = layout
    cls._prefix = struct.Struct("<" + "".join(kind.letter for _, kind in cls.fixed_fields()))
    cls._fixed = tuple(name for name, _ in cls.fixed_fields())
    cls._texts = tuple(item.name for item in layout if isinstance(item.kind, TextKind))
    cls._tail = layout[-1].name if layout and _rank(layout[-1].kind) == 2 else None


def _field(name: str, annotation: Any) -> FieldSpec:
    kind, doc = annotation.__metadata__
    return FieldSpec(name, kind, doc)


def _rank(kind: Kind) -> int:
    return 0 if isinstance(kind, FixedKind) else 1 if isinstance(kind, TextKind) else 2
