"""A journal of a run's finished clips, so that an interrupted run can continue.

It keeps observations, which are judged again. A clip counts as finished only for the same model, target, versions and
golden, and only while its file has not changed.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.clips.clip import AudioClip, Clip, FeatureClip
from harness.clips.input import ClipInput
from harness.clips.remote import RemoteFile
from harness.clips.sound import ClipWarning, Sound
from harness.clips.sources import StoredClip
from harness.run.features import FeatureMismatch, FeatureResult, HeardFeatures
from harness.run.judging import Observed
from harness.run.streaming import Streamed
from harness.run.workbench import Setup
from harness.targets.base import TargetInfo
from mww import __version__
from mww.core.files import appending
from mww.core.readable import Readable, is_there, open_regular, reading
from mww.esphome.contract import FEATURES
from mww.esphome.detection import DeviceDetection

NAME: Final = "unfinished.jsonl"
"""Its name, beside run.json; it is removed once that is written."""

_LONGEST_LINE: Final = 64 * 1024 * 1024  # a day-long clip has 2.9 million outputs
_LARGEST: Final = 1 << 30  # bytes of the file
_ARRAYS: Final = ("outputs", "microseconds", "instructions", "golden", "vad")


class Journal:
    """A line for each clip in a file that only grows."""

    def __init__(self, path: Path, setup: Setup, info: TargetInfo) -> None:
        """Read the finished clips of an earlier run with the same setup; unusable lines are ignored.

        Raises:
            InputError: The file cannot be read.
        """
        self._path = path
        self._run = _digest(_identity(setup, info))
        self._stride = setup.model.stride
        self._whole = True  # whether the file ends with a complete line, and not where an interrupt cut it
        with reading(path, hint="choose a journal file that you may read"):
            self._known = {} if not is_there(path) else self._read()

    def recall(self, clip: Clip) -> Observed | None:
        """The observations of a clip; None where it is not finished."""
        source = _source(clip)
        return None if source is None else self._known.get(_digest([clip.name, clip.lead_in, source]))

    def note(self, clip: Clip, observed: Observed) -> None:
        """Add a finished clip; clips with errors run again.

        Raises:
            OutputError: It cannot be written.
        """
        source, reported = _source(clip), observed.device_detections
        if observed.streamed.error is not None or source is None:
            return
        entry = {
            "run": self._run,
            "clip": _digest([clip.name, clip.lead_in, source]),
            "slices": observed.streamed.slices,
            "frames_sha256": observed.streamed.frames_sha256,
            "input": None if observed.streamed.input is None else asdict(observed.streamed.input),
            "features": _feature_entry(observed.features),
            "device_inferences": observed.device_inferences,
            "device_detections": None if reported is None else [asdict(detection) for detection in reported],
            **{name: _encode(getattr(observed, name)) for name in _ARRAYS},
        }
        with appending(self._path) as file:
            line = f"{json.dumps(entry)}\n".encode()
            file.write(line if self._whole else b"\n" + line)
            self._whole = True

    def _read(self) -> dict[str, Observed]:
        known = {}
        with open_regular(self._path) as file:
            if file.seek(0, os.SEEK_END) > _LARGEST:
                raise OSError(errno.EFBIG, f"it is larger than {_LARGEST >> 20} MB")
            file.seek(0)
            while line := file.readline(_LONGEST_LINE):
                self._whole = line.endswith(b"\n")
                try:
                    entry: Any = json.loads(line)
                    if entry["run"] == self._run:
                        known[str(entry["clip"])] = _observed(entry, self._stride)
                except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                    continue  # the line that an interrupt cut
        return known


def _observed(entry: dict[str, Any], stride: int) -> Observed:
    outputs = _decode(entry["outputs"], np.uint8)
    microseconds = _decode(entry["microseconds"], np.uint32)
    instructions = _decode(entry["instructions"], np.uint32)
    counted = entry["device_inferences"]
    golden = _decode(entry["golden"], np.uint8)
    slices, reported = int(entry["slices"]), entry["device_detections"]
    if outputs is None or microseconds is None or len(microseconds) not in (0, len(outputs)):
        raise ValueError("no outputs")
    if instructions is None or len(instructions) not in (0, len(outputs)):
        raise ValueError("not as many counts as outputs")
    heard = _features(entry["features"])
    right = heard is None or not heard.result.mismatches  # a front-end with another step gives another number of slices
    if right and len(outputs) != slices // stride:
        raise ValueError("not as many outputs as frames")
    if right and golden is not None and len(golden) != len(outputs):
        raise ValueError("not as many outputs as frames")
    return Observed(
        streamed=Streamed(slices, str(entry["frames_sha256"]), None, _input(entry["input"])),
        outputs=outputs,
        microseconds=microseconds,
        instructions=instructions,
        device_inferences=None if counted is None else int(counted),
        device_detections=None if reported is None else tuple(_device_detection(item) for item in reported),
        golden=golden,
        vad=_decode(entry["vad"], np.uint8),
        features=heard,
    )


def _feature_entry(features: HeardFeatures | None) -> dict[str, Any] | None:
    if features is None:
        return None
    return {"result": asdict(features.result), "slices": _encode(features.slices)}


def _features(entry: Any) -> HeardFeatures | None:
    if entry is None:
        return None
    result, first = entry["result"], entry["result"]["first_mismatch"]
    mismatch = None
    if first is not None:
        mismatch = FeatureMismatch(int(first["slice"]), _numbers(first["expected"]), _numbers(first["found"]))
    slices = _decode(entry["slices"], np.int8).reshape(-1, FEATURES)
    return HeardFeatures(FeatureResult(str(result["sha256"]), int(result["mismatches"]), mismatch), slices)


def _numbers(features: Any) -> tuple[int, ...] | None:
    return None if features is None else tuple(map(int, features))


def _input(entry: Any) -> ClipInput | None:
    if entry is None:
        return None
    sound = None if entry["sound"] is None else Sound(**entry["sound"])
    return ClipInput(entry["source"], sound, tuple(ClipWarning(**warning) for warning in entry["warnings"]))


def _device_detection(entry: Any) -> DeviceDetection:
    return DeviceDetection(*(int(entry[key]) for key in ("inference", "slices", "average", "maximum")))


def _identity(setup: Setup, info: TargetInfo) -> list[object]:
    golden = setup.recorded.path if setup.recorded else None
    return [
        __version__,
        setup.model.sha256,
        [info.kind, info.chip, info.engine, *info.versions],
        None if golden is None else _file(golden),
        setup.golden_engine,
        setup.from_audio,
        None if setup.vad is None else setup.vad.sha256,
    ]


def _source(clip: Clip) -> list[object] | None:
    """The origin of a clip, in a form that shows changes; None for arrays, which have no origin."""
    if isinstance(clip, AudioClip):
        return _file(clip.path)
    if isinstance(clip, StoredClip):
        return [*_file(clip.folder.path / "data.ninja"), clip.index]
    if isinstance(clip, FeatureClip):
        return [*_file(clip.archive.path), clip.member]
    return None


def _file(file: Readable) -> list[object]:
    if isinstance(file, RemoteFile):
        return [str(file), file.size, file.stamp]
    path = Path(str(file)).absolute()
    try:
        status = path.stat()
    except OSError:
        return [str(path), None, None]
    return [str(path), status.st_size, status.st_mtime_ns]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _encode(array: npt.NDArray[np.generic] | None) -> str | None:
    return None if array is None else base64.b64encode(array.tobytes()).decode()


def _decode(text: str | None, dtype: Any) -> Any:
    return None if text is None else np.frombuffer(base64.b64decode(text, validate=True), dtype)
