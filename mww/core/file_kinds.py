"""Recognises files of a wrong kind by their first bytes: a web page, an archive, a checkpoint.

Users give files from downloads and other tools. The kind and the next step help where a parser's error does not.
Nothing is unpacked, unpickled or run; at most `HEAD` bytes and the list of an archive's members are read.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from mww.core.readable import is_file, is_folder, open_regular

Purpose = Literal["model", "checkpoint", "manifest", "features"]
"""The purpose of the file; the advice depends on it."""

HEAD: Final = 4096
"""Bytes that suffice to recognise a file."""

_MEMBERS: Final = 2000
"""The most members of an archive that are examined."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file.

    Attributes:
        name: Its name, such as `ONNX` or `Git LFS pointer`.
        advice: What to do with it for any purpose.
        for_purpose: What to do with it where that depends on the purpose.
    """

    name: str
    advice: str
    for_purpose: tuple[tuple[Purpose, str], ...] = ()

    def way_on(self, purpose: Purpose) -> str:
        """What to do with a file of this kind for a purpose."""
        return dict(self.for_purpose).get(purpose, self.advice)


_EXPORT: Final = "mww export --checkpoint FILE makes a model from it"
_UNPACK: Final = "unpack it and give the file inside"
_ANEW: Final = "a wake word of another framework must be trained again for microWakeWord"
_WEIGHTS: Final = "give the official trainer's best_weights.weights.h5, a .keras file or a ckpt-N"

HTML: Final = FileKind("HTML", "it is a saved web page: download the file itself (GitHub: Raw; Hugging Face: resolve/)")
LFS: Final = FileKind("Git LFS pointer", "it only names the file: run git lfs pull, or download the file itself")
NOT_FOUND: Final = FileKind("404 text", "the download failed: check the address and download it again")
ONNX: Final = FileKind(
    "ONNX", f"ESPHome runs TFLite models only; {_ANEW}", (("checkpoint", f"{_WEIGHTS}; ONNX holds no trained layers"),)
)
PYTORCH: Final = FileKind("PyTorch", f"ESPHome runs TFLite models only; {_ANEW}", (("checkpoint", _WEIGHTS),))
PICKLE: Final = FileKind("pickle", "a pickle can run code and is never opened", (("checkpoint", _WEIGHTS),))
SAFETENSORS: Final = FileKind("safetensors", f"ESPHome runs TFLite models only; {_ANEW}", (("checkpoint", _WEIGHTS),))
SAVED_MODEL: Final = FileKind(
    "TensorFlow SavedModel", "give the .tflite that was converted from it", (("checkpoint", _WEIGHTS),)
)
KERAS: Final = FileKind("Keras archive", _EXPORT)
HDF5: Final = FileKind("HDF5", f"{_EXPORT} if it holds Keras weights")
NPZ: Final = FileKind(
    "NumPy archive",
    "give it with --features or --calibration if it holds features",
    (("checkpoint", f"{_WEIGHTS}; weights of MLX or numpy are not read"),),
)
ZIP: Final = FileKind("zip", _UNPACK)
GZIP: Final = FileKind("gzip", _UNPACK)
TAR: Final = FileKind("tar", _UNPACK)
COMPRESSED: Final = FileKind("compressed file", _UNPACK)
BASE64: Final = FileKind("base64 text of a model", "decode it: base64 -d FILE > model.tflite")
C_ARRAY: Final = FileKind("C array", "give the .tflite that it was made from, or turn it back: xxd -r -p")
TFLITE: Final = FileKind(
    "TFLite model",
    "give it where a model is asked for",
    (
        ("checkpoint", "mww recover FILE.tflite --output FILE.weights.h5 reads a checkpoint back from a wake word"),
        ("manifest", "give the model itself: mww manifest FILE.tflite makes a manifest for it"),
    ),
)
MANIFEST: Final = FileKind("JSON", "a manifest's name must end in .json", (("checkpoint", _WEIGHTS),))
WAV: Final = FileKind("WAV", "give it with --wav", (("features", "give the folder of WAV files, or use --wav"),))
IMAGE: Final = FileKind("picture", "give the file itself, not a picture of it")
FIRMWARE: Final = FileKind("ESP firmware image", "mww flash --firmware writes it; a model is the .tflite beside it")
EMPTY: Final = FileKind("empty file", "the download or copy failed: get it again")
TEXT: Final = FileKind("text", "give the file itself, not a text about it")

_START: Final[tuple[tuple[bytes, int, FileKind], ...]] = (
    (b"TFL3", 4, TFLITE),
    (b"\x89HDF\r\n\x1a\n", 0, HDF5),
    (b"\x1f\x8b", 0, GZIP),
    (b"BZh", 0, COMPRESSED),
    (b"\xfd7zXZ\0", 0, COMPRESSED),
    (b"7z\xbc\xaf\x27\x1c", 0, COMPRESSED),
    (b"\x28\xb5\x2f\xfd", 0, COMPRESSED),
    (b"ustar", 257, TAR),
    (b"RIFF", 0, WAV),
    (b"\x89PNG", 0, IMAGE),
    (b"\xff\xd8\xff", 0, IMAGE),
    (b"version https://git-lfs", 0, LFS),
)
_AFTER_IR_VERSION: Final = (b"\x12", b"\x1a", b"\x22", b"\x28", b"\x3a", b"\x42")
"""The fields after the ir_version at the start of an onnx.proto ModelProto: producer, domain, opset or graph."""
_TORCH_MAGIC: Final = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The first item of torch.save's old format, a pickled number."""

