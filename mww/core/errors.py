"""The one error tree of mww-harness.

Every failure that a user can cause or meet is an `MwwError`: one line that says what is wrong, and a hint that says
what to do. The command line prints the two and exits with `exit_code`; a traceback is for bugs.
"""

from __future__ import annotations

import copyreg
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What is known of a failure. It also travels between processes and stands in reports, as JSON.

    Attributes:
        code: Stable identifier for scripts (`error.code` in JSON).
        message: What is wrong, one line, without a full stop at the end.
        hint: What to do about it, one line; empty where nothing can be done.
        inference: Where in a clip it happened: the index of the first inference without an output; None elsewhere.
    """

    code: str
    message: str
    hint: str = ""
    inference: int | None = None

    def __str__(self) -> str:
        return self.message if self.inference is None else f"{self.message} at inference {self.inference}"

    def to_json(self) -> dict[str, object]:
        """The facts as `docs/reference/run.schema.json` writes them; an empty hint is null."""
        return {"code": self.code, "message": self.message, "hint": self.hint or None, "inference": self.inference}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Self:
        """The facts that `to_json` wrote, in another process of this version.

        Raises:
            KeyError: The code or the message is missing.
        """
        inference = document.get("inference")
        return cls(
            code=str(document["code"]),
            message=str(document["message"]),
            hint=str(document.get("hint") or ""),
            inference=inference if isinstance(inference, int) else None,
        )


class MwwError(Exception):
    """Root of every error raised on purpose: it carries facts, and whoever prints it makes the text.

    An error never changes. `with_hint`, `with_message` and `at_inference` make another one, to be raised from the
    first. Errors can be pickled.

    Attributes:
        facts: What is known.
        code: Stable identifier for scripts, of the class; the board's own for a `DeviceError`.
        exit_code: 1 when a check does not hold, 2 for an error.
    """

    code: str = "error"
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str, inference: int | None = None) -> None:
        """Make an error; the hint must help. An error for which no hint can help is an `UnhintedError`."""
        if not hint and not isinstance(self, UnhintedError):
            raise ValueError(f"{type(self).__name__} needs a hint: {message}")
        super().__init__(message)
        self._take(ErrorFacts(self.code, message, hint, inference))

    @classmethod
    def from_facts(cls, facts: ErrorFacts) -> MwwError:
        """The error of another process, of this class but with its own code."""
        error = cls.__new__(cls, facts.message)
        error._take(facts)
        return error

    @property
    def message(self) -> str:
        """What is wrong; see `ErrorFacts`."""
        return self.facts.message

    @property
    def hint(self) -> str:
        """What to do about it; see `ErrorFacts`."""
        return self.facts.hint

    @property
    def inference(self) -> int | None:
        """Where in a clip it happened; see `ErrorFacts`."""
        return self.facts.inference

    def with_message(self, message: str) -> Self:
        """The same error with another message."""
        return self._with(replace(self.facts, message=message))

    def with_hint(self, hint: str) -> Self:
        """The same error with another hint."""
        return self._with(replace(self.facts, hint=hint))

    def at_inference(self, inference: int) -> Self:
        """The same error, at an inference of the clip."""
        return self._with(replace(self.facts, inference=inference))

    def __str__(self) -> str:
        return str(self.facts)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without calling a constructor, since each class has its own."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def _with(self, facts: ErrorFacts) -> Self:
        error = type(self).__new__(type(self), facts.message)
        error.__dict__.update(self.__dict__)
        error._take(facts)
        return error

    def _take(self, facts: ErrorFacts) -> None:
        self.facts = facts
        self.code = facts.code


class UnhintedError(MwwError):
    """Base of the errors for which no hint can help; each such class says why in its docstring."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="")


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


class WrongKindError(ModelFileError):
    """A file of another kind than asked for: the message names its kind, the hint says what to do with it."""


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


class GoldenError(InputError):
    """A golden that cannot be read, or was recorded from another model."""

    code = "golden"


class LinkError(MwwError):
    """The link to a board failed; the subclass says how."""

    code = "link"


class WireFormatError(LinkError):
    """Bytes that are no message of the protocol, or values that no message can carry."""

    code = "wire-format"


class ModelPartitionError(LinkError):
    """Models that no model partition of this size can hold."""

    code = "model-partition"


class NoReplyError(LinkError):
    """Nothing at all came back."""

    code = "no-reply"


class WrongFirmwareError(LinkError):
    """Something answers, but it is not this firmware."""

    code = "wrong-firmware"


class BootLoopError(WrongFirmwareError):
    """The board starts again and again, and never gets to its firmware's answer."""

    code = "boot-loop"


class ProtocolVersionError(LinkError):
    """Host and board share no protocol version."""

    code = "protocol-version"


class RebootedError(LinkError):
    """The board restarted in the middle of the work."""

    code = "rebooted"


class HungError(LinkError):
    """The board was there, and stopped answering."""

    code = "hung"


class NoisyLinkError(LinkError):
    """Frames come and go, but too many are damaged to get anything done."""

    code = "link-noise"


class PortBusyError(LinkError):
    """Another process holds the port."""

    code = "port-busy"


class PortMissingError(LinkError):
    """The port does not exist, cannot be opened, or went away and did not come back."""

    code = "port-missing"


GONE_CODES: Final = frozenset(
    kind.code for kind in (NoReplyError, WrongFirmwareError, BootLoopError, HungError, PortMissingError)
)
"""Codes of errors which mean that the board is gone or cannot be used."""


class DeviceError(LinkError):
    """The board refused or failed a request; `code` is the slug of the board's own error code."""

    def __init__(self, message: str, *, slug: str, detail: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self._take(replace(self.facts, code=slug))
        self.detail = detail


class ModelMissingError(MwwError):
    """A board has another model, and may not be given this one."""

    code = "model-missing"


class HostBuildError(MwwError):
    """The firmware's core cannot be built for this machine."""

    code = "host-build"


class ImageError(MwwError):
    """A firmware image or partition table that no chip would boot, or not this one; the message is the bootloader's."""

    code = "image"


class FlashingError(MwwError):
    """A board could not be flashed; the message is esptool's where the failure is its own."""

    code = "flashing"


class ClusterError(MwwError):
    """The cluster cannot be reached, lost its scheduler or workers, or has workers that cannot do the work."""

    code = "cluster"


class VirtualBoardError(MwwError):
    """A virtual board could not be started, or ended by itself."""

    code = "virtual-board"


class BenchmarkError(MwwError):
    """A side of a benchmark failed, or the two sides did not do the same."""

    code = "benchmark"


class QemuError(MwwError):
    """QEMU could not be started, or the firmware in it does not answer."""

    code = "qemu"


class EsphomeError(MwwError):
    """A release of ESPHome cannot be had, or does not answer."""

    code = "esphome"


class SpeechError(MwwError):
    """A program that speaks is missing, has no such voice, or fails."""

    code = "speech"
