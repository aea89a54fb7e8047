"""The registry of all messages between host and board.

`firmware/components/mww_harness/messages.h` and `docs/reference/wire-protocol.md` are generated from it; run `python -m
tools.wire` after a change. docs/firmware-core.md has the rules of the session.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from harness.link.declaration import (
    F32,
    I32,
    TAIL,
    TEXT,
    U8,
    U16,
    U32,
    Fixed,
    Message,
    Record,
    Records,
    answer,
    record,
    request,
)
from mww.esphome import contract

PROTOCOL_VERSION: Final[
    Annotated[int, U8, "To be raised on a change that an older host or board would misunderstand."]
] = 1
UNKNOWN: Final[Annotated[int, U32, "A measurement that the board cannot make."]] = 0xFFFF_FFFF
ABSENT: Final[Annotated[int, U8, "`Model.state`: no record."]] = 0
STORED: Final[Annotated[int, U8, "`Model.state`: a complete record."]] = 1
OPEN: Final[Annotated[int, U8, "`Model.state`: a record that the engine has loaded."]] = 2
CORRUPT: Final[Annotated[int, U8, "`Model.state`: a record that does not match its digest."]] = 3
OPEN_ANY_OUTPUT: Final[Annotated[int, U8, "`Open.flags`: accept any output tensors, for `ReadOutput`."]] = 1
OPEN_MISALIGNMENT_SHIFT: Final[
    Annotated[
        int,
        U8,
        "`Open.flags`: from this bit on, how many bytes after a multiple of 16 a copy of the model begins; 0: no copy.",
    ]
] = 4
INFER_PROFILE: Final[Annotated[int, U8, "`Infer.flags`: time each operator of the last frame."]] = 1
FLAG_VIRTUAL: Final[Annotated[int, U8, "`Welcome.flags`: no chip; the arena is that of this build."]] = 1
FLAG_INSTRUCTIONS: Final[Annotated[int, U8, "`Welcome.flags`: microseconds are instructions that were executed."]] = 2
FLAG_FRONTEND: Final[Annotated[int, U8, "`Welcome.flags`: it has an audio front-end, for `Listen`."]] = 4
FLAG_MICROPHONE: Final[Annotated[int, U8, "`Welcome.flags`: it has a microphone, for `Listen`."]] = 8
SOUND_OF_HOST: Final[Annotated[int, U8, "`Listen.source`: the host sends the sound, with `Hear`."]] = 0
SOUND_OF_MICROPHONE: Final[Annotated[int, U8, "`Listen.source`: the board's own microphone."]] = 1
MAX_MODELS: Final[Annotated[int, U8, "Slots of a model partition."]] = 4
FEATURES: Final[Annotated[int, U8, "Features a slice."]] = contract.FEATURES


@record
@dataclass(frozen=True, slots=True)
class Sample(Record):
    """The result of a frame."""

    output: Annotated[int, U8, "The model's output; 0 for a model opened with any output."]
    detected: Annotated[int, U8, "0, or the slice of this frame, from 1, at which the armed rule detected."]
    average: Annotated[int, U8, "Average over the sliding window at a detection, else 0."]
    maximum: Annotated[int, U8, "Largest output in the sliding window at a detection, else 0."]
    microseconds: Annotated[int, U32, "Inference time."]


@record
@dataclass(frozen=True, slots=True)
class OpTime(Record):
    """What one operator took in the profiled inference."""

    microseconds: Annotated[int, U32, "Time within the operator."]
    name: Annotated[bytes, Fixed(24), "Operator, as the runtime names it, padded with zeros."]


@request(0x01, reply="Welcome", repeatable=True, by_link=True)
@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Opens a session.

    The next request carries the next sequence number. Models are closed. A Hello with the nonce of the open session
    is answered again and changes nothing. The layout of Hello stays as it is in every protocol version.
    """

    protocol_min: Annotated[int, U8, "Lowest protocol version that the host speaks."]
    protocol_max: Annotated[int, U8, "Highest protocol version that the host speaks."]
    nonce: Annotated[int, U32, "Random; distinguishes this session's Welcome from an older Welcome."]


@request(0x02, reply="Done", by_link=True)
@dataclass(frozen=True, slots=True)
class Bye(Message):
    """Ends the session: models are closed, heartbeats stop."""


