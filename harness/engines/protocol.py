"""The protocol between an engine's process and its parent: fixed-size messages on a socket, data in shared memory.

A request is an operation and a number; an answer is a status and two numbers. Frames, outputs, models and the text of
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
"""At the start of the shared memory: the number of finished frames of this request."""

INPUT_OFFSET: Final = 64
INPUT_SIZE: Final = MAX_FILE_SIZE
"""Holds models and batches of frames for the child, and error texts from it."""
OUTPUT_OFFSET: Final = INPUT_OFFSET + INPUT_SIZE
OUTPUT_SIZE: Final = 1024 * 1024
MEMORY_SIZE: Final = OUTPUT_OFFSET + OUTPUT_SIZE

BATCH: Final = 1024
"""The most frames in a request: about 30 ms of work, so that an interrupt takes effect soon."""


class Operation(IntEnum):
    """The operations of a request."""

    LOAD = 1
    """Make an interpreter for the model of `number` bytes; the answer gives the bytes of a frame and of an output."""
    RESET = 2
    """Make a new interpreter of the same model."""
    INFER = 3
    """Run `number` frames; the answer's first number counts the inferences since LOAD or RESET."""


class Status(IntEnum):
    """The status of an answer."""

    DONE = 0
    FAILED = 1
    """Failed; the first number is the length of the error text."""
