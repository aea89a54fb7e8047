"""A deployed model: the `.tflite`, with the values of its manifest that a run needs.

Models of other wake word engines are recognised by their inputs. `mww.verification` judges whether ESPHome loads it.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mww.core.errors import MwwError, UnsupportedModelError
from mww.core.readable import open_regular
from mww.esphome import contract
from mww.esphome.manifest import is_manifest, load_manifest, refused_by_esphome
from mww.tflite.model_file import ModelFile, Tensor, read_model

_TRAIN: Final = "train the word again for microWakeWord, then mww export; ESPHome cannot run it with any manifest"

_MAX_UNREADABLE = 16 * 1024 * 1024  # bytes of a file to name it by


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """The kind of a model, and what to do with it; `name` is the engine's."""

    name: str
    message: str
    hint: str


def foreign_model(model: ModelFile) -> ForeignModel | None:
    """Recognise a model of another engine; None where it may be a micro wake word."""
    main = model.main
    if len(main.inputs) != 1:
        return None
    tensor = main.tensors[main.inputs[0]]
    shape = tensor.shape
    if tensor.dtype != "FLOAT32":
        return None
    if len(shape) == 3 and shape[2] == 96:  # openwakeword/model.py: 16 embeddings of 96 values
        message = f"an openWakeWord model: it takes {shape[1]} speech embeddings of 96 floats"
        return ForeignModel("openWakeWord", message, f"openWakeWord itself runs it. {_TRAIN}")
    if shape[-3:] == (76, 32, 1):  # openwakeword/utils.py: the embedding model's window of the mel spectrogram
        message = "openWakeWord's embedding model, not a wake word"
        return ForeignModel("openWakeWord", message, f"openWakeWord itself runs it. {_TRAIN}")
    if len(shape) in (1, 2) and shape[-1] >= 400:
        message = f"a model of raw audio: it takes {shape[-1]} floats, not 40 features a slice"
        return ForeignModel("raw audio", message, _TRAIN)
    return None


@dataclass(frozen=True, slots=True)
class Model:
    """A deployed model; cutoff, window, step and arena are the manifest's, or the defaults for a bare `.tflite`.

    Attributes:
        name: The file's name without its suffix.
        path: The manifest, or the bare `.tflite`.
        content: The bytes of the `.tflite`.
        sha256: Hexadecimal, of `content`.
        stride: Slices an inference.
        probability_cutoff: 0..1; the device compares with `cutoff_byte`.
        sliding_window_size: Outputs that detection sums.
        feature_step_size: Milliseconds a slice.
        tensor_arena_size: Bytes, as the manifest gives them; None for a bare `.tflite`.
        from_manifest: Whether `path` is a manifest.
        manifest_problems: What ESPHome refuses in the manifest and no run depends on, in sentences.
        problem: Why it could not be read, of a model that stands for its file in a run of several; else None.
    """

    name: str
    path: Path
    content: bytes = field(repr=False)
    sha256: str
    stride: int
    probability_cutoff: float
    sliding_window_size: int
    feature_step_size: int
    tensor_arena_size: int | None
    from_manifest: bool
    manifest_problems: tuple[str, ...] = ()
    problem: MwwError | None = field(default=None, compare=False)

    @property
    def cutoff_byte(self) -> int:
        """The cutoff as the device holds it."""
        return contract.cutoff_byte(self.probability_cutoff)


def load_model(path: Path | str) -> Model:
    """Read a manifest with its model, or a bare `.tflite`.

    Raises:
        ManifestError: The manifest cannot be read, or breaks a rule of ESPHome's.
        ModelFileError: The `.tflite` cannot be read as a model.
        UnsupportedModelError: Its input is not int8 `[1, stride, 40]`, or its output not uint8 `[1, 1]`.
    """
    path = Path(path)
    manifest = load_manifest(path) if is_manifest(path) else None
    source = manifest.model if manifest else path
    file = read_model(source)
    return Model(
        name=path.stem,
        path=path,
        content=file.content,
        sha256=file.sha256,
        stride=_stride(source, file),
        probability_cutoff=manifest.probability_cutoff if manifest else contract.DEFAULT_PROBABILITY_CUTOFF,
        sliding_window_size=manifest.sliding_window_size if manifest else contract.DEFAULT_SLIDING_WINDOW_SIZE,
        feature_step_size=manifest.feature_step_size if manifest else contract.FEATURE_STEP_MS,
        tensor_arena_size=manifest.tensor_arena_size if manifest else None,
        from_manifest=manifest is not None,
        manifest_problems=refused_by_esphome(manifest) if manifest else (),
    )


def unreadable_model(path: Path, problem: MwwError) -> Model:
    """Stands for a file that `load_model` refused, so that a run can report it beside other models."""
    try:
        with open_regular(path) as file:
            content = file.read(_MAX_UNREADABLE)
    except OSError:
        raise problem from None
    return Model(
        name=path.stem,
        path=path,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        stride=1,
        probability_cutoff=contract.DEFAULT_PROBABILITY_CUTOFF,
        sliding_window_size=contract.DEFAULT_SLIDING_WINDOW_SIZE,
        feature_step_size=contract.FEATURE_STEP_MS,
        tensor_arena_size=None,
        from_manifest=False,
        problem=problem,
    )


def model_of(content: bytes, *, sliding_window_size: int, feature_step_size: int) -> Model:
    """A model that is not in a file yet, with its future manifest's values except cutoff and arena.

    Raises:
        ModelFileError: `content` cannot be read as a model.
        UnsupportedModelError: As for `load_model`.
    """
    path = Path("model.tflite")
    file = read_model(content)
    return Model(
        name=path.stem,
        path=path,
        content=content,
        sha256=file.sha256,
        stride=_stride(path, file),
        probability_cutoff=contract.DEFAULT_PROBABILITY_CUTOFF,
        sliding_window_size=sliding_window_size,
        feature_step_size=feature_step_size,
        tensor_arena_size=None,
        from_manifest=False,
    )


def _stride(path: Path, file: ModelFile) -> int:
    """The stride, from an input and an output that the runtime accepts (`StreamingModel::load_model_`)."""
    foreign = foreign_model(file)
    if foreign is not None:
        raise UnsupportedModelError(f"{path} is {foreign.message}", hint=foreign.hint)
    if file.version != contract.SCHEMA_VERSION:
        raise _unsupported(path, f"schema version {file.version}, not {contract.SCHEMA_VERSION}")
    main = file.main
    if len(main.inputs) != 1 or len(main.outputs) != 1:
        raise _unsupported(path, f"{len(main.inputs)} inputs and {len(main.outputs)} outputs, not one of each")
    source, output = main.tensors[main.inputs[0]], main.tensors[main.outputs[0]]
    shape = source.shape
    if source.dtype != "INT8" or len(shape) != 3 or shape[0] != 1 or shape[2] != contract.FEATURES:
        raise _unsupported(path, f"input {_describe(source)}, not int8 [1, stride, {contract.FEATURES}]")
    if not 1 <= shape[1] <= contract.MAX_STRIDE:
        raise _unsupported(path, f"stride {shape[1]}, not 1 to {contract.MAX_STRIDE}")
    if output.dtype != "UINT8" or output.shape != (1, 1):
        raise _unsupported(path, f"output {_describe(output)}, not uint8 [1, 1]")
    return shape[1]


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype.lower()} {list(tensor.shape)}"


def _unsupported(path: Path, result: str) -> UnsupportedModelError:
    hint = f"mww verify {shlex.quote(str(path))} lists all that ESPHome would refuse"
    return UnsupportedModelError(f"{path} has {result}", hint=hint)
