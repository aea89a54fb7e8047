"""The messages of ESPHome, TFLite Micro and the chip when a wake word does not work, with cause and cure.

`mww explain` looks for these messages in a log; `docs/troubleshooting.md` is made from them. Texts are those of esphome
2024.7 to 2026.10 (`micro_wake_word`), esp-tflite-micro 1.3.3 and ESP-IDF.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A message and its meaning.

    Attributes:
        id: Stable name.
        text: The message as people see it; `...` stands for what varies.
        pattern: Finds it in a line.
        cause: What happened.
        cure: What to do.
        command: Shows the fault, or repairs it; `MANIFEST.json` is the wake word's manifest.
        weak: Whether it only accompanies other messages; if these are in the log, they explain the fault better.
    """

    id: str
    text: str
    pattern: re.Pattern[str]
    cause: str
    cure: str
    command: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Explained:
    """A message that a log holds, with the number of its first line, from 1, and the line."""

    message: LogMessage
    line: int
    text: str


def _message(
    identifier: str, text: str, pattern: str, *, cause: str, cure: str, command: str, weak: bool = False
) -> LogMessage:
    return LogMessage(identifier, text, re.compile(pattern, re.IGNORECASE), cause, cure, command, weak)


_VERIFY: Final = "mww verify MANIFEST.json"
_ARENA: Final = "mww arena MANIFEST.json"

