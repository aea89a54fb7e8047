"""Write one small streaming model for each trap, and a sound one, with TensorFlow: `make_traps.py FOLDER`.

Each differs from the sound export in one thing alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="-1")

import keras
import numpy as np
import tensorflow as tf

STRIDE, FEATURES = 3, 40


class RingBuffer(keras.layers.Layer):
    """Puts the last `slices` slices in front of the new ones."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        self.slices = slices

    def build(self, shape: tuple[int, ...]) -> None:
        self.states = self.add_weight(
            name="states", shape=(1, self.slices, *shape[2:]), initializer="zeros", trainable=False
        )

    def call(self, inputs: Any) -> Any:
        memory = tf.concat([self.states, inputs], 1)
        self.states.assign(memory[:, -self.slices :])
        return memory


def network(*, streaming: bool = True, slices: int = STRIDE) -> keras.Model:
    """A first convolution of 5x1 stride 3, one depthwise block of 5x1, a dense layer over the last four outputs."""
    keras.utils.set_random_seed(7)
    source = keras.Input((slices, FEATURES), batch_size=1)
    net = keras.ops.expand_dims(source, 2)
    net = RingBuffer(2)(net) if streaming else net
    net = keras.layers.Conv2D(8, (5, 1), strides=(3, 1), activation="relu", use_bias=False)(net)
    net = RingBuffer(4)(net) if streaming else net
    net = keras.layers.DepthwiseConv2D((5, 1))(net)
    net = keras.layers.Conv2D(8, (1, 1), activation="relu")(net)
    net = RingBuffer(3)(net) if streaming else net
    net = keras.layers.Dense(1, activation="sigmoid", name="dense")(keras.layers.Flatten()(net))
    return keras.Model(source, net)


def saved(model: keras.Model, folder: Path) -> str:
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.call, [tf.TensorSpec(model.input.shape, tf.float32)])
    archive.write_out(str(folder))
    return str(folder)


def samples(*, scale: float = 1.0, anchored: bool = True, slices: int = STRIDE, frames: int = 60) -> Callable[[], Any]:
    """Frames like speech, 0..26, of which one holds 0.0 and 26.0."""

    def generate() -> Iterator[list[Any]]:
        values = np.random.default_rng(3).gamma(2.0, 3.0, (frames, 1, slices, FEATURES)).clip(0.5, 25).astype("f4")
        if anchored:
            values[0, 0, 0, :2] = 0.0, 26.0
        for frame in values * scale:
            yield [frame.astype("f4")]

    return generate


def converted(folder: str, representative: Callable[[], Any] | None, **changes: Any) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    converter.optimizations = {tf.lite.Optimize.DEFAULT}
    settings = {
        "_experimental_variable_quantization": True,
        "inference_input_type": tf.int8,
        "inference_output_type": tf.uint8,
        "representative_dataset": representative,
    }
    for name, value in (settings | changes).items():
        setattr(converter, name, value)
    if representative is not None:
        converter.target_spec.supported_ops = {tf.lite.OpsSet.TFLITE_BUILTINS_INT8}
    return bytes(converter.convert())


def main(output: Path) -> None:
    model = network()
    # a dense layer whose logit reaches far above zero on these frames, as that of a trained model does
    model.get_layer("dense").set_weights([np.abs(model.get_layer("dense").get_weights()[0]), np.zeros(1)])
    sound = saved(model, output / "sound")
    models = {
        "sound": converted(sound, samples()),
        "variable_quantisation": converted(sound, samples(), _experimental_variable_quantization=False),
        "int8_output": converted(sound, samples(), inference_output_type=tf.int8),
        "float_ends": converted(sound, samples(), inference_input_type=tf.float32, inference_output_type=tf.float32),
        "no_calibration": converted(sound, None, inference_input_type=tf.float32, inference_output_type=tf.float32),
        "no_anchors": converted(sound, samples(anchored=False)),
        "raw_features": converted(sound, samples(scale=25.6)),
        "unit_features": converted(sound, samples(scale=1 / 26)),
    }
    dense = model.get_layer("dense")
    weights = dense.get_weights()
    dense.set_weights([-weights[0], np.zeros(1)])  # nothing in the calibration data lifts the logit above zero
    models["wake_word_absent"] = converted(saved(model, output / "absent"), samples())

    whole = network(streaming=False, slices=29)
    models["not_streaming"] = converted(saved(whole, output / "whole"), samples(slices=29))

    network().export(str(output / "export"), verbose=False)
    models["model_export"] = converted(str(output / "export"), samples())
    for name, content in models.items():
        (output / f"{name}.tflite").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
