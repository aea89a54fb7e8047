"""Hostile files of every kind that is read, through the functions that read them.

Each must be read, or refused by one `MwwError`, within its time and memory. Anything else is counted as lost.
"""

from __future__ import annotations

import io
import itertools
import json
import random
import signal
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability import more_files
from benchmarks.reliability.mutation import mutated
from benchmarks.reliability.yaml_bombs import YAML_BOMBS
from benchmarks.reliability.zip_bombs import Repeated, zip_with
from mww.core.errors import MwwError

SECONDS = 30
"""For one file; the slowest reader takes well under one."""

Reader = Callable[[Path], object]


def try_files(kind: str, count: int, seed: int) -> Iterator[str | None]:
    """Give `count` hostile files of a kind to its reader; yields None, or what was lost."""
    good, suffix, reader, crafted = KINDS[kind]()
    chance = random.Random(f"{kind} {seed}")
    signal.signal(signal.SIGALRM, _too_slow)
    with tempfile.TemporaryDirectory(prefix="mww-hostile-") as scratch:
        path = Path(scratch) / f"hostile{suffix}"
        for number in range(count):
            content = crafted[number] if number < len(crafted) else mutated(good, chance)
            path.write_bytes(content)
            yield _outcome(reader, path)


def _outcome(reader: Reader, path: Path) -> str | None:
    signal.alarm(SECONDS)
    try:
        reader(path)
    except MwwError as error:
        return None if error.message else "an error without a message"
    except _TooSlow:
        return f"not done after {SECONDS} s"
    except Exception as error:  # noqa: BLE001 -- what is looked for
        import traceback

        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:100]} ({Path(place.filename).name}:{place.lineno})"
    finally:
        signal.alarm(0)
    return None


class _TooSlow(BaseException):
    """No reader takes it for a fault of its file."""


def _too_slow(signum: int, frame: object) -> None:
    raise _TooSlow


Kind = tuple[bytes, str, Reader, tuple[bytes, ...]]


def _models() -> Path:
    import pymicro_wakeword

    return Path(pymicro_wakeword.__file__).parent / "models"


def _npz(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _npy(array: object, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), **options)
    return stream.getvalue()


def _header(shape: str, descr: str = "'|i1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _archives() -> tuple[bytes, ...]:
    clip = _npy(np.zeros((30, 40), np.int8))
    return (
        _npz({"a.npy": _npy(np.array([print, 1], object), allow_pickle=True)}),
        zip_with({"a.npy": Repeated(b"\0", 300)}),  # 300 MB of zeros in 300 kB
        zip_with({"a.npy": Repeated(b"\0", 400, before=_header("(30, 40)"))}),
        _npz({"a.npy": _header("(10000000000, 40)") + bytes(100)}),
        _npz({"a.npy": _header("(-1, 40)")}),
        _npz({"a.npy": _header("(" * 5000)}),
        _npz({"a.npy": _header("(30, 40)", "[" * 500)}),
        _npz({"a.npy": _header("(30, 40)", "'|O'") + bytes(9600)}),
        _npz({"a.npy": _header("(30, 40)", "'<U999999999'")}),
        _npz({"../../a.npy": clip, "\x1b[31m<b>.npy": clip}),
        _npz({"features/a.npy": clip, "golden.json": b'{"schema": "mww.golden/1", "stride": 1e999}'}),
        _npz({"features/a.npy": clip, "golden.json": b"[" * 200_000}),
        _npz({f"{number}.npy": clip for number in range(2000)}),
        _npz({"a.npy": _npy(np.full((30, 40), np.nan))}),
        _npz({"a.npy": _npy(np.zeros((30, 40), np.complex128)), "b.npy": _npy(np.zeros((0, 40), np.uint16))}),
        _npz({"a.npy": clip}, zipfile.ZIP_LZMA).replace(b"\x5d\0\0\x80", b"\x5d\xff\xff\xff"),
        _npz({"a.npy": clip}, zipfile.ZIP_BZIP2).replace(b"BZh9", b"BZh0"),
        b"PK\x05\x06" + bytes(18),
        b"",
    )


def _features() -> Kind:
    from harness.clips.sources import open_clips

    def read(path: Path) -> None:
        with ExitStack() as stack:
            clips, golden = open_clips(path, 0.0, stack)
            for clip in clips:
                for _ in clip.blocks():
                    pass
                if golden is not None:
                    golden.outputs(clip.name)

    provenance = {"schema": "mww.golden/1", "model": "m", "model_sha256": "0", "stride": 3, "engine": "tflm"}
    document = json.dumps({**provenance, "versions": {}, "lead_in": 0.0}).encode()
    slices = np.random.default_rng(1).integers(-128, 127, (300, 40), np.int8)
    members = {"golden.json": document, "features/a.npy": _npy(slices), "outputs/a.npy": _npy(np.zeros(100, np.uint8))}
    return _npz(members), ".npz", read, _archives()


def _calibration() -> Kind:
    from exporter.calibration.feature_sets import load_clips

    slices = np.random.default_rng(1).integers(0, 600, (300, 40), np.uint16)
    return _npz({"features.npy": _npy(slices)}), ".npz", load_clips, _archives()


def _wav() -> Kind:
    from mww.core.resources import fixtures_dir
    from mww.esphome.frontend import wav_to_features

    good = min((fixtures_dir() / "clips").rglob("*.wav"), key=lambda path: path.stat().st_size).read_bytes()

    def chunked(fmt: bytes, data: bytes, length: int | None = None) -> bytes:
        head = b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + b"fmt " + struct.pack("<I", len(fmt)) + fmt
        return head + b"data" + struct.pack("<I", len(data) if length is None else length) + data

    pcm = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    crafted = (
        b"",
        chunked(pcm, b"", 0xFFFFFFFF),
        chunked(pcm, bytes(7)),
        chunked(struct.pack("<HHIIHH", 1, 0, 0, 0, 0, 0), bytes(100)),
        chunked(b"", bytes(100)),
        chunked(pcm, b""),
        chunked(struct.pack("<HHIIHH", 3, 1, 16000, 64000, 4, 32), bytes(400)),
        chunked(struct.pack("<HHIIHH", 1, 1, 16000, 48000, 3, 24), bytes(300)),
        chunked(struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16000, 32000, 2, 16, 22, 16, 4) + bytes(16), bytes(100)),
        chunked(pcm, bytes(100)).replace(b"RIFF", b"RF64"),
        chunked(pcm, bytes(100)).replace(b"RIFF", b"RIFX"),
        b"RIFF\x00\x00\x00\x00WAVE" + b"junk\x00\x00\x00\x00" * 100_000,
    )
    return good, ".wav", wav_to_features, crafted


