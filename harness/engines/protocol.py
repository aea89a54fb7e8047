"""The protocol between an engine's process and its parent: fixed-size messages on a socket, data in shared memory.

A request is an operation and a number; the answer a status and two numbers. Frames, outputs, models and the text of
errors lie in the shared memory, so that a batch of any size costs the same two small messages.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from mww.tflite.schema import MAX_FILE_SIZE

REQUEST: Final = struct.Struct("<II")
"""Operation, number."""
ANSWER: Final = struct.Struct("<III")
"""Status, two numbers."""
PROGRESS: Final = struct.Struct("<I")
"""At the start of the shared memory: frames of this request that are finished."""

INPUT_OFFSET: Final = 64
INPUT_SIZE: Final = MAX_FILE_SIZE
"""Models and batches of frames go in here; error texts come out."""
OUTPUT_OFFSET: Final = INPUT_OFFSET + INPUT_SIZE
OUTPUT_SIZE: Final = 1024 * 1024
MEMORY_SIZE: Final = OUTPUT_OFFSET + OUTPUT_SIZE

BATCH: Final = 1024
"""Frames a request at most: some 30 ms of work, so that an interrupt is never far."""


class Operation(IntEnum):
    """What a parent asks for."""

    LOAD = 1
    """Make an interpreter of the model of `number` bytes; the answer's numbers are the bytes of a frame and output."""
    RESET = 2
    """Make a new interpreter of the same model."""
    INFER = 3
    """Run `number` frames; the answer's first number is how many inferences there were since LOAD or RESET."""


class Status(IntEnum):
    """How an answer begins."""

    DONE = 0
    FAILED = 1
    """The first number is the length of the text that says why."""