@request(0x10, reply="Model", repeatable=True)
@dataclass(frozen=True, slots=True)
class Describe(Message):
    """Asks for the content of a model slot."""

    model: Annotated[int, U8, "Model slot, from 0."]


@request(0x11, reply="Model")
@dataclass(frozen=True, slots=True)
class Open(Message):
    """Loads a stored model, in its initial state, with detection disarmed; an open model is closed first."""

    model: Annotated[int, U8, "Model slot."]
    flags: Annotated[int, U8, "OPEN_ANY_OUTPUT, and a misalignment."]


@request(0x12, reply="Done")
@dataclass(frozen=True, slots=True)
class Close(Message):
    """Frees the memory of an open model; harmless for a model that is not open."""

    model: Annotated[int, U8, "Model slot."]


@request(0x13, reply="Done")
@dataclass(frozen=True, slots=True)
class Reset(Message):
    """Resets the streaming state and the armed rule, and sets the count of inferences to 0."""

    model: Annotated[int, U8, "Model slot."]


@request(0x14, reply="Done")
@dataclass(frozen=True, slots=True)
class Detect(Message):
    """Arms ESPHome's detection rule from its initial state; Sample reports its detections."""

    model: Annotated[int, U8, "Model slot."]
    cutoff: Annotated[int, U8, "Probability cutoff as ESPHome holds it: int(probability * 255)."]
    window: Annotated[int, U8, "Sliding window size in outputs; 0 disarms."]


@request(0x15, reply="Outputs")
@dataclass(frozen=True, slots=True)
class Infer(Message):
    """Advances the model by one frame or more."""

    model: Annotated[int, U8, "Model slot."]
    flags: Annotated[int, U8, "INFER_PROFILE."]
    frames: Annotated[bytes, TAIL, "int8 frames, each stride * 40 bytes."]


@request(0x16, reply="OutputPiece", repeatable=True)
@dataclass(frozen=True, slots=True)
class ReadOutput(Message):
    """Asks for a piece of an output tensor after the latest inference."""

    model: Annotated[int, U8, "Model slot."]
    output: Annotated[int, U8, "Which output tensor, from 0."]
    inferences: Annotated[int, U32, "Inferences since Reset; refused as stale if the model has run again since."]
    offset: Annotated[int, U32, "First byte wanted."]


@request(0x17, reply="Profile", repeatable=True)
@dataclass(frozen=True, slots=True)
class ReadProfile(Message):
    """Asks for operator times of the latest profiled inference."""

    model: Annotated[int, U8, "Model slot."]
    first: Annotated[int, U16, "First requested operator, in order of execution."]


@request(0x18, reply="Done")
@dataclass(frozen=True, slots=True)
class Listen(Message):
    """Starts a stream of sound with the front-end, the models and their armed rules in their initial state.

    A model listens until Open, Close, Reset or Infer, or the next Listen, takes it out of the stream.
    """

    models: Annotated[int, U8, "The open models that listen, bit 0 for slot 0; 0 ends the stream."]
    step_ms: Annotated[int, U8, "Milliseconds from one slice to the next: the manifest's feature_step_size."]
    source: Annotated[int, U8, "SOUND_OF_HOST or SOUND_OF_MICROPHONE."]


@request(0x19, reply="Heard")
@dataclass(frozen=True, slots=True)
class Hear(Message):
    """Takes the next samples of the stream; every listening model takes each slice that they complete."""

    samples: Annotated[bytes, TAIL, "int16, 16 kHz, mono; no more than max_payload / 320 steps of them."]


@request(0x1A, reply="Sound", repeatable=True)
@dataclass(frozen=True, slots=True)
class ReadSound(Message):
    """Asks for the microphone's samples; the board keeps the last second."""

    first: Annotated[int, U32, "First requested sample, counted from Listen."]


@request(0x1B, reply="Heard", repeatable=True)
@dataclass(frozen=True, slots=True)
class ReadHeard(Message):
    """Asks for the results of front-end and models for the microphone's sound."""

    first: Annotated[int, U32, "First requested slice, counted from Listen."]


@request(0x20, reply="Done")
@dataclass(frozen=True, slots=True)
class UploadBegin(Message):
    """Finds room for a record beside all others in the partition; an earlier upload without commit is dropped."""

    model: Annotated[int, U8, "Model slot for the record."]
    size: Annotated[int, U32, "Bytes of the .tflite."]
    arena: Annotated[int, U32, "The manifest's tensor_arena_size; 0 without a manifest."]
    sha256: Annotated[bytes, Fixed(32), "Digest of the .tflite."]


