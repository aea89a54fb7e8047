"""TFLite models of other wake word engines, recognised by their inputs: no cure makes ESPHome run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mww.tflite.model_file import ModelFile

_TRAIN: Final = (
    "train the word again for microWakeWord, then mww export; ESPHome cannot run it, whatever the manifest says"
)


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """What a model is, and what to do with it; `name` is the engine's."""

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
