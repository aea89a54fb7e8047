"""A file of another kind is named, wherever it is given."""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.cli import execute, mww
from mww.core import file_kinds
from mww.core.file_kinds import FileKind, kind_of, recognise
from mww.core.resources import published_models

MODEL = published_models() / "alexa.tflite"


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return stream.getvalue()


def arrays() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        file.addfile(tarfile.TarInfo("model.tflite"))
    return stream.getvalue()


CONTENT = MODEL.read_bytes()
KINDS = {
    "HTML": b"\n<!DOCTYPE html>\n<html lang=en><title>a page</title>",
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 60264\n",
    "404 text": b"404: Not Found",
    "ONNX": b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(40),
    "PyTorch": archive(archive__data_dot_pkl=b"\x80\x02.", archive__version=b"3"),
    "pickle": pickle.dumps({"a": 1}),
    "safetensors": len(b'{"a":{"dtype":"F32"}}').to_bytes(8, "little") + b'{"a":{"dtype":"F32"}}',
    "Keras archive": archive(config_dot_json=b"{}", model_dot_weights_dot_h5=b"\x89HDF"),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "NumPy archive": arrays(),
    "zip": archive(model_dot_tflite=CONTENT),
    "gzip": gzip.compress(CONTENT),
    "tar": tar(),
    "base64 text of a model": base64.encodebytes(CONTENT),
    "C array": b"const unsigned char model[] = {\n  0x1c, 0x00, 0x00, 0x00, 0x54, 0x46, 0x4c, 0x33,\n};",
    "TFLite model": CONTENT,
    "JSON": b'{"type": "micro"}',
    "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
    "picture": b"\x89PNG\r\n\x1a\n",
    "ESP firmware image": b"\xe9\x05\x02\x3f" + bytes(40),
    "empty file": b"",
    "text": b"see the release page\n",
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_recognised_by_its_content(name: str, tmp_path: Path) -> None:
    (path := tmp_path / "file").write_bytes(KINDS[name])
    kind = kind_of(path)
    assert kind is not None
    assert kind.name == name
    assert recognise(KINDS[name]) == kind


def test_a_saved_model_is_recognised_as_a_folder(tmp_path: Path) -> None:
    assert kind_of(tmp_path) is None
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12")
    assert kind_of(tmp_path) is file_kinds.SAVED_MODEL


def test_every_kind_has_a_way_on_for_every_purpose() -> None:
    kinds = [value for value in vars(file_kinds).values() if isinstance(value, FileKind)]
    assert len(kinds) >= len(KINDS)
    for kind in kinds:
        for purpose in ("model", "checkpoint", "manifest", "features"):
            assert kind.way_on(purpose)


def test_random_bytes_are_no_known_kind() -> None:
    rng = np.random.default_rng(5)
    named = [recognise(b"\xff" + rng.bytes(100)) for _ in range(200)]
    assert named == [None] * 200


@pytest.mark.parametrize("name", [name for name in KINDS if name != "TFLite model"])
def test_verify_names_the_kind_and_nothing_else(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path := tmp_path / "word.tflite").write_bytes(KINDS[name])
    assert execute(mww, ["verify", str(path), "--json"]) == 1
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert (check["id"], check["status"]) == ("kind", "fail")
    assert name in check["message"]
    assert check["hint"]


def test_a_wrong_file_is_named_as_model_checkpoint_manifest_and_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (page := tmp_path / "word.json").write_bytes(KINDS["HTML"])
    (onnx := tmp_path / "word.onnx").write_bytes(KINDS["ONNX"])
    out = ["--output", str(tmp_path / "out")]
    asked = (
        (["arena", str(onnx)], "ONNX"),
        (["analyze", str(page)], "HTML"),
        (["export", "--checkpoint", str(onnx), *out], "ONNX"),
        (["export", "--checkpoint", str(MODEL), *out], "TFLite model"),
        (["export", "--checkpoint", str(onnx), "--calibration", str(page), *out], "ONNX"),
    )
    for words, name in asked:
        assert execute(mww, [*words, "--json"]) == 2
        error = json.loads(capsys.readouterr().out)["error"]
        assert name in error["message"], words
        assert error["hint"], words
