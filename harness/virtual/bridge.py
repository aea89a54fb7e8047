"""The tables of functions that the C++ session calls: engine, front-end, microphone, flash, UART.

No exception passes through C++: the first is stored in `failure`; after it every function fails and nothing is sent.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

from harness.link.error_codes import LinkCode
from harness.virtual import host_abi as abi
from harness.virtual.engine import Engine, RefusedError
from harness.virtual.flash import Flash, FlashRangeError
from harness.virtual.frontend import BoardFrontend, PlayedMicrophone
from mww.images.partition_table import Partition

_OK: Final = 0
_ONE_SAMPLE: Final = 1
"""The count that a failed front-end returns, so that the session continues to the end of the sound."""


class Bridge:
    """A session's callbacks; `inference_us` is the reported time of an inference, 0 where it is not measured."""

    def __init__(
        self,
        engine: Engine,
        ears: tuple[BoardFrontend, PlayedMicrophone | None],
        flash: Flash,
        models: Partition | None,
        transmit: Callable[[bytes], None],
        inference_us: int,
    ) -> None:
        self._engine = engine
        self._frontend, self._microphone = ears
        self._flash = flash
        self._models = models
        self._send = transmit
        self._inference_us = inference_us
        self._frame_sizes: dict[int, int] = {}
        self._tensor: ctypes.Array[ctypes.c_char] | None = None
        self._messages: list[str] = []
        self._inferences = 0
        self.failure: BaseException | None = None
        self.engine = abi.EngineTable(
            None,
            abi.LOAD(self._guarded(self._load, LinkCode.INFERENCE_FAILED)),
            abi.UNLOAD(self._guarded(self._unload, None)),
            abi.RESET(self._guarded(self._reset, LinkCode.INFERENCE_FAILED)),
            abi.INFER(self._guarded(self._infer, LinkCode.INFERENCE_FAILED)),
            abi.OUTPUT(self._guarded(self._read_output, None)),
            abi.PROFILE(lambda *_: 0),
        )
        self.frontend = abi.FrontendTable(
            None,
            abi.START(self._guarded(self._start, LinkCode.FRONTEND)),
            abi.STOP(self._guarded(self._frontend.stop, None)),
            abi.PROCESS(self._guarded(self._process, _ONE_SAMPLE)),
        )
        self.microphone = abi.MicrophoneTable()
        if self._microphone is not None:
            self.microphone = abi.MicrophoneTable(
                None,
                abi.OPEN(self._guarded(self._open_microphone, LinkCode.NO_MICROPHONE)),
                abi.CLOSE(self._guarded(self._microphone.close, None)),
                abi.READ(self._guarded(self._read_microphone, 0)),
            )
        self.partition = abi.Partition(
            None,
            flash.address(models.offset) if models else None,
            models.size if models else 0,
            abi.ERASE(self._guarded(self._erase, 0)),
            abi.WRITE(self._guarded(self._write, 0)),
        )
        self.platform = abi.Platform(None, abi.TRANSMIT(self._guarded(self._transmit, None)), abi.MEMORY())

    def taken_messages(self) -> list[str]:
        """Return the engine's messages about refusals, once."""
        messages, self._messages = self._messages, []
        return messages

    def taken_inferences(self) -> int:
        """Return the number of inferences since the last call."""
        inferences, self._inferences = self._inferences, 0
        return inferences

    def _guarded(self, function: Callable[..., Any], failed: int | None) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self.failure is not None:
                return failed
            try:
                return function(*arguments[1:])
            except RefusedError as error:
                if error.text:
                    self._messages.append(error.text)
                return error.code
            except BaseException as error:  # noqa: BLE001 -- raised again once C++ has returned
                self.failure = error
                return failed

        return call

    def _load(self, slot: int, data: Any, size: int, arena: int, any_output: int, result: Any) -> int:
        into: abi.ModelFacts = result.contents
        try:
            facts = self._engine.load(slot, ctypes.string_at(data, size), arena, any_output=bool(any_output))
        except RefusedError as error:
            into.error_detail = error.detail
            into.error_text = error.text.encode("ascii", "replace")[: abi.ModelFacts.error_text.size - 1]
            raise
        for fact in fields(facts):
            setattr(into, fact.name, getattr(facts, fact.name))
        self._frame_sizes[slot] = facts.frame_size
        return _OK

    def _unload(self, slot: int) -> None:
        self._engine.unload(slot)

    def _reset(self, slot: int) -> int:
        self._engine.reset(slot)
        return _OK

    def _infer(self, slot: int, frames: Any, count: int, _profile: int, results: Any) -> int:
        outputs = self._engine.infer(slot, ctypes.string_at(frames, count * self._frame_sizes[slot]), count)
        for index, output in enumerate(outputs):
            results[index] = abi.Inference(self._inference_us, output)
        self._inferences += count
        return _OK

    def _read_output(self, slot: int, index: int, size: Any) -> int | None:
        tensor = self._engine.output(slot, index)
        if not tensor:
            return None
        self._tensor = ctypes.create_string_buffer(tensor, len(tensor))
        size[0] = len(tensor)
        return ctypes.addressof(self._tensor)

    def _start(self, step_ms: int) -> int:
        self._frontend.start(step_ms)
        return _OK

    def _process(self, samples: Any, count: int, features: Any, made: Any) -> int:
        taken, slice_ = self._frontend.process(ctypes.string_at(samples, 2 * count))
        made[0] = slice_ is not None
        if slice_ is not None:
            ctypes.memmove(features, slice_.ctypes.data, slice_.nbytes)
        return taken

    def _open_microphone(self) -> int:
        assert self._microphone is not None
        self._microphone.open()
        return _OK

    def _read_microphone(self, samples: Any, count: int) -> int:
        assert self._microphone is not None
        content = self._microphone.read(count)
        ctypes.memmove(samples, content, len(content))
        return len(content) // 2

    def _erase(self, offset: int, size: int) -> int:
        assert self._models is not None
        try:
            self._flash.erase(self._models.offset + offset, size)
        except FlashRangeError:
            return 0
        return 1

    def _write(self, offset: int, data: Any, size: int) -> int:
        assert self._models is not None
        try:
            self._flash.program(self._models.offset + offset, ctypes.string_at(data, size))
        except FlashRangeError:
            return 0
        return 1

    def _transmit(self, data: Any, size: int) -> None:
        self._send(ctypes.string_at(data, size))