MESSAGES: Final = (
    # --- esphome config and compile
    _message(
        "invalid-option",
        "[micro_wake_word] is an invalid option for [<root>]",
        r"\[micro_wake_word\] is an invalid option for \[<root>\]",
        cause="ESPHome could not use a manifest or model, and does not say why: a wrong or missing key, `version: 1` "
        "on a version 2 body, a minimum_esphome_version that is newer than this ESPHome or not of the form 2024.7.0, a "
        "file that cannot be downloaded",
        cure="verify each manifest that the YAML names; write a correct one where keys are wrong",
        command="mww verify MANIFEST.json; mww manifest MANIFEST.json --output FIXED.json",
    ),
    _message(
        "invalid-manifest",
        "Invalid manifest file: ...",
        r"Invalid manifest (file|version)|must contain a JSON object|is missing the 'model' key",
        cause="the manifest breaks ESPHome's schema",
        cure="correct the keys, or write the manifest again from the model",
        command="mww manifest MANIFEST.json --output FIXED.json",
    ),
    _message(
        "steps-differ",
        "Cannot load models with different features step sizes",
        r"Cannot load models with different features? step sizes",
        cause="models under `models:` have different feature_step_size: an older 20 ms model beside 10 ms ones",
        cure="use models of one step: 10 ms for version 2 models",
        command="mww budget A.json B.json",
    ),
    _message(
        "newer-esphome-needed",
        "This model requires ESPHome version ... or newer",
        r"requires (at least )?ESPHome|minimum_esphome_version|ESPHome version is too old",
        cause="the manifest's minimum_esphome_version is newer than this ESPHome",
        cure="update ESPHome, or lower minimum_esphome_version: 2024.7.0 is enough for every version 2 model",
        command=_VERIFY,
    ),
    _message(
        "model-file-missing",
        "Could not find file '...' in the repository",
        r"Could not find file '.*' in the repository|File does not exist in repository|Not a valid model name",
        cause="the path or address of the manifest is wrong, or its model is not in the same folder",
        cure="open the address in a browser, and check that `model` in the manifest names the file in the same folder",
        command=_VERIFY,
    ),
    # --- the tensor arena
    _message(
        "arena-resize",
        "Failed to resize buffer. Requested: ..., available ..., missing: ...",
        r"Failed to resize buffer\. Requested: (\d+), available:? (\d+), missing: (\d+)",
        cause="tensor_arena_size is too small for this model with the libraries that this firmware was built with",
        cure="raise tensor_arena_size to the predicted size for this chip and ESPHome release, then build again",
        command="mww arena MANIFEST.json --esphome RELEASE; mww manifest MANIFEST.json --in-place",
    ),
    _message(
        "arena-allocate",
        "Failed to allocate tensors for the streaming model",
        r"Failed to allocate tensors for the streaming model|AllocateTensors\(\) failed",
        cause="the tensor arena is too small, or the model uses an operator that ESPHome does not register",
        cure="read the line before this line; predict the arena and verify the model",
        command=f"{_VERIFY}; {_ARENA}",
        weak=True,
    ),
    _message(
        "arena-memory",
        "Could not allocate the streaming model's tensor arena.",
        r"Could not allocate the streaming model's (variable )?tensor arena",
        cause="no block of that size is free: the heap is full or fragmented, often at the second start",
        cure="use a board with PSRAM, fewer models, or a smaller tensor_arena_size if the prediction allows it",
        command="mww budget A.json B.json --chip CHIP",
    ),
    _message(
        "arena-probe",
        "Arena size probe failed, using manifest size: ... bytes",
        r"Arena size probe failed, using manifest size",
        cause="the model did not load with the manifest's size, nor with 1.5 and 2 times that size",
        cure="set tensor_arena_size to the predicted size",
        command=_ARENA,
    ),
    _message(
        "section-allocation",
        "Arena size is too small for all buffers. Needed ... but only ... was available.",
        r"Failed to allocate (tail|temp|persistent) memory|Arena size is too small for all buffers",
        cause="the tensor arena is too small while TFLite Micro prepares the model",
        cure="set tensor_arena_size to the predicted minimum, which can be more than the loaded model uses",
        command=_ARENA,
    ),
    # --- the model
    _message(
        "operator-missing",
        "Didn't find op for builtin opcode '...'",
        r"Didn't find op for builtin opcode '(\w+)'|Failed to get registration from op code",
        cause="the model uses an operator that ESPHome does not register: it was not exported as a streaming model, or "
        "for another engine",
        cure="export the checkpoint again in the streaming form; an openWakeWord model must be trained again",
        command="mww verify MODEL.tflite; mww export --checkpoint FILE --output DIR",
    ),
    _message(
        "operator-version",
        "Didn't find op for builtin opcode '...' version '...'",
        r"Didn't find op for builtin opcode '\w+' version",
        cause="an old TFLite Micro also compares operator versions",
        cure="build with a current ESPHome",
        command=_VERIFY,
        weak=True,
    ),
    _message(
        "schema",
        "Streaming model's schema is not supported",
        r"Streaming model's schema is not supported|model version mismatch|schema version \d+ not equal to supported",
        cause="the file is not a TFLite model of schema version 3: a wrong file, or an incomplete file",
        cure="download or copy the file again, and verify it",
        command=_VERIFY,
    ),
    _message(
        "input-shape",
        "Streaming model tensor input dimensions has improper dimensions.",
        r"tensor input dimensions has improper dimensions|tensor input is not int8",
        cause="the model does not take int8 [1, stride, 40]: it is not a streaming micro wake word, or not quantised",
        cure="export the checkpoint again",
        command="mww verify MODEL.tflite",
    ),
    _message(
        "output-shape",
        "Streaming model tensor output is not uint8.",
        r"tensor output dimension is not 1x1|tensor output is not uint8",
        cause="the model's output is not uint8 [1, 1]: it was converted with another output type",
        cure="export the checkpoint again",
        command="mww verify MODEL.tflite",
    ),
    _message(
        "runtime-model-data",
        "Invalid TFLite model magic number",
        r"Invalid TFLite model magic number|Model data is null or too small|root offset is out of bounds"
        r"|has no valid data",
        cause="a model that was added at run time is not a TFLite file: a web page, or an incomplete download",
        cure="check the address, and verify the file that you download from it",
        command="mww verify MODEL.tflite --runtime-model",
    ),
    _message(
        "runtime-model-id",
        "Wake word model '...' already exists",
        r"Wake word model '.*' already exists",
        cause="a model at run time has the id of another model on this device",
        cure="give it another id",
        command="mww verify MANIFEST.json --runtime-model",
    ),
    # --- running
    _message(
        "inference-error",
        "Encountered an error while performing an inference",
        r"Encountered an error while performing an inference|Streaming interpreter invoke failed",
        cause="a model failed to load or to run, which ends the inference task for all models",
        cure="read the lines before it; verify every enabled model",
        command=_VERIFY,
        weak=True,
    ),
    _message(
        "load-failed",
        "Failed to initialize a wake word model.",
        r"Failed to initialize a wake word model|Failed to load the wake word model|component is marked as failed",
        cause="a model failed to load",
        cure="read the lines before it; verify the model and its arena",
        command=f"{_VERIFY}; {_ARENA}",
        weak=True,
    ),
    _message(
        "buffers",
        "Encountered an error allocating buffers",
        r"Encountered an error allocating buffers|load the wake word model\(s\) or allocate buffers",
        cause="no memory was left for the audio buffers",
        cure="use a board with PSRAM, or fewer components",
        command="mww budget A.json --chip CHIP",
        weak=True,
    ),
    _message(
        "too-slow",
        "Not enough free bytes in ring buffer to store incoming audio data",
        r"Not enough free bytes in ring buffer to store incoming audio data",
        cause="the models need more time than the sound lasts, so sound is lost: too many models, a slow chip, or "
        "libraries that run convolutions in reference code",
        cure="use fewer models or a faster chip, and check the library versions",
        command="mww budget A.json B.json --chip CHIP; mww matrix A.json",
    ),
    _message(
        "crash-probe",
        "Guru Meditation Error ... LoadProhibited, in FreeSubgraphs or AllocateTensors",
        r"FreeSubgraphs|probe_arena_size_|MicroInterpreter::~?\w*AllocateTensors",
        cause="TFLite Micro crashed in the first attempt, because the arena is too small: some sizes fail without a "
        "crash, others crash, and the device restarts again and again",
        cure="set tensor_arena_size so that the first attempt succeeds",
        command="mww arena MANIFEST.json; mww manifest MANIFEST.json --in-place",
    ),
    _message(
        "crash",
        "Guru Meditation Error: Core ... panic'ed (LoadProhibited)",
        r"Guru Meditation Error|LoadProhibited|StoreProhibited|IllegalInstruction|Stack protection fault|panic'ed",
        cause="the firmware crashed; with a wake word, the most frequent cause is a tensor arena that is too small",
        cure="check the arena first; then decode the backtrace (esphome logs does)",
        command=_ARENA,
        weak=True,
    ),
    _message(
        "watchdog",
        "Task watchdog got triggered",
        r"Task watchdog got triggered|task_wdt:|rst:0x[0-9a-f]+ \(.*WDT",
        cause="a task blocked the other tasks for seconds: an inference that is far too slow, or repeated crashes",
        cure="measure the inference time, and look for an earlier message",
        command="mww run MANIFEST.json --wav CLIP.wav --target PORT",
        weak=True,
    ),
    _message(
        "no-partition",
        "E (...) esp_image: image at ... has invalid magic byte",
        r"has invalid magic byte|No bootable app partitions|invalid header: 0x",
        cause="the flash does not contain this firmware: a wrong offset, another chip's image, or an erased flash",
        cure="flash the factory image at offset 0",
        command="mww flash --port PORT --firmware FACTORY.bin",
    ),
    _message(
        "psram",
        "PSRAM ID read error",
        r"PSRAM ID read error|PSRAM (chip )?not found|quad_psram|Failed to init external RAM",
        cause="the board has no PSRAM, or its type (quad or octal) is not the type in the YAML",
        cure="set `psram: mode:` to the type of the module, or remove `psram:`",
        command="mww budget A.json --no-psram",
    ),
)
"""The messages that explain most come first; `weak` messages only accompany others."""


def explain(lines: Iterable[str]) -> tuple[Explained, ...]:
    """The messages in a log, each at its first line; weak messages only if no other message is in it."""
    seen: dict[str, Explained] = {}
    for number, line in enumerate(lines, start=1):
        for message in _matching(line):
            seen.setdefault(message.id, Explained(message, number, line.strip()))
    strong = [entry for entry in seen.values() if not entry.message.weak]
    return tuple(sorted(strong or seen.values(), key=lambda entry: entry.line))


def _matching(line: str) -> Iterator[LogMessage]:
    if len(line) <= _LONGEST:
        yield from (message for message in MESSAGES if message.pattern.search(line))


_LONGEST: Final = 4000
"""Characters of a line; a longer line is data, not a message."""
