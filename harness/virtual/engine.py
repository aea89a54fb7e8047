"""The virtual board's interpreters: a TFLM worker process for each model slot, and an arena like the chip's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from harness.engines.opening import Engine as Interpreter
from harness.engines.opening import open_engine
from harness.link.error_codes import LinkCode
from mww.core.errors import EngineError, ModelFileError
from mww.esphome import contract
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena import predict_arena

_DEADLINE: Final = 3.0
"""Seconds for an inference: less than the silence after which a host gives a board up, so that it gets the reason."""


class RefusedError(Exception):
    """The engine refuses a request; `code` is the link's, and `detail` has the meaning that the code gives it."""

    def __init__(self, code: LinkCode, text: str, detail: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Facts:
    """An engine's facts about a loaded model; the arena in bytes, on the board's chip."""

    stride: int
    outputs: int
    variables: int
    input_scale: float
    input_zero_point: int
    output_scale: float
    output_zero_point: int
    arena_used: int
    arena_size: int

    @property
    def frame_size(self) -> int:
        """Bytes of a frame."""
        return self.stride * contract.FEATURES


class Engine(Protocol):
    """The interpreter that the firmware's session needs; every method may raise `RefusedError`."""

    def load(self, slot: int, content: bytes, manifest_arena: int, *, any_output: bool) -> Facts:
        """Load a model, in its initial state; a `manifest_arena` of 0 means none."""
        ...

    def unload(self, slot: int) -> None:
        """Unload a model."""
        ...

    def reset(self, slot: int) -> None:
        """Reset a model's streaming state."""
        ...

    def infer(self, slot: int, frames: bytes, count: int) -> bytes:
        """Run `count` frames; returns the output of each, or zeros for a model with any output."""
        ...

    def output(self, slot: int, index: int) -> bytes:
        """Return an output tensor after the last inference; empty if the model does not have the output."""
        ...


class TflmEngine:
    """Interpreters for a board: TFLM where it is installed, else the exact engine.

    The first is opened at once: importing TFLM takes a second.
    """

    def __init__(self, chip: str, alter: Callable[[bytes], bytes] = bytes) -> None:
        """Start; `alter` changes the model that is interpreted, but not the reported facts."""
        self._chip = chip
        self._alter = alter
        self._spare: Interpreter | None = open_engine(deadline=_DEADLINE)
        self.name, self.version = self._spare.engine, self._spare.version
        self._slots: dict[int, Interpreter] = {}
        self._exposed: dict[int, tuple[int, ...]] = {}
        self._outputs: dict[int, bytes] = {}

    def load(self, slot: int, content: bytes, manifest_arena: int, *, any_output: bool) -> Facts:
        """See `Engine`."""
        try:
            model = read_model(content)
        except ModelFileError as error:
            raise RefusedError(LinkCode.MODEL_SCHEMA, error.message) from error
        _check(model, any_output=any_output)
        facts = self._facts(model, manifest_arena)
        if slot not in self._slots:
            self._slots[slot], self._spare = self._spare or open_engine(deadline=_DEADLINE), None
        try:
            self._slots[slot].load(self._alter(content))
        except EngineError as error:
            raise RefusedError(LinkCode.INFERENCE_FAILED, error.message) from error
        self._exposed[slot] = _output_sizes(model) if any_output else ()
        return facts

    def unload(self, slot: int) -> None:
        """See `Engine`; the process stays for the next model."""
        self._outputs.pop(slot, None)

    def reset(self, slot: int) -> None:
        """See `Engine`."""
        try:
            self._slots[slot].reset()
        except EngineError as error:
            raise RefusedError(LinkCode.INFERENCE_FAILED, error.message) from error

    def infer(self, slot: int, frames: bytes, count: int) -> bytes:
        """See `Engine`."""
        try:
            outputs = self._slots[slot].infer(frames)
        except EngineError as error:
            raise RefusedError(LinkCode.INFERENCE_FAILED, error.message) from error
        size = len(outputs) // count
        self._outputs[slot] = outputs[-size:]
        return bytes(count) if self._exposed[slot] else outputs[::size]

    def output(self, slot: int, index: int) -> bytes:
        """See `Engine`."""
        sizes = self._exposed[slot] or (1,)
        if index >= len(sizes):
            return b""
        start = sum(sizes[:index])
        return self._outputs.get(slot, b"")[start : start + sizes[index]]

    def close(self) -> None:
        """End the processes."""
        for process in (self._spare, *self._slots.values()):
            if process is not None:
                process.close()
        self._spare = None
        self._slots.clear()

    def _facts(self, model: ModelFile, manifest_arena: int) -> Facts:
        """Describe a model, with the arena that ESPHome would allocate on this chip."""
        arena = predict_arena(model, self._chip, manifest_size=manifest_arena or None)
        size = arena.minimum if arena.probe is None else arena.probe
        if size == 0:
            raise RefusedError(LinkCode.ARENA_TOO_SMALL, f"needs {arena.minimum} bytes", manifest_arena)
        main = model.main
        source, output = (main.tensors[index].quantization for index in (main.inputs[0], main.outputs[0]))
        return Facts(
            stride=main.tensors[main.inputs[0]].shape[1],
            outputs=len(main.outputs),
            variables=sum(operator.op == "VAR_HANDLE" for operator in main.operators),
            input_scale=source.scale if source else 0.0,
            input_zero_point=source.zero_point if source else 0,
            output_scale=output.scale if output else 0.0,
            output_zero_point=output.zero_point if output else 0,
            arena_used=arena.used,
            arena_size=size,
        )


def _output_sizes(model: ModelFile) -> tuple[int, ...]:
    return tuple(model.main.tensors[index].nbytes for index in model.main.outputs)


def _check(model: ModelFile, *, any_output: bool) -> None:
    """Refuse a model that `StreamingModel::load_model_` refuses."""
    main = model.main
    unknown = {operator.op for graph in model.subgraphs for operator in graph.operators} - set(contract.REGISTERED_OPS)
    if unknown:
        raise RefusedError(LinkCode.MODEL_OPERATOR, ", ".join(sorted(unknown)))
    inputs = [main.tensors[index] for index in main.inputs]
    if [(t.dtype, t.shape[:1], t.shape[2:]) for t in inputs] != [("INT8", (1,), (contract.FEATURES,))]:
        raise RefusedError(LinkCode.MODEL_INPUT, "")
    outputs = [(main.tensors[index].dtype, main.tensors[index].shape) for index in main.outputs]
    if not outputs or (outputs != [("UINT8", (1, 1))] and not any_output):
        raise RefusedError(LinkCode.MODEL_OUTPUT, "")
