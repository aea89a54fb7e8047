"""The one error tree of mww-harness.

Every failure that a user can cause or meet is an `MwwError`: one line that says what is wrong, and a hint that says
what to do. The command line prints the two and exits with `exit_code`; a traceback is for bugs.
"""

from __future__ import annotations

from typing import ClassVar


class MwwError(Exception):
    """Root of every error raised on purpose.

    Attributes:
        message: What is wrong, one line, without a full stop at the end.
        hint: What to do about it, one line, or None where the message says it all.
        code: Stable identifier for scripts (`error.code` in JSON).
        inference: Where in a clip it happened: the index of the first inference without an output; None elsewhere.
        exit_code: 1 when something was judged and does not hold, 2 when it could not be carried out.
    """

    code: str = "error"
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str | None = None, inference: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.inference = inference


class UsageError(MwwError):
    """Options that contradict each other, or a value that no option takes."""

    code = "usage"


class InputError(MwwError):
    """A file that was given cannot be used: missing, unreadable, of another kind, or out of range."""

    code = "input"


class OutputError(MwwError):
    """A result cannot be written."""

    code = "output"


class ModelFileError(InputError):
    """A `.tflite` file that cannot be parsed."""

    code = "model-file"


class ManifestError(InputError):
    """A manifest that cannot be parsed, or names a file it must not name."""

    code = "manifest"


class ForeignModelError(ManifestError):
    """A manifest that names a model outside its own folder, which is never opened."""


class CheckpointError(InputError):
    """A checkpoint that cannot be read, or does not fit its configuration."""

    code = "checkpoint"


class ConfigurationError(InputError):
    """A configuration that cannot be read, contradicts itself, or leaves something open."""

    code = "configuration"


class CalibrationError(InputError):
    """Calibration features of the wrong shape, range or number."""

    code = "calibration"


class AudioError(InputError):
    """A clip that is not 16 kHz mono 16-bit PCM, or cannot be read."""

    code = "audio"


class FeatureError(InputError):
    """A feature file that cannot be used."""

    code = "features"


class MissingPackageError(MwwError):
    """An optional package is needed and absent, or cannot be had on this Python or machine."""

    code = "missing-package"


class ConversionError(MwwError):
    """The converter refused the network."""

    code = "conversion"


class UnsupportedModelError(MwwError):
    """A well-formed model that breaks a rule of the runtime, so that what was asked cannot be answered for it."""

    code = "unsupported-model"
    exit_code = 1


class UnknownRuntimeError(UsageError):
    """A chip or runtime version without data."""

    code = "unknown-runtime"


class EngineError(MwwError):
    """An interpreter failed, crashed, or did not answer in time."""

    code = "engine"
