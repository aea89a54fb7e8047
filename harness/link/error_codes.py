"""The board's error codes: part of the wire protocol, so a number never changes its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class LinkCode(IntEnum):
    """The numbers on the wire."""

    VERSION_MISMATCH = 1
    NO_SESSION = 2
    UNKNOWN_REQUEST = 3
    BAD_REQUEST = 4
    NO_SUCH_SLOT = 5
    NO_MODEL = 6
    MODEL_CORRUPT = 7
    MODEL_SCHEMA = 8
    MODEL_OPERATOR = 9
    MODEL_INPUT = 10
    MODEL_OUTPUT = 11
    NO_MEMORY = 12
    ARENA_TOO_SMALL = 13
    NOT_OPEN = 14
    INFERENCE_FAILED = 15
    NEEDS_RESET = 16
    TOO_MANY_FRAMES = 17
    STALE_OUTPUT = 18
    NO_SUCH_OUTPUT = 19
    NO_PROFILE = 20
    NO_PARTITION = 21
    NO_ROOM = 22
    UPLOAD_ORDER = 23
    UPLOAD_DIGEST = 24
    STORAGE = 25
    NO_INTERPRETER = 26
    FAULT = 27
    NO_FRONTEND = 28
    FRONTEND = 29
    NOT_LISTENING = 30
    TOO_MUCH_SOUND = 31
    NO_MICROPHONE = 32


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A reason why a board refuses or fails a request.

    Attributes:
        code: The number on the wire.
        message: What is wrong.
        hint: What to do.
        detail: The meaning of `Error.detail`; empty where it has no meaning.
    """

    code: LinkCode
    message: str
    hint: str
    detail: str = ""

    @property
    def number(self) -> int:
        """The number on the wire."""
        return int(self.code)

    @property
    def slug(self) -> str:
        """The `error.code` for scripts."""
        return self.code.name.lower().replace("_", "-")


_CODES: Final = (
    ErrorCode(
        LinkCode.VERSION_MISMATCH,
        "the board speaks other protocol versions",
        "flash the firmware of this mww-harness version",
        "lowest version * 256 + highest version that the board speaks",
    ),
    ErrorCode(
        LinkCode.NO_SESSION,
        "the board knows no session",
        "another program has ended it: run again when no other program uses the board",
        "the boot id",
    ),
    ErrorCode(
        LinkCode.UNKNOWN_REQUEST, "the board does not know the request", "flash the firmware of this version", "type"
    ),
    ErrorCode(LinkCode.BAD_REQUEST, "the board cannot parse the request", "flash the firmware of this version"),
    ErrorCode(
        LinkCode.NO_SUCH_SLOT, "the board has no such model slot", "use a slot that the board has", "slots it has"
    ),
    ErrorCode(
        LinkCode.NO_MODEL, "the model slot is empty", "flash a model: mww flash --model MANIFEST.json --port PORT"
    ),
    ErrorCode(LinkCode.MODEL_CORRUPT, "the stored model does not match its digest", "flash the model again"),
    ErrorCode(
        LinkCode.MODEL_SCHEMA, "the model's schema version is not supported", "run mww verify on it", "its version"
    ),
    ErrorCode(
        LinkCode.MODEL_OPERATOR,
        "the model uses an operator that is not registered",
        "run mww verify on it",
        "its builtin code",
    ),
    ErrorCode(LinkCode.MODEL_INPUT, "the model's input is not int8 [1, stride, 40]", "run mww verify on it"),
    ErrorCode(LinkCode.MODEL_OUTPUT, "the model's output is not uint8 [1, 1]", "run mww verify on it"),
    ErrorCode(
        LinkCode.NO_MEMORY,
        "the board has no memory for the tensor arena",
        "free memory, use a smaller model, or a board with PSRAM",
        "bytes wanted",
    ),
    ErrorCode(
        LinkCode.ARENA_TOO_SMALL,
        "the tensor arena is too small for the model",
        "raise tensor_arena_size: mww arena MANIFEST.json says what each chip needs",
        "bytes that the arena uses",
    ),
    ErrorCode(LinkCode.NOT_OPEN, "the model is not open", "open it before use"),
    ErrorCode(LinkCode.INFERENCE_FAILED, "the interpreter failed", "read the board's log", "inferences before it"),
    ErrorCode(LinkCode.NEEDS_RESET, "an inference has failed, so the state is undefined", "reset or open the model"),
    ErrorCode(
        LinkCode.TOO_MANY_FRAMES,
        "more frames than the board takes at once",
        "send at most the number that the board reports",
        "the most",
    ),
    ErrorCode(LinkCode.STALE_OUTPUT, "the model has run again since the requested inference", "read outputs in order"),
    ErrorCode(
        LinkCode.NO_SUCH_OUTPUT, "the model has no such output", "ask for an output of the model", "outputs it has"
    ),
    ErrorCode(LinkCode.NO_PROFILE, "no inference was profiled", "set the profile flag of a request"),
    ErrorCode(
        LinkCode.NO_PARTITION, "the firmware has no model partition", "flash the firmware and its partition table"
    ),
    ErrorCode(
        LinkCode.NO_ROOM,
        "the model partition has no room for another model of this size",
        "flash it instead: mww flash --model, or use a larger partition",
        "largest size that fits",
    ),
    ErrorCode(LinkCode.UPLOAD_ORDER, "the upload is out of order", "begin it again", "bytes written so far"),
    ErrorCode(LinkCode.UPLOAD_DIGEST, "the uploaded bytes do not match their digest", "upload it again"),
    ErrorCode(
        LinkCode.STORAGE, "the flash could not be erased or written", "flash the model; the chip may be worn", "offset"
    ),
    ErrorCode(
        LinkCode.NO_INTERPRETER,
        "the virtual board has no interpreter: tflite-micro is missing where it runs",
        "there: pip install 'mww-harness[tflm]', and start it again",
    ),
    ErrorCode(
        LinkCode.FAULT,
        "the virtual board's fault has nothing to act on",
        "use another --fault, or a model that it affects",
    ),
    ErrorCode(
        LinkCode.NO_FRONTEND,
        "the firmware has no audio front-end",
        "flash the firmware of this version, or send features: --from features",
    ),
    ErrorCode(
        LinkCode.FRONTEND,
        "the audio front-end cannot be started",
        "it needs a feature_step_size of 1 to 30 ms and about 10 kB of free memory",
    ),
    ErrorCode(LinkCode.NOT_LISTENING, "no model listens", "start the stream of sound again"),
    ErrorCode(
        LinkCode.NO_MICROPHONE,
        "the firmware has no microphone",
        "add the option microphone to mww_harness and build again, or send other sound with --input",
    ),
    ErrorCode(LinkCode.TOO_MUCH_SOUND, "more sound than the board takes at once", "send it in smaller pieces"),
)

ERROR_CODES: Final[Mapping[int, ErrorCode]] = {code.number: code for code in _CODES}
"""Every code by its number."""
