"""Goldens: recorded features with the outputs of the device's runtime, and the origin of both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from harness.clips.clip import FeatureClip, check_clip
from harness.clips.npz import Archive, write_archive
from mww.core.closing import Closing
from mww.core.errors import FeatureError, GoldenError
from mww.core.fields import Fields
from mww.core.readable import Readable
from mww.esphome.contract import MAX_STRIDE
from mww.esphome.frontend import Slices
from mww.esphome.model import Model

if TYPE_CHECKING:
    from typing_extensions import Self

SCHEMA: Final = "mww.golden/1"
_PROVENANCE: Final = "golden.json"
_FEATURES: Final = "features/"
_OUTPUTS: Final = "outputs/"


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a golden.

    Attributes:
        model: The model's name.
        model_sha256: Of the `.tflite`.
        stride: Slices an inference.
        engine: The engine that computed the outputs.
        versions: Names and versions of the packages that affect the outputs.
        lead_in: Seconds of silence in front of each clip; the features contain them.
    """

    model: str
    model_sha256: str
    stride: int
    engine: str
    versions: tuple[tuple[str, str], ...]
    lead_in: float


@dataclass(frozen=True, slots=True)
class RecordedClip:
    """A clip with its outputs: int8 `[slices, 40]`, and uint8 `[inferences]`, one for each whole frame."""

    name: str
    features: Slices
    outputs: npt.NDArray[np.uint8]


def is_golden(archive: Archive) -> bool:
    """Whether an archive records the origin of its outputs."""
    return _PROVENANCE in archive


class Golden(Closing):
    """A golden file opened for reading."""

    def __init__(self, archive: Archive) -> None:
        """Take an open archive, and check that every clip has its outputs.

        Raises:
            GoldenError: It is not a golden of this schema.
        """
        self._archive = archive
        try:
            self.provenance = _read_provenance(archive)
            self.clips = self._checked()
        except FeatureError as error:
            self.close()
            raise _not_golden(error) from error
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: Readable) -> Self:
        """Open a golden's file.

        Raises:
            GoldenError: The file cannot be read, or is not a golden of this schema.
        """
        try:
            archive = Archive(path)
        except FeatureError as error:
            raise _not_golden(error) from error
        return cls(archive)

    def outputs(self, name: str) -> npt.NDArray[np.uint8]:
        """The recorded outputs of a clip, uint8 `[inferences]`.

        Raises:
            GoldenError: They are damaged.
        """
        try:
            return self._archive.array(_OUTPUTS + name).astype(np.uint8, casting="no")
        except FeatureError as error:
            raise GoldenError(error.message, hint=error.hint) from error

    def check_model(self, model: Model) -> None:
        """Refuse a model that is not the recorded model.

        Raises:
            GoldenError: It is another model.
        """
        if self.provenance.model_sha256 != model.sha256:
            message = f"{self.path} was recorded from {self.provenance.model}, sha256 "
            message += f"{self.provenance.model_sha256[:12]}, not from {model.path}, {model.sha256[:12]}"
            raise GoldenError(message, hint="mww record makes a golden of this model")

    @property
    def path(self) -> Readable:
        """The file."""
        return self._archive.path

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _checked(self) -> tuple[FeatureClip, ...]:
        archive = self._archive
        names = [name.removeprefix(_FEATURES) for name in archive.names if name.startswith(_FEATURES)]
        for name in names:
            outputs, features = archive.info(_OUTPUTS + name), archive.info(_FEATURES + name)
            check_clip(f"{archive.path}: {name}", features.dtype, features.shape)
            inferences = features.shape[0] // self.provenance.stride
            if outputs.dtype != np.uint8 or outputs.shape != (inferences,):
                message = f"{archive.path}: {name} has outputs {outputs.dtype} {list(outputs.shape)}"
                raise FeatureError(f"{message} for {inferences} inferences", hint="record it again: mww record")
        if not names:
            raise FeatureError(f"{archive.path} holds no clips", hint="record it again: mww record")
        return tuple(FeatureClip(name, archive, _FEATURES + name, self.provenance.lead_in) for name in names)


def _not_golden(error: FeatureError) -> GoldenError:
    return GoldenError(error.message, hint="mww record makes a golden")


def write_golden(path: Path, provenance: Provenance, clips: Iterable[RecordedClip]) -> None:
    """Write a golden completely or not at all; the same recording gives the same bytes.

    Each clip is written before the next is taken.

    Raises:
        OutputError: It cannot be written.
    """
    document = {"schema": SCHEMA, **asdict(provenance), "versions": dict(provenance.versions)}
    write_archive(path, _arrays(clips), {_PROVENANCE: json.dumps(document, indent=2)})


def _arrays(clips: Iterable[RecordedClip]) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    for clip in clips:
        yield _FEATURES + clip.name, clip.features
        yield _OUTPUTS + clip.name, clip.outputs


def _read_provenance(archive: Archive) -> Provenance:
    if not is_golden(archive):
        raise FeatureError(
            f"{archive.path} is not a golden: it does not record the origin of its outputs",
            hint="mww record makes a golden; give feature files with --features",
        )
    document = Fields.parse(
        archive.text(_PROVENANCE), archive.path, hint="record it again: mww record", error=FeatureError
    )
    document.one_of("schema", (SCHEMA,))
    return Provenance(
        model=document.text("model"),
        model_sha256=document.text("model_sha256"),
        stride=document.whole("stride", 1, MAX_STRIDE),
        engine=document.text("engine"),
        versions=tuple(document.fields("versions").texts().items()),
        lead_in=document.number("lead_in", 0, 1e9),
    )
