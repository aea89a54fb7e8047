"""The rules for a manifest: its schema, the model it names, and figures that must suit that model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mww.core.errors import ForeignModelError, UnsupportedModelError
from mww.core.readable import shown
from mww.esphome.contract import FEATURE_STEP_MS, V1_FEATURE_STEP_MS, cutoff_byte
from mww.esphome.manifest import Manifest, model_path
from mww.esphome.manifest_schema import ESPHOME_VERSION, schema_problems
from mww.esphome.releases import newest_release
from mww.tflm.arena import fits, predict_arenas
from mww.verification.rules import Finding, ManifestText, Status, Subject, manifest_rule, rule


@manifest_rule(
    "manifest-schema",
    "The manifest obeys ESPHome's schema",
    hint="mww manifest MANIFEST.json --in-place repairs it; docs/manifests.md shows a whole one",
)
def schema(text: ManifestText) -> Iterator[Finding]:
    """`MANIFEST_SCHEMA_V1` and `MANIFEST_SCHEMA_V2`, and no value that the device would understand differently."""
    for problem in schema_problems(text.content):
        yield Finding(problem.message)


@manifest_rule(
    "manifest-model",
    "The model is in the manifest's own folder",
    hint="put the model beside the manifest and name the file alone",
    severity=("fail", "warn"),
)
def model(text: ManifestText) -> Iterator[Finding]:
    """Any other file is never opened."""
    name = text.content.get("model")
    if not isinstance(name, str) or not name:
        yield Finding("the manifest names no model", "a file name")
        return
    if name.startswith(("http://", "https://")):
        message = f"the model is {name[:80]}: ESPHome downloads it, and only where the manifest came by URL too"
        yield Finding(message, status="warn", hint="download the model and verify it beside a manifest that names it")
        return
    if text.has_model:
        return
    try:
        model_path(text.path, name)
    except ForeignModelError as error:
        yield Finding(error.message, "a file in the manifest's folder", name[:80])


_THREE_NUMBERS = "write the year, the month and the patch, such as 2024.7.0"


def _gives(figure: str) -> Callable[[Subject], bool]:
    """Whether there is a manifest, and a figure in it that can be judged."""
    return lambda subject: subject.manifest is not None and figure not in subject.manifest.wrong


def _manifest(subject: Subject) -> Manifest:
    assert subject.manifest is not None
    return subject.manifest


@rule(
    "manifest-esphome-version",
    "The manifest asks for a release of ESPHome that is known",
    hint="lower minimum_esphome_version if an older release is enough; 2024.7.0 is the first that takes version 2",
    applies=lambda subject: subject.manifest is not None and subject.manifest.minimum_esphome_version is not None,
    severity=("warn",),
)
def esphome_version(subject: Subject) -> Iterator[Finding]:
    """An older ESPHome refuses the manifest (`validate_esphome_version`)."""
    minimum, newest = _manifest(subject).minimum_esphome_version or "", newest_release()
    read = ESPHOME_VERSION.fullmatch(minimum)
    as_read = ".".join(read.groups()[:3]) if read else minimum
    if not minimum.startswith(as_read):
        message = f"minimum_esphome_version is {shown(minimum)}, which ESPHome reads as {as_read}: every release passes"
        yield Finding(message, "2024.7.0 or later, with three numbers", minimum, "warn", _THREE_NUMBERS)
    elif _release(minimum) > _release(newest):
        message = f"minimum_esphome_version is {minimum}, but the newest known release is {newest}"
        yield Finding(message, f"<= {newest}", minimum, "warn")


def _release(version: str) -> tuple[int, ...]:
    numbers = (part for part in version.replace("-", ".").split("."))
    return tuple(int(part) for part in list(numbers)[:3] if part.isascii() and part.isdigit() and len(part) < 10)


@rule(
    "manifest-cutoff",
    "The cutoff is a byte that a sum of outputs can exceed",
    hint="set probability_cutoff so that int(cutoff * 255) is 1..254; mww run shows what the model gives on speech",
    applies=_gives("probability_cutoff"),
)
def cutoff(subject: Subject) -> Iterator[Finding]:
    """The device compares with `int(cutoff * 255)`, and detects only above it."""
    value = _manifest(subject).probability_cutoff
    byte = cutoff_byte(value)
    if 1 <= byte <= 254:
        yield Finding(f"the cutoff {value:g} is byte {byte} on the device", "1..254", str(byte), status="pass")
    else:
        cause = "no output is above it" if byte > 254 else "ESPHome listens after outputs below it, and none is"
        message = f"the cutoff {value:g} is byte {byte} on the device: it never wakes, because {cause}"
        yield Finding(message, "1..254", str(byte))


@rule(
    "manifest-feature-step",
    "The feature step is the step that such models are trained on",
    hint="use the step of the training's front-end: 10 ms (window_step_ms) for version 2, 20 ms for version 1",
    applies=_gives("feature_step_size"),
    severity=("fail", "warn"),
)
def feature_step(subject: Subject) -> Iterator[Finding]:
    """The file does not say its step; a model that streams several slices a frame was trained at 10 ms."""
    manifest = _manifest(subject)
    step = manifest.feature_step_size
    source = subject.input
    stride = source.shape[1] if source is not None and len(source.shape) == 3 else 0
    if step == 0:
        yield Finding("feature_step_size is 0, which the front-end divides by", str(FEATURE_STEP_MS), "0")
    elif manifest.version == 1 and stride > 1:
        message = f"ESPHome runs a version 1 manifest at {V1_FEATURE_STEP_MS} ms, but the model takes {stride} slices"
        yield Finding(message, "a version 2 manifest", "version 1", status="warn")
    elif manifest.version == 2 and step != FEATURE_STEP_MS:
        message = f"feature_step_size is {step} ms; all published version 2 models were trained at {FEATURE_STEP_MS} ms"
        yield Finding(message, str(FEATURE_STEP_MS), str(step), status="warn")


@rule(
    "manifest-arena",
    "The tensor arena suffices on every chip",
    hint="set tensor_arena_size as mww arena says: the largest minimum plus 10 %",
    applies=_gives("tensor_arena_size"),
    severity=("fail", "warn"),
)
def arena(subject: Subject) -> Iterator[Finding]:
    """The prediction for the runtime that ESPHome pins; at its first attempt, without the 1.5x and 2x that follow."""
    size = _manifest(subject).tensor_arena_size
    try:
        predictions = predict_arenas(subject.model, manifest_size=size)
    except UnsupportedModelError as error:
        yield Finding(f"no arena suffices: {error.message}", hint=error.hint)
        return
    for prediction in predictions:
        if not fits(prediction.minimum, size):
            message = f"{prediction.chip} needs {prediction.minimum} bytes, the manifest gives {size}: "
            if prediction.probe:
                message += f"the first attempt fails and can crash the chip; {prediction.probe}, the next, would do"
            else:
                message += "it does not load at all"
            status: Status = "warn" if prediction.probe else "fail"
            yield Finding(message, f">= {prediction.minimum}", str(size), status)