def _tflite() -> Kind:
    from exporter.model_analyzer import analyze_model_architecture
    from mww.esphome.model import load_model
    from mww.tflm.arena import predict_arena
    from mww.verification import verify_esphome_compatibility

    def read(path: Path) -> None:
        for reader in (load_model, verify_esphome_compatibility, predict_arena, analyze_model_architecture):
            try:
                reader(path)
            except MwwError:
                continue

    return (_models() / "okay_nabu.tflite").read_bytes(), ".tflite", read, (b"", b"TFL3" * 10, bytes(8))


def _manifest() -> Kind:
    from mww.esphome.model import load_model
    from mww.verification import verify_esphome_compatibility

    good = json.loads((_models() / "okay_nabu.json").read_bytes())

    def read(path: Path) -> None:
        with suppress(MwwError):
            verify_esphome_compatibility(path)
        load_model(path)

    def changed(**values: object) -> bytes:
        micro = {**good["micro"], **{key: value for key, value in values.items() if key in good["micro"]}}
        return json.dumps({**good, "micro": micro, **{k: v for k, v in values.items() if k not in micro}}).encode()

    absurd = (-1, 0, 1 << 70, 1e308, float("nan"), True, None, [], {}, "", "\x1b[2J", "../" * 500)
    crafted = [changed(**{key: value}) for key in good["micro"] for value in absurd]
    crafted += [
        changed(model=name) for name in ("/etc/passwd", "../../../etc/passwd", "http://x/y", "a\0b", "a" * 5000)
    ]
    crafted += [b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b'{"version": 2, "version": 2}', b"1" * 10_000]
    return json.dumps(good).encode(), ".json", read, tuple(crafted)


def _configuration() -> Kind:
    from exporter.network.configuration import load_configuration
    from exporter.network.settings import trainer_configuration
    from exporter.network.streaming_graph import read_streaming_graph
    from mww.tflite.model_file import read_model

    graph = read_streaming_graph(read_model(_models() / "okay_nabu.tflite"))
    return trainer_configuration(graph.architecture).encode(), ".yaml", load_configuration, YAML_BOMBS


def _inventory() -> Kind:
    from harness.boards.inventory import load_inventory

    good = "boards:\n- {id: kitchen, chip: esp32s3, serial: 'AA:BB', baud: 115200}\n- {id: b, port: /dev/ttyUSB0}\n"
    return good.encode(), ".yaml", load_inventory, YAML_BOMBS


def _checkpoint(path: Path) -> None:
    from exporter.checkpoint import load_checkpoint

    load_checkpoint(path, {})


