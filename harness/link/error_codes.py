"""The board's error codes: part of the wire protocol, so a number never changes its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One reason for which a board refuses or fails a request.

    Attributes:
        number: On the wire.
        slug: What scripts see as `error.code`.
        message: What is wrong.
        hint: What to do.
        detail: What `Error.detail` says; empty where it says nothing.
    """

    number: int
    slug: str
    message: str
    hint: str
    detail: str = ""


VERSION_MISMATCH: Final = 1
NO_SESSION: Final = 2
"""What the session itself acts on."""

_CODES: Final = (
    ErrorCode(
        VERSION_MISMATCH,
        "version-mismatch",
        "the board speaks other protocol versions",
        "flash the firmware of this mww-harness version",
        "lowest version * 256 + highest version that the board speaks",
    ),
    ErrorCode(
        NO_SESSION,
        "no-session",
        "the board knows no session",
        "another program has ended it: run again when you have the board for yourself",
        "the boot id",
    ),
    ErrorCode(
        3, "unknown-request", "the board does not know the request", "flash the firmware of this version", "type"
    ),
    ErrorCode(4, "bad-request", "the board cannot parse the request", "flash the firmware of this version"),
    ErrorCode(5, "no-such-slot", "the board has no such model slot", "name a slot that it has", "slots it has"),
    ErrorCode(6, "no-model", "the model slot is empty", "flash a model: mww flash --model MANIFEST.json --port PORT"),
    ErrorCode(7, "model-corrupt", "the stored model does not match its digest", "flash the model again"),
    ErrorCode(8, "model-schema", "the model's schema version is not supported", "run mww verify on it", "its version"),
    ErrorCode(
        9,
        "model-operator",
        "the model uses an operator that is not registered",
        "run mww verify on it",
        "its builtin code",
    ),
    ErrorCode(10, "model-input", "the model's input is not int8 [1, stride, 40]", "run mww verify on it"),
    ErrorCode(11, "model-output", "the model's output is not uint8 [1, 1]", "run mww verify on it"),
    ErrorCode(
        12,
        "no-memory",
        "the board has no memory for the tensor arena",
        "free memory, use a smaller model, or a board with PSRAM",
        "bytes wanted",
    ),
    ErrorCode(
        13,
        "arena-too-small",
        "the tensor arena is too small for the model",
        "raise tensor_arena_size: mww arena MANIFEST.json tells what each chip needs",
        "bytes that it uses",
    ),
    ErrorCode(14, "not-open", "the model is not open", "open it before use"),
    ErrorCode(15, "inference-failed", "the interpreter failed", "look at the board's log", "inferences before it"),
    ErrorCode(16, "needs-reset", "an inference has failed, so the state is undefined", "reset or open the model"),
    ErrorCode(17, "too-many-frames", "more frames than the board takes at once", "use what it advertises", "the most"),
    ErrorCode(18, "stale-output", "the model has moved on since the inference asked for", "read outputs in order"),
    ErrorCode(19, "no-such-output", "the model has no such output", "ask for one that it has", "outputs it has"),
    ErrorCode(20, "no-profile", "no inference was profiled", "set the profile flag on one"),
    ErrorCode(21, "no-partition", "the firmware has no model partition", "flash the firmware and its partition table"),
    ErrorCode(
        22,
        "no-room",
        "the model partition has no room for the model beside those it holds",
        "flash it instead: mww flash --model, or use a larger partition",
        "largest size that fits",
    ),
    ErrorCode(23, "upload-order", "the upload is out of order", "begin it again", "bytes written so far"),
    ErrorCode(24, "upload-digest", "what arrived does not match its digest", "upload it again"),
    ErrorCode(
        25, "storage", "the flash could not be erased or written", "flash the model; the chip may be worn", "offset"
    ),
    ErrorCode(
        26,
        "no-interpreter",
        "the virtual board has no interpreter: tflite-micro is missing where it runs",
        "there: pip install 'mww-harness[tflm]', and start it again",
    ),
    ErrorCode(
        27,
        "fault",
        "the virtual board's fault has nothing to act on",
        "give it another --fault, or the model that it is meant for",
    ),
)

ERROR_CODES: Final[Mapping[int, ErrorCode]] = {code.number: code for code in _CODES}
"""Every code by its number."""
