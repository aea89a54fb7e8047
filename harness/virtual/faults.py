"""Faults of a virtual board: their names on the command line, the bad cable, and the wrong kernel.

A wrong kernel is a change to the model: an addition after each operator of a kind alters its results.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness.link.client import SAMPLE, heard_slices
from harness.link.error_codes import LinkCode
from harness.link.framing import Frame, FrameDecoder, encode_frame
from harness.link.messages import Heard, Outputs
from harness.virtual.engine import RefusedError
from mww.core.errors import MissingPackageError, UsageError
from mww.core.readable import shown
from mww.esphome.contract import REGISTERED_OPS
from mww.esphome.frontend_errors import ERROR_KINDS

ALTERABLE: Final = tuple(operator for operator in REGISTERED_OPS if operator != "VAR_HANDLE")
"""Operators that compute or move data. VAR_HANDLE only names a variable; CALL_ONCE means the initial state."""

_OFFSET: Final = 8
"""The error of a result, in steps of its quantisation."""
_SCHEMA: Final = ("tensorflow", "lite", "micro", "python", "schema_py_generated.py")

_TEXT: Final = b"[W][wifi:123]: beacon timeout, reconnecting\r\n"
_MAX_HELD: Final = 1 << 18  # bytes without a zero, after which they are passed on unchanged

_MOST_BYTES: Final = 0x7FFFFFFF
"""Twice this arena still fits the 32 bits of the link."""

_TAKES: Final = {
    "RATE": "RATE is a share of link frames, from 0 to below 1",
    "N": "N is a whole number from 0",
    "BYTES": "BYTES is a whole number from 0 to 0x7fffffff",
    "OP": f"OP is one of {', '.join(ALTERABLE)}; VAR_HANDLE has no result",
    "KIND": f"KIND is one of {', '.join(ERROR_KINDS)}",
}


def alter_kernel(content: bytes, operator: str, *, only: int | None = None) -> bytes:
    """Return the model with altered results of every `operator` in its main subgraph, or of the operator at `only`.

    An assigned state is altered before the assignment; a state that CALL_ONCE initialises is altered in its constant.

    Raises:
        RefusedError: The model has no such operator, or none whose results are int8 (or QUANTIZE's uint8).
        MissingPackageError: The installed tflite-micro does not carry the schema.
    """
    import flatbuffers

    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    operators: list[Any] = []
    present = altered = 0
    for index, entry in enumerate(graph.operators):
        entry.inputs, entry.outputs = list(entry.inputs), list(entry.outputs)
        if _name(schema, model, entry) != operator or only not in (None, index):
            operators.append(entry)
            continue
        present += 1
        before, behind = _additions(schema, model, operator, entry)
        operators += [*before, entry, *behind]
        altered += len(before) + len(behind)
        if operator == "CALL_ONCE":
            altered += _alter_constants(schema, model, model.subgraphs[entry.builtinOptions.initSubgraphIndex])
        elif operator == "QUANTIZE" and not behind:
            altered += _shift_zero_point(schema, graph.tensors[entry.outputs[0]])
    if not altered:
        message = (
            f"the result of the model's {operator} is not int8" if present else f"the model does not have {operator}"
        )
        raise RefusedError(LinkCode.FAULT, f"kernel={operator}, but {message}")
    graph.operators = operators
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _name(schema: Any, model: Any, entry: Any) -> str:
    code = model.operatorCodes[entry.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return next((name for name, value in vars(schema.BuiltinOperator).items() if value == number), "")


def _additions(schema: Any, model: Any, operator: str, entry: Any) -> tuple[list[Any], list[Any]]:
    """The operators to insert before and after the operator."""
    if operator == "CALL_ONCE":
        return [], []
    if operator == "ASSIGN_VARIABLE":
        if model.subgraphs[0].tensors[entry.inputs[1]].type != schema.TensorType.INT8:
            return [], []
        entry.inputs[1], addition = _addition(schema, model, source=entry.inputs[1], target=None)
        return [addition], []
    return [], _shift_outputs(schema, model, entry)


def _alter_constants(schema: Any, model: Any, graph: Any) -> int:
    """Change the constants that an initialising subgraph assigns; returns their number."""
    altered = 0
    for entry in graph.operators:
        if _name(schema, model, entry) != "ASSIGN_VARIABLE":
            continue
        tensor = graph.tensors[entry.inputs[1]]
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.type != schema.TensorType.INT8:
            continue
        values = np.clip(np.asarray(data, np.uint8).view(np.int8).astype(np.int16) + _OFFSET, -128, 127)
        buffer = schema.BufferT()
        buffer.data = values.astype(np.int8).view(np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
        altered += 1
    return altered


def _shift_zero_point(schema: Any, tensor: Any) -> int:
    """Make QUANTIZE's uint8 result, the model's own output, higher."""
    if tensor.type != schema.TensorType.UINT8:
        return 0
    tensor.quantization.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + _OFFSET]
    return 1


def _shift_outputs(schema: Any, model: Any, entry: Any) -> list[Any]:
    """Make additions between an operator and the readers of its int8 results."""
    additions = []
    tensors = model.subgraphs[0].tensors
    for position, index in enumerate(entry.outputs):
        tensor = tensors[index]
        if tensor.type == schema.TensorType.INT8:
            entry.outputs[position] = _copy(schema, model, tensor)
            additions.append(_addition(schema, model, source=entry.outputs[position], target=index)[1])
    return additions


def _addition(schema: Any, model: Any, *, source: int, target: int | None) -> tuple[int, Any]:
    """Make `target = source + constant`; without a target, with a new tensor."""
    tensors = model.subgraphs[0].tensors
    if target is None:
        target = _copy(schema, model, tensors[source])
    data = schema.BufferT()
    data.data = [_OFFSET]
    model.buffers.append(data)
    constant = schema.TensorT()
    constant.shape, constant.type, constant.buffer = [1], schema.TensorType.INT8, len(model.buffers) - 1
    constant.quantization = schema.QuantizationParametersT()
    constant.quantization.scale = [tensors[source].quantization.scale[0]]
    constant.quantization.zeroPoint = [0]
    tensors.append(constant)
    addition = schema.OperatorT()
    addition.opcodeIndex = _add_opcode(schema, model)
    addition.inputs, addition.outputs = [source, len(tensors) - 1], [target]
    addition.builtinOptionsType, addition.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    return target, addition


def _copy(schema: Any, model: Any, tensor: Any) -> int:
    """Add a tensor like another tensor, without content."""
    like = schema.TensorT()
    like.shape, like.type, like.buffer = tensor.shape, tensor.type, 0
    like.quantization = tensor.quantization
    model.subgraphs[0].tensors.append(like)
    return len(model.subgraphs[0].tensors) - 1


def _add_opcode(schema: Any, model: Any) -> int:
    add = schema.BuiltinOperator.ADD
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == add:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = add
    code.version = 2
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


@cache
def _schema() -> Any:
    """Load the schema from the tflite-micro package, without its interpreter."""
    package = util.find_spec("tflite_micro")
    path = Path(package.origin).parent.joinpath(*_SCHEMA) if package and package.origin else None
    spec = util.spec_from_file_location("mww_tflite_schema", path) if path and path.is_file() else None
    if spec is None or spec.loader is None:
        raise MissingPackageError(
            "fault kernel needs the schema of tflite-micro", hint="pip install 'mww-harness[tflm]'"
        )
    schema = util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    return schema


class Noise:
    """A direction of the cable; frames are the bytes between zeros."""

    def __init__(self, faults: Faults, direction: str) -> None:
        self._faults = faults
        self._random = random.Random(f"{direction}{faults.seed}")
        self._held = b""
        self._rule = None if faults.detect is None else _WrongRule(faults.detect)

    def spoil(self, data: bytes) -> bytes:
        """Pass bytes through, and hold a frame until it is complete."""
        *whole, self._held = (self._held + data).split(b"\0")
        if len(self._held) > _MAX_HELD:
            whole, self._held = [*whole, self._held], b""
        return b"".join(self._spoil_frame(chunk) if chunk else b"\0" for chunk in whole)

    def forget(self) -> None:
        """Drop the held bytes."""
        self._held = b""

    def _spoil_frame(self, frame: bytes) -> bytes:
        faults, chance = self._faults, self._random.random
        if self._rule is not None:
            frame = self._rule.change(frame)
        if chance() < faults.drop:
            return b"\0"
        if chance() < faults.corrupt:
            at = self._random.randrange(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ self._random.randrange(1, 256)]) + frame[at + 1 :]
        if chance() < faults.log:
            at = self._random.choice((0, self._random.randrange(len(frame))))
            frame = _TEXT + b"\0" + frame if at == 0 else frame[:at] + _TEXT + frame[at:]
        copies = 2 if chance() < faults.duplicate else 1
        return (b"\0" + frame + b"\0") * copies


class _WrongRule:
    """Inverts the reported detection at an inference since the reset."""

    def __init__(self, inference: int) -> None:
        self._inference = inference
        self._before = {0: 0}
        """Inferences of the first model before each slice of the stream: answers may repeat, including the first."""

    def change(self, frame: bytes) -> bytes:
        """A frame that a board with that rule would send."""
        for entry in FrameDecoder().feed(frame + b"\0"):
            if isinstance(entry, Frame) and entry.type in (Outputs.type, Heard.type):
                payload = (self._outputs if entry.type == Outputs.type else self._heard)(entry.payload)
                return encode_frame(entry.type, entry.sequence, payload).strip(b"\0")
        return frame

    def _outputs(self, payload: bytes) -> bytes:
        answer = Outputs.decode(payload)
        return Outputs(answer.model, answer.first, self._rows(answer.samples, answer.first)).encode()

    def _heard(self, payload: bytes) -> bytes:
        answer = Heard.decode(payload)
        count, slices, changed = self._before.get(answer.first), answer.first, bytearray()
        if count is None:  # it does not start at the end of an earlier answer
            return payload
        for features, samples in heard_slices(answer):
            changed += features + bytes([sum(1 << slot for slot in samples)])
            for number, row in enumerate(samples.values()):
                changed += row if number else self._rows(row, count)
            count, slices = count + bool(samples), slices + 1
            self._before[slices] = count
        return Heard(answer.first, bytes(changed)).encode()

    def _rows(self, content: bytes, first: int) -> bytes:
        samples = np.frombuffer(content, SAMPLE).copy()
        if 0 <= (at := self._inference - first) < len(samples):
            row = samples[at]
            row["detected"], row["average"], row["maximum"] = (0, 0, 0) if row["detected"] else (1, 255, 255)
        return samples.tobytes()


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of a virtual board.

    Attributes:
        corrupt: Share of link frames with a changed byte, in each direction.
        drop: Share that is lost, in each direction.
        duplicate: Share that arrives twice, in each direction.
        log: Share with log text before or within them, in each direction.
        reboot: Inferences since power-on after which the chip restarts, once.
        hang: Inferences since power-on after which it does nothing any more.
        wrong: The inference since power-on, from 0, whose output has a flipped bit.
        swap: The inference since power-on, from 0, whose frame has two slices exchanged.
        kernel: Operator whose results are altered.
        arena: Bytes that the board reports more than it uses.
        noreset: Whether the streaming state survives a reset.
        seed: Where chance begins.
        frontend: What is wrong with the audio front-end; a kind of `mww.esphome.frontend_errors`.
        round: Each so many inferences since a reset, an output is off by 1, as of kernels that round otherwise.
        detect: The inference since a reset, from 0, at which the board's rule tells the opposite of what it found.
    """

    corrupt: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    log: float = 0.0
    reboot: int | None = None
    hang: int | None = None
    wrong: int | None = None
    swap: int | None = None
    kernel: str | None = None
    arena: int = 0
    noreset: bool = False
    seed: int = 0
    detect: int | None = None
    round: int | None = None
    frontend: str | None = None

    @property
    def noisy(self) -> bool:
        """Whether a fault changes bytes on the link."""
        return bool(self.corrupt or self.drop or self.duplicate or self.log) or self.detect is not None


NO_FAULTS: Final = Faults()


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate < 1:
        raise ValueError
    return rate


def _count(text: str) -> int:
    count = int(text, 0)
    if count < 0:
        raise ValueError
    return count


def _bytes(text: str) -> int:
    count = _count(text)
    if count > _MOST_BYTES:
        raise ValueError
    return count


def _operator(text: str) -> str:
    if text.upper() not in ALTERABLE:
        raise ValueError
    return text.upper()


def _frontend(text: str) -> str:
    if text not in ERROR_KINDS:
        raise ValueError
    return text


_PARSERS: Final[dict[str, tuple[str, Callable[[str], float | int | str]]]] = {
    **{name: ("RATE", _rate) for name in ("corrupt", "drop", "duplicate", "log")},
    **{name: ("N", _count) for name in ("reboot", "hang", "wrong", "swap", "detect", "round", "seed")},
    "kernel": ("OP", _operator),
    "arena": ("BYTES", _bytes),
    "frontend": ("KIND", _frontend),
}
FAULT_HELP: Final = ", ".join([*(f"{name}={value}" for name, (value, _) in _PARSERS.items()), "noreset"])
"""Every fault with its value."""


def parse_faults(specifications: Iterable[str]) -> Faults:
    """Read `--fault` options.

    Raises:
        UsageError: A name is not a fault or is given twice, or a value does not fit its fault.
    """
    faults, seen = NO_FAULTS, set[str]()
    for specification in specifications:
        name, separator, value = specification.partition("=")
        if name in seen:
            raise UsageError(f"fault {name} is given twice", hint="give each fault at most once")
        seen.add(name)
        if specification == "noreset":
            faults = replace(faults, noreset=True)
            continue
        if name not in _PARSERS or not separator:
            raise UsageError(f"no fault {shown(specification)}", hint=FAULT_HELP)
        takes, parse = _PARSERS[name]
        try:
            faults = replace(faults, **{name: parse(value)})  # type: ignore[arg-type]
        except ValueError:
            raise UsageError(f"fault {name} takes {takes}, not {shown(value)}", hint=_TAKES[takes]) from None
    return faults