_NOT_FOUND: Final = re.compile(
    rb"\s*(404\b|not found\b|entry not found|repository not found|access ?denied)", re.IGNORECASE
)
_HTML: Final = re.compile(rb"\s*(<!--.{0,500}?-->\s*)?<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_C_ARRAY: Final = re.compile(rb"0x[0-9a-f]{2}\s*,\s*0x[0-9a-f]{2}\s*,\s*0x[0-9a-f]{2}\s*,", re.IGNORECASE)
_TEXT: Final = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")


def kind_of(path: Path) -> FileKind | None:
    """Recognise a file, or a folder that holds a SavedModel; None where the kind is not known or cannot be read."""
    try:
        if is_folder(path):
            return SAVED_MODEL if is_file(path / "saved_model.pb") else None
        with open_regular(path) as file:
            head = file.read(HEAD)
    except (OSError, ValueError):
        return None
    return recognise(head, lambda: open_regular(path), path.name)


def recognise(head: bytes, opened: Callable[[], BinaryIO] | None = None, name: str = "") -> FileKind | None:
    """Recognise a file by its first bytes.

    Args:
        head: Its first bytes, `HEAD` of them or the whole file.
        opened: Opens the file again where an archive's members must be listed; None: `head` is the whole file.
        name: Its name, where bytes alone do not decide.
    """
    if not head:
        return EMPTY
    if head.startswith(b"PK\x03\x04"):
        return _archive(opened or (lambda: io.BytesIO(head)))
    return _by_magic(head) or _by_framework(head, name) or _by_text(head)


def _by_magic(head: bytes) -> FileKind | None:
    return next((kind for magic, offset, kind in _START if head[offset : offset + len(magic)] == magic), None)


def _by_framework(head: bytes, name: str) -> FileKind | None:
    """Files of other frameworks, and an ESP image, which have no plain magic."""
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return PYTORCH if _TORCH_MAGIC in head[:32] or name.endswith((".pt", ".pth", ".ckpt")) else PICKLE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100 << 20 and b'"dtype"' in head:
        return SAFETENSORS
    if name == "saved_model.pb":
        return SAVED_MODEL
    if head[:1] == b"\x08" and 0 < head[1] < 32 and head[2:3] in _AFTER_IR_VERSION:
        return ONNX
    if head[0] == 0xE9 and 0 < head[1] <= 16 and head[2] < 8:  # its magic, and segments in the number that images have
        return FIRMWARE
    return None


def _archive(opened: Callable[[], BinaryIO]) -> FileKind:
    try:
        with opened() as stream, zipfile.ZipFile(stream) as archive:
            names = archive.namelist()[:_MEMBERS]
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, EOFError):
        return ZIP
    return _archive_of(names)


def _archive_of(names: Iterable[str]) -> FileKind:
    listed = list(names)
    if any(name.endswith("data.pkl") for name in listed):
        return PYTORCH
    if "config.json" in listed and "model.weights.h5" in listed:
        return KERAS
    if listed and all(name.endswith(".npy") for name in listed):
        return NPZ
    return ZIP


def _by_text(head: bytes) -> FileKind | None:
    if not _TEXT.fullmatch(head):
        return None
    if _HTML.match(head):
        return HTML
    if _NOT_FOUND.match(head):
        return NOT_FOUND
    if head.lstrip()[:1] in (b"{", b"["):
        return MANIFEST
    if _C_ARRAY.search(head):
        return C_ARRAY
    return BASE64 if _is_base64_model(head) else TEXT


def _is_base64_model(head: bytes) -> bool:
    text = b"".join(head[:64].split()).removeprefix(b"data:application/octet-stream;base64,")
    try:
        return base64.b64decode(text[:16], validate=True)[4:8] == b"TFL3"
    except (binascii.Error, ValueError):
        return False
