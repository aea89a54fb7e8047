"""Hostile files of the smaller kinds: tables, journals, allowances, firmware images."""

from __future__ import annotations

import json
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.reliability.processes import ROOT, published
from benchmarks.reliability.yaml_bombs import YAML_BOMBS
from mww.core.scratch import scratch_folder

if TYPE_CHECKING:
    from benchmarks.reliability.files import Kind


def tf_checkpoints() -> Kind:
    """The index of a TensorFlow checkpoint, some with right checksums; its data lie beside it, and are whole."""
    from exporter.checkpoint import load_checkpoint

    good = ROOT / "tests" / "exporter" / "checkpoints" / "residual" / "restore" / "ckpt-1.index"

    def read(path: Path) -> None:
        beside = path.with_name(f"{path.stem}.data-00000-of-00001")
        beside.write_bytes(good.with_suffix(".data-00000-of-00001").read_bytes())
        load_checkpoint(path, {})

    content = good.read_bytes()
    long = bytes([0]) + _varint(200_000) + bytes([0]) + b"k" * 200_000
    repeated = long + (_varint(199_999) + bytes([1, 0, 0x78])) * 200_000
    crafted = (b"", content[-48:], content[:-8], content * 2, _index(repeated), _index(bytes(1 << 18)))
    return content, ".index", read, crafted


def _index(block: bytes) -> bytes:
    """An index of one block, whose checksums are right."""
    block += struct.pack("<II", 0, 1)
    table = bytes([0, 1]) + bytes([len(_varint(0) + _varint(len(block)))]) + b"z" + _varint(0) + _varint(len(block))
    table += struct.pack("<II", 0, 1)
    place = len(block) + 5
    footer = (_varint(0) + _varint(0) + _varint(place) + _varint(len(table))).ljust(40, b"\0")
    return _sealed(block) + _sealed(table) + footer + struct.pack("<Q", 0xDB4775248B80FB57)


def _sealed(block: bytes) -> bytes:
    from exporter.checkpoint.tensor_bundle import masked_crc32c

    return block + struct.pack("<BI", 0, masked_crc32c(block + b"\0"))


def _varint(value: int) -> bytes:
    content = bytearray()
    while value >= 0x80:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])


def labels() -> Kind:
    """The CSV of `mww run --labels`."""
    from harness.run.evaluation.labels import read_labels

    good = b"clip,label,end_s\na/1.wav,positive,0.9\n2.wav,negative,\n"
    crafted = (
        b"",
        b"clip,label\n" + b'"' * 500_000,
        b"clip,label\n" + b"," * 500_000,
        b"clip,label\n" + b"x,positive\n" * 200_000,
        b"clip,label\n\x00,positive\n",
        b"clip,label,end_s\na/1.wav,positive,1e999\n",
        b"clip,label,end_s\na/1.wav,positive,nan\n",
        "clip,label\n\x1b[2J\u202e,positive\n".encode(),
        b"\xff\xfe",
    )
    return good, ".csv", lambda path: read_labels(path, ["a/1.wav", "b/2.wav"]), crafted


def ranges() -> Kind:
    """Calibration ranges."""
    from exporter.conversion.recovered_ranges import RANGES_SCHEMA, load_ranges

    def document(limits: str) -> bytes:
        return f'{{"schema": "{RANGES_SCHEMA}", "ranges": {{"input": {limits}}}}}'.encode()

    absurd = ("[0, 1e999]", "[NaN, 1]", "[0, " + "9" * 400 + "]", "[true, 2]", "[1, 0]", "[[0], 1]", "null", "[" * 900)
    return document("[0, 26]"), ".json", load_ranges, tuple(map(document, absurd))


def journal() -> Kind:
    """What `mww run --resume` reads."""
    from harness.check import check_models
    from harness.clips.npz import write_archive
    from harness.clips.sources import open_clips
    from harness.run.journal import Journal
    from harness.run.options import RunOptions
    from harness.run.workbench import Setup
    from harness.targets.registry import TargetOptions
    from mww.esphome.model import load_model

    model = load_model(published() / "okay_nabu.json")
    with scratch_folder("mww-hostile-") as folder:
        features, kept = folder / "features.npz", folder / "unfinished.jsonl"
        write_archive(features, [("a", np.zeros((300, 40), np.int8)), ("b", np.ones((30, 40), np.int8))])
        (result,) = check_models([model], features, RunOptions(unfinished=kept))
        content = kept.read_bytes()
        with ExitStack() as stack:
            clips, _ = open_clips(features, 0.0, stack)
            setup = Setup(model, TargetOptions(), None, None, None, None)
            known = Journal(kept, setup, result.target)
            assert all(known.recall(clip) for clip in clips)

    def read(path: Path) -> None:
        Journal(path, setup, result.target)

    lines = content.splitlines(keepends=True)
    first = json.loads(lines[0])
    absurd = (None, -1, 1 << 70, 1e308, "", "x", "AAAA", [], {}, True)
    crafted = [json.dumps({**first, key: value}).encode() + b"\n" for key in first for value in absurd]
    crafted += [b"[" * 100_000, b"\n" * 100_000, lines[0][:-20], lines[0] * 3, b"null\n1\n[]\n"]
    return content, ".jsonl", read, tuple(crafted)


def allowances() -> Kind:
    """The file of allowances."""
    from harness.run.allowances import read_allowances

    entry = "model: okay_nabu\n  model_sha256: '%s'\n  chip: esp32\n  reason: r\n  by: me\n  date: '2026-01-01'\n" % (
        "0" * 64
    )
    good = f"allowances:\n- {entry}  versions: {{esp-nn: 1.1.2}}\n  max_difference: 1\n  clips: {{a: 3}}\n"
    return good.encode(), ".yaml", read_allowances, YAML_BOMBS


def factory_images() -> Kind:
    """A firmware's factory image."""
    from harness.virtual.chips import find_chip
    from harness.virtual.factory import factory_image
    from mww.images.partition_table import read_factory_image

    def read(path: Path) -> None:
        read_factory_image(path.read_bytes())

    good = factory_image(find_chip("esp32s3"))
    crafted = (b"", b"\xe9" * 0x20000, b"\xff" * 0x20000, good[:0x8000], good[:0x10000], good + bytes(1 << 20))
    return good, ".bin", read, crafted