def _recovered() -> bytes:
    from exporter.checkpoint import weights_file
    from exporter.recover import recover
    from mww.tflite.model_file import read_model

    recovered = recover(read_model(_models() / "okay_nabu.tflite"))
    return weights_file(recovered.architecture, recovered.weights)


def _virtual(h5py: Any) -> object:
    """A dataset that lies in another file."""
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "a", (10,))
    return layout


def _braid(file: Any) -> None:
    """Fourteen groups in a row, each in the one before under ten names."""
    groups = [file, *(file.create_group(f"group{number}") for number in range(14))]
    for outer, inner in itertools.pairwise(groups):
        for number in range(10):
            outer[f"strand{number}"] = inner


def _hdf5() -> Kind:
    import h5py

    crafted = []
    for make in (
        lambda file: file.create_dataset("a", (1 << 40,), "f4", chunks=(1 << 20,)),
        lambda file: file.create_dataset("a", data=np.zeros(10, "f4")) and file.__setitem__("b", h5py.SoftLink("/b")),
        lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/")),
        lambda file: file.__setitem__("loop", file["/"]),
        lambda file: [file.__setitem__(f"loop{number}", file["/"]) for number in range(10)],
        lambda file: file.create_virtual_dataset("a", _virtual(h5py)),
        _braid,
        lambda file: file.create_group("/".join("g" * 3000)),
        lambda file: [file.create_group(f"g{number}") for number in range(6_000)],
        lambda file: file.create_dataset(
            "layers/dense/vars/0", data=np.array(["x"], object), dtype=h5py.string_dtype()
        ),
    ):
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            make(file)
        crafted.append(stream.getvalue())
    return _recovered(), ".weights.h5", _checkpoint, (b"", b"\x89HDF\r\n\x1a\n", *crafted)


def _keras() -> Kind:
    config = json.dumps({"class_name": "Functional", "config": {"layers": []}}).encode()
    good = _npz({"config.json": config, "metadata.json": b"{}", "model.weights.h5": _recovered()})
    crafted = (
        _npz({}),
        _npz({"config.json": b"[" * 200_000, "model.weights.h5": b""}),
        zip_with({"config.json": b"{}", "model.weights.h5": Repeated(b"\0", 600)}),
        zip_with({"config.json": Repeated(b" ", 600), "model.weights.h5": b""}),
        _npz({"config.json": b'{"config": {"layers": 3}}', "model.weights.h5": _recovered()}),
        _npz({"config.json": b'{"config": {"layers": [{"class_name": "Lambda"}]}}', "model.weights.h5": b"x"}),
        _npz({"../config.json": config, "model.weights.h5": b"x"}),
    )
    return good, ".keras", _checkpoint, crafted


def _run_json() -> Kind:
    from harness.check import check
    from harness.report.comparison import compare_runs
    from harness.report.run_document import read_runs, run_document

    result = check(_models() / "okay_nabu.json", {"a": np.zeros((300, 40), np.int8)}, engine="litert")
    good = json.dumps(run_document([result]))
    runs: list[object] = []

    def read(path: Path) -> None:
        results = read_runs(path)
        compare_runs(results, results)
        runs.append(results)
        runs.clear()

    document = json.loads(good)
    absurd = (None, -1, 1 << 70, 1e308, "", "<script>\x1b[2J", [], {}, [[]], [None], True)
    crafted = [json.dumps({**document, key: value}).encode() for key in document for value in absurd]
    clip = document["clips"][0]
    crafted += [json.dumps({**document, "clips": [{**clip, key: v}]}).encode() for key in clip for v in absurd]
    crafted += [b"[" * 200_000, b'{"schema":"mww.run/1","x":' + b"[" * 100_000, b"1" * 100_000]
    return good.encode(), ".json", read, tuple(crafted)


KINDS: Mapping[str, Callable[[], Kind]] = {
    "features and goldens (.npz)": _features,
    "calibration (.npz)": _calibration,
    "audio (.wav)": _wav,
    "models (.tflite)": _tflite,
    "manifests (.json)": _manifest,
    "configurations (YAML)": _configuration,
    "inventories (YAML)": _inventory,
    "checkpoints (.weights.h5)": _hdf5,
    "checkpoints (.keras)": _keras,
    "checkpoints (TF .index)": more_files.tf_checkpoints,
    "runs to compare (run.json)": _run_json,
    "labels (.csv)": more_files.labels,
    "calibration ranges (.json)": more_files.ranges,
    "unfinished runs (.jsonl)": more_files.journal,
    "allowances (YAML)": more_files.allowances,
    "firmware (factory.bin)": more_files.factory_images,
}