@request(0x21, reply="Done")
@dataclass(frozen=True, slots=True)
class UploadPiece(Message):
    """Writes the next bytes."""

    offset: Annotated[int, U32, "Bytes written so far."]
    data: Annotated[bytes, TAIL, "The bytes."]


@request(0x22, reply="Model")
@dataclass(frozen=True, slots=True)
class UploadCommit(Message):
    """Checks the digest of the written bytes, then makes them the slot's record, completely or not at all."""

    sha256: Annotated[bytes, Fixed(32), "Digest, as in UploadBegin."]


@request(0x30, reply="Stats", repeatable=True)
@dataclass(frozen=True, slots=True)
class ReadStats(Message):
    """Asks for memory and link counters."""


@answer(0x81)
@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """What the board is, and its limits."""

    protocol: Annotated[int, U8, "Protocol version from here on."]
    window: Annotated[int, U8, "Requests that may be unanswered; also the number of answers that the board remembers."]
    models: Annotated[int, U8, "Model slots."]
    flags: Annotated[int, U8, "FLAG_VIRTUAL, FLAG_INSTRUCTIONS, FLAG_FRONTEND, FLAG_MICROPHONE."]
    max_payload: Annotated[int, U16, "Bytes of the largest payload that the board takes."]
    max_frames: Annotated[int, U16, "Frames that one Infer may carry."]
    heartbeat_ms: Annotated[int, U16, "A Heartbeat comes at least this often while a request was heard recently."]
    clock_mhz: Annotated[int, U16, "CPU clock."]
    receive_buffer: Annotated[int, U32, "Bytes on the wire that may be unanswered."]
    partition_size: Annotated[int, U32, "Bytes of the model partition; 0 without one."]
    nonce: Annotated[int, U32, "Hello's."]
    boot_id: Annotated[int, U32, "Random per boot."]
    mac: Annotated[bytes, Fixed(6), "The chip's base MAC address."]
    chip: Annotated[str, TEXT, "As esptool's --chip spells it."]
    revision: Annotated[str, TEXT, "Chip revision."]
    board: Annotated[str, TEXT, "Board name of the firmware's configuration."]
    firmware: Annotated[str, TEXT, "Version of this firmware."]
    engine: Annotated[str, TEXT, "Interpreter."]
    esphome: Annotated[str, TEXT, "ESPHome version, or empty."]
    idf: Annotated[str, TEXT, "ESP-IDF version, or empty."]
    runtime: Annotated[str, TEXT, "esp-tflite-micro version."]
    kernels: Annotated[
        str,
        TEXT,
        "esp-nn version, a space, and its kernels; empty for reference kernels.",
    ]
    reset_reason: Annotated[str, TEXT, "Why it booted."]


@answer(0x82)
@dataclass(frozen=True, slots=True)
class Done(Message):
    """The request succeeded."""


@answer(0x83)
@dataclass(frozen=True, slots=True)
class Model(Message):
    """The content of a model slot; from `stride` on, zero unless the model is open."""

    model: Annotated[int, U8, "Model slot."]
    state: Annotated[int, U8, "ABSENT, STORED, OPEN or CORRUPT."]
    size: Annotated[int, U32, "Bytes of the .tflite."]
    manifest_arena: Annotated[int, U32, "tensor_arena_size stored with it; 0 without a manifest."]
    sha256: Annotated[bytes, Fixed(32), "Digest of the .tflite."]
    stride: Annotated[int, U8, "Slices a frame."]
    outputs: Annotated[int, U8, "Output tensors."]
    variables: Annotated[int, U8, "Resource variables."]
    input_zero_point: Annotated[int, I32, "The model's own value; the runtime never reads it."]
    output_zero_point: Annotated[int, I32, "Likewise."]
    input_scale: Annotated[float, F32, "Likewise."]
    output_scale: Annotated[float, F32, "Likewise."]
    arena_used: Annotated[int, U32, "arena_used_bytes()."]
    arena_size: Annotated[int, U32, "Bytes allocated for the tensor arena."]
    variable_arena_used: Annotated[int, U32, "Bytes used of the 1024-byte variable arena."]


