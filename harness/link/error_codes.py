"""The board's error codes: part of the wire protocol, so a number never changes its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Self


class LinkCode(IntEnum):
    """A reason why a board refuses or fails a request; the value is the number on the wire.

    Attributes:
        message: What is wrong.
        hint: What to do.
        detail: The meaning of `Error.detail`; empty where it has no meaning.
    """

    message: str
    hint: str
    detail: str

    def __new__(cls, number: int, message: str, hint: str, detail: str = "") -> Self:
        """Make a code of its number and texts."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.message, code.hint, code.detail = message, hint, detail
        return code

    @property
    def slug(self) -> str:
        """The `error.code` for scripts."""
        return self.name.lower().replace("_", "-")

    VERSION_MISMATCH = (
        1,
        "the board speaks other protocol versions",
        "flash the firmware of this mww-harness version",
        "lowest version * 256 + highest version that the board speaks",
    )
    NO_SESSION = (
        2,
        "the board knows no session",
        "another program has ended it: run again when no other program uses the board",
        "the boot id",
    )
    UNKNOWN_REQUEST = (3, "the board does not know the request", "flash the firmware of this version", "type")
    BAD_REQUEST = (4, "the board cannot parse the request", "flash the firmware of this version")
    NO_SUCH_SLOT = (5, "the board has no such model slot", "use a slot that the board has", "slots it has")
    NO_MODEL = (6, "the model slot is empty", "flash a model: mww flash --model MANIFEST.json --port PORT")
    MODEL_CORRUPT = (7, "the stored model does not match its digest", "flash the model again")
    MODEL_SCHEMA = (8, "the model's schema version is not supported", "run mww verify on it", "its version")
    MODEL_OPERATOR = (
        9,
        "the model uses an operator that is not registered",
        "run mww verify on it",
        "its builtin code",
    )
    MODEL_INPUT = (10, "the model's input is not int8 [1, stride, 40]", "run mww verify on it")
    MODEL_OUTPUT = (11, "the model's output is not uint8 [1, 1]", "run mww verify on it")
    NO_MEMORY = (
        12,
        "the board has no memory for the tensor arena",
        "free memory, use a smaller model, or a board with PSRAM",
        "bytes wanted",
    )
    ARENA_TOO_SMALL = (
        13,
        "the tensor arena is too small for the model",
        "raise tensor_arena_size: mww arena MANIFEST.json says what each chip needs",
        "bytes that the arena uses",
    )
    NOT_OPEN = (14, "the model is not open", "open it before use")
    INFERENCE_FAILED = (15, "the interpreter failed", "read the board's log", "inferences before it")
    NEEDS_RESET = (16, "an inference has failed, so the state is undefined", "reset or open the model")
    TOO_MANY_FRAMES = (
        17,
        "more frames than the board takes at once",
        "send at most the number that the board reports",
        "the most",
    )
    STALE_OUTPUT = (18, "the model has run again since the requested inference", "read outputs in order")
    NO_SUCH_OUTPUT = (19, "the model has no such output", "ask for an output of the model", "outputs it has")
    NO_PROFILE = (20, "no inference was profiled", "set the profile flag of a request")
    NO_PARTITION = (21, "the firmware has no model partition", "flash the firmware and its partition table")
    NO_ROOM = (
        22,
        "the model partition has no room for another model of this size",
        "flash it instead: mww flash --model, or use a larger partition",
        "largest size that fits",
    )
    UPLOAD_ORDER = (23, "the upload is out of order", "begin it again", "bytes written so far")
    UPLOAD_DIGEST = (24, "the uploaded bytes do not match their digest", "upload it again")
    STORAGE = (25, "the flash could not be erased or written", "flash the model; the chip may be worn", "offset")
    NO_INTERPRETER = (
        26,
        "the virtual board has no interpreter: tflite-micro is missing where it runs",
        "there: pip install 'mww-harness[tflm]', and start it again",
    )
    FAULT = (27, "the virtual board's fault has nothing to act on", "use another --fault, or a model that it affects")
    NO_FRONTEND = (
        28,
        "the firmware has no audio front-end",
        "flash the firmware of this version, or send features: --from features",
    )
    FRONTEND = (
        29,
        "the audio front-end cannot be started",
        "it needs a feature_step_size of 1 to 30 ms and about 10 kB of free memory",
    )
    NOT_LISTENING = (30, "no model listens", "start the stream of sound again")
    NO_MICROPHONE = (
        32,
        "the firmware has no microphone",
        "add the option microphone to mww_harness and build again, or send other sound with --input",
    )
    TOO_MUCH_SOUND = (31, "more sound than the board takes at once", "send it in smaller pieces")


ERROR_CODES: Final[Mapping[int, LinkCode]] = {int(code): code for code in LinkCode}
"""Every code by its number."""
