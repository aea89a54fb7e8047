"""`firmware/host/include/mww_host.h` for ctypes: the structures and functions of the firmware's host library."""

from __future__ import annotations

import ctypes as c
from functools import cache
from pathlib import Path
from typing import Final

from mww.core.errors import VirtualBoardError

ABI: Final = 2
"""The version of the header that this module follows."""
ERROR_TEXT: Final = 95
"""Bytes that a refusal may say."""


class Identity(c.Structure):
    """`mww_identity`."""

    _fields_ = [
        ("boot_id", c.c_uint32),
        ("clock_mhz", c.c_uint16),
        ("flags", c.c_uint8),
        ("mac", c.c_uint8 * 6),
        *((name, c.c_char_p) for name in ("chip", "revision", "board", "firmware", "engine", "esphome", "idf")),
        *((name, c.c_char_p) for name in ("runtime", "kernels", "reset_reason")),
    ]


class Limits(c.Structure):
    """`mww_limits`."""

    _fields_ = [
        ("max_payload", c.c_uint16),
        ("max_frames", c.c_uint16),
        ("batch", c.c_uint16),
        ("heartbeat_ms", c.c_uint16),
        ("window", c.c_uint8),
        ("models", c.c_uint8),
        ("receive_buffer", c.c_uint32),
    ]


class ModelFacts(c.Structure):
    """`mww_model_facts`."""

    _fields_ = [
        ("stride", c.c_uint8),
        ("outputs", c.c_uint8),
        ("variables", c.c_uint8),
        ("input_zero_point", c.c_int32),
        ("output_zero_point", c.c_int32),
        ("input_scale", c.c_float),
        ("output_scale", c.c_float),
        ("arena_used", c.c_uint32),
        ("arena_size", c.c_uint32),
        ("variable_arena_used", c.c_uint32),
        ("error_detail", c.c_uint32),
        ("error_text", c.c_char * (ERROR_TEXT + 1)),
    ]


class Inference(c.Structure):
    """`mww_inference`."""

    _fields_ = [("microseconds", c.c_uint32), ("output", c.c_uint8)]


class OpTime(c.Structure):
    """`mww_op_time`."""

    _fields_ = [("microseconds", c.c_uint32), ("name", c.c_char * 24)]


_BYTES = c.POINTER(c.c_uint8)

LOAD = c.CFUNCTYPE(c.c_uint16, c.c_void_p, c.c_uint8, _BYTES, c.c_size_t, c.c_uint32, c.c_uint8, c.POINTER(ModelFacts))
UNLOAD = c.CFUNCTYPE(None, c.c_void_p, c.c_uint8)
RESET = c.CFUNCTYPE(c.c_uint16, c.c_void_p, c.c_uint8)
INFER = c.CFUNCTYPE(c.c_uint16, c.c_void_p, c.c_uint8, _BYTES, c.c_size_t, c.c_uint8, c.POINTER(Inference))
OUTPUT = c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_uint8, c.c_uint8, c.POINTER(c.c_size_t))
PROFILE = c.CFUNCTYPE(c.c_uint8, c.c_void_p, c.c_uint8, c.c_uint16, c.POINTER(OpTime))
ERASE = c.CFUNCTYPE(c.c_uint8, c.c_void_p, c.c_uint32, c.c_uint32)
WRITE = c.CFUNCTYPE(c.c_uint8, c.c_void_p, c.c_uint32, _BYTES, c.c_size_t)
TRANSMIT = c.CFUNCTYPE(None, c.c_void_p, _BYTES, c.c_size_t)
MEMORY = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)


class EngineTable(c.Structure):
    """`mww_engine_table`."""

    _fields_ = [
        ("context", c.c_void_p),
        ("load", LOAD),
        ("unload", UNLOAD),
        ("reset", RESET),
        ("infer", INFER),
        ("output", OUTPUT),
        ("profile", PROFILE),
    ]


class PartitionTable(c.Structure):
    """`mww_partition`."""

    _fields_ = [
        ("context", c.c_void_p),
        ("data", c.c_void_p),
        ("size", c.c_uint32),
        ("erase", ERASE),
        ("write", WRITE),
    ]


class Platform(c.Structure):
    """`mww_platform`."""

    _fields_ = [("context", c.c_void_p), ("transmit", TRANSMIT), ("memory", MEMORY)]


class Config(c.Structure):
    """`mww_config`."""

    _fields_ = [
        ("identity", Identity),
        ("limits", Limits),
        ("engine", EngineTable),
        ("partition", PartitionTable),
        ("platform", Platform),
    ]


@cache
def load_library(path: Path) -> c.CDLL:
    """Load the library and declare its functions.

    Raises:
        VirtualBoardError: It cannot be loaded, or follows another version of the header.
    """
    try:
        library = c.CDLL(str(path))
    except OSError as error:
        raise VirtualBoardError(f"cannot load {path}: {error}", hint="delete it, and it is built again") from error
    library.mww_host_abi.restype = c.c_uint32
    library.mww_host_abi.argtypes = []
    if library.mww_host_abi() != ABI:
        raise VirtualBoardError(f"{path} is of another version", hint="delete it, and it is built again")
    library.mww_session_create.restype = c.c_void_p
    library.mww_session_create.argtypes = [c.POINTER(Config)]
    library.mww_session_destroy.restype = None
    library.mww_session_destroy.argtypes = [c.c_void_p]
    library.mww_session_feed.restype = c.c_size_t
    library.mww_session_feed.argtypes = [c.c_void_p, c.c_char_p, c.c_size_t]
    library.mww_session_poll.restype = c.c_uint8
    library.mww_session_poll.argtypes = [c.c_void_p, c.c_uint32]
    library.mww_session_active.restype = c.c_uint8
    library.mww_session_active.argtypes = [c.c_void_p]
    library.mww_session_log.restype = None
    library.mww_session_log.argtypes = [c.c_void_p, c.c_uint8, c.c_char_p]
    return library