@answer(0x84)
@dataclass(frozen=True, slots=True)
class Outputs(Message):
    """The results of an Infer's frames."""

    model: Annotated[int, U8, "Model slot."]
    first: Annotated[int, U32, "Inferences since Reset before the first of these."]
    samples: Annotated[bytes, Records(Sample), "One a frame."]


@answer(0x85)
@dataclass(frozen=True, slots=True)
class OutputPiece(Message):
    """Bytes of an output tensor, as many as fit."""

    total: Annotated[int, U32, "Bytes of the whole tensor."]
    offset: Annotated[int, U32, "Where these begin."]
    data: Annotated[bytes, TAIL, "The bytes."]


@answer(0x86)
@dataclass(frozen=True, slots=True)
class Profile(Message):
    """Operator times, as many as fit."""

    total: Annotated[int, U16, "Operators that ran."]
    first: Annotated[int, U16, "Where these begin."]
    operators: Annotated[bytes, Records(OpTime), "One an operator."]


@answer(0x87)
@dataclass(frozen=True, slots=True)
class Stats(Message):
    """Memory and link counters; UNKNOWN where the board does not have the counter."""

    uptime_ms: Annotated[int, U32, "Since boot."]
    inferences: Annotated[int, U32, "Since boot, over all models."]
    heap_free: Annotated[int, U32, "Internal RAM, bytes."]
    heap_smallest_free: Annotated[int, U32, "Internal RAM, low-water mark since boot."]
    heap_largest_block: Annotated[int, U32, "Internal RAM, largest free block."]
    psram_free: Annotated[int, U32, "PSRAM, bytes."]
    psram_smallest_free: Annotated[int, U32, "PSRAM, low-water mark since boot."]
    stack_free: Annotated[int, U32, "Stack of the inference task, low-water mark."]
    frames_received: Annotated[int, U32, "Whole frames from the host."]
    frames_rejected: Annotated[int, U32, "Frames with a wrong checksum, or cut."]
    gaps: Annotated[int, U32, "Requests refused because an earlier one was missing."]
    repeats: Annotated[int, U32, "Requests that were answered a second time."]


@answer(0x88)
@dataclass(frozen=True, slots=True)
class Heard(Message):
    """The results of a Hear's samples, or as much as fits of those that ReadHeard asks for."""

    first: Annotated[
        int, U32, "Slices since Listen before the first of these; more than requested where some are gone."
    ]
    slices: Annotated[
        bytes,
        TAIL,
        "For each slice its 40 features, int8 as a model takes them; a byte with the bit of each model that it "
        "completes a frame of; and the Sample of each of these, in the order of the slots.",
    ]


@answer(0x89)
@dataclass(frozen=True, slots=True)
class Sound(Message):
    """The microphone's samples, as many as exist and fit."""

    first: Annotated[
        int, U32, "Samples since Listen before the first of these; more than requested where some are gone."
    ]
    lost: Annotated[int, U32, "Samples since Listen that the board lost, because its models took too long."]
    samples: Annotated[bytes, TAIL, "int16, 16 kHz, mono."]


@answer(0x90)
@dataclass(frozen=True, slots=True)
class Error(Message):
    """The request was refused or failed; this is its answer, and its number is used."""

    code: Annotated[int, U16, "A stable code; see the error codes."]
    detail: Annotated[int, U32, "A number; the error code defines its meaning."]
    text: Annotated[str, TEXT, "The board's message."]


@answer(0x91)
@dataclass(frozen=True, slots=True)
class Gap(Message):
    """A request came out of turn and was dropped; the host goes back to `expected`."""

    expected: Annotated[int, U16, "Sequence number that the board waits for."]


@answer(0xA0)
@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """The board is alive. Also sent once at boot."""

    boot_id: Annotated[int, U32, "As in Welcome; a different value means a reboot."]
    uptime_ms: Annotated[int, U32, "Since boot."]
    inferences: Annotated[int, U32, "Since boot, over all models."]


@answer(0xA1)
@dataclass(frozen=True, slots=True)
class Log(Message):
    """A line for the user."""

    level: Annotated[int, U8, "As in ESPHome: 1 error, 2 warning, 3 info, 4 config, 5 debug."]
    text: Annotated[str, TEXT, "The line."]
