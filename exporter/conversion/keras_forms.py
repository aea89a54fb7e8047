"""The layers of `exporter.conversion.topology` as Keras makes them: trained over a whole spectrogram, or streaming.

Importing this module imports TensorFlow. Every layer has the name of its role, so that names, and with them the bytes
of an export, do not depend on what was built before in the same process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from exporter.conversion.topology import Padding
from exporter.network.architecture import NORM_EPSILON, Weights

_POOLS = {"average": keras.layers.AveragePooling2D, "max": keras.layers.MaxPooling2D}


class Valid:
    """Training without padding: every convolution in time shortens the spectrogram."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def shape(self, data: Any) -> tuple[int, int, int]:
        """Time steps, width and channels."""
        _, time, width, channels = data.shape
        return time, width, channels

    def buffer(self, data: Any, history: int) -> Any:
        """Return the data: earlier time steps are part of the spectrogram."""
        return data

    look_back = buffer

    def align(self, data: Any, steps: int, role: str) -> Any:
        """Drop the oldest time steps."""
        return self.cut(data, steps, role) if steps else data

    def convolution(
        self, data: Any, role: str, *, stride: int = 1, dilation: int = 1, padding: Padding = "valid"
    ) -> Any:
        """Convolve in time."""
        kernel, *bias = self._weights[role]
        layer = keras.layers.Conv2D(
            kernel.shape[3],
            kernel.shape[:2],
            strides=(stride, 1),
            dilation_rate=(dilation, 1),
            padding=padding,
            use_bias=bool(bias),
            name=role,
        )
        return layer(data)

    def depthwise(self, data: Any, role: str) -> Any:
        """Convolve each channel separately in time."""
        kernel, *bias = self._weights[role]
        return keras.layers.DepthwiseConv2D(kernel.shape[:2], use_bias=bool(bias), name=role)(data)

    def norm(self, data: Any, role: str) -> Any:
        """Normalise."""
        return keras.layers.BatchNormalization(epsilon=NORM_EPSILON, name=role)(data)

    def relu(self, data: Any, role: str) -> Any:
        """Apply ReLU."""
        return keras.layers.ReLU(name=role)(data)

    def sigmoid(self, data: Any, role: str) -> Any:
        """Apply the sigmoid."""
        return keras.layers.Activation("sigmoid", name=role)(data)

    def add(self, data: Any, other: Any, role: str) -> Any:
        """Add."""
        return keras.layers.Add(name=role)([data, other])

    def multiply(self, data: Any, other: Any, role: str) -> Any:
        """Multiply."""
        return keras.layers.Multiply(name=role)([data, other])

    def concatenate(self, parts: Sequence[Any], role: str) -> Any:
        """Concatenate channels."""
        return keras.layers.Concatenate(name=role)(list(parts))

    def split(self, data: Any, sizes: Sequence[int], role: str) -> Sequence[Any]:
        """Split the channels."""
        parts: Sequence[Any] = Split(sizes, name=role)(data)
        return parts

    def cut(self, data: Any, steps: int, role: str) -> Any:
        """Leave out the oldest time steps."""
        return Cut(steps, name=role)(data)

    def reshape(self, data: Any, shape: tuple[int, int, int], role: str) -> Any:
        """Reshape the values."""
        return keras.layers.Reshape(shape, name=role)(data)

    def pool(self, data: Any, kind: Literal["average", "max"], window: tuple[int, int], role: str) -> Any:
        """Pool each window to one value."""
        return _POOLS[kind](window, name=role)(data)

    def dense(self, data: Any, role: str) -> Any:
        """Apply the dense layer and the sigmoid."""
        flat = keras.layers.Flatten(name="flatten")(data)
        return keras.layers.Dense(1, activation="sigmoid", name=role)(flat)


class Causal(Valid):
    """Training with zeros in front of each block, which keep the number of time steps."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self._paddings = 0

    def look_back(self, data: Any, history: int) -> Any:
        """Add zeros for the time steps before the spectrogram."""
        self._paddings += 1
        return keras.layers.ZeroPadding2D(((history, 0), (0, 0)), name=f"padding_{self._paddings}")(data)

    def align(self, data: Any, steps: int, role: str) -> Any:
        """Return the data: no time step is lost."""
        return data


class Streaming(Valid):
    """Streaming: ring buffers hold earlier time steps; `stream`, `stream_1` ... are their names in the `.tflite`."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self._buffers = 0

    def buffer(self, data: Any, history: int) -> Any:
        """Add a ring buffer in front."""
        if not history:
            return data
        name = f"stream_{self._buffers}" if self._buffers else "stream"
        self._buffers += 1
        return RingBuffer(history, name=name)(data)

    look_back = buffer

    def align(self, data: Any, steps: int, role: str) -> Any:
        """Return the data: every branch holds only the newest time step."""
        return data

    def norm(self, data: Any, role: str) -> Any:
        """Scale and shift with the norm's parameters, unless it was folded."""
        return ScaleAndShift(name=role)(data) if role in self._weights else data


class RingBuffer(keras.layers.Layer):  # type: ignore[misc]
    """Puts earlier time steps in front of the new ones, and keeps the newest `history` for the next frame."""

    def __init__(self, history: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.history = history

    def build(self, shape: Sequence[int]) -> None:
        """Create the state, float32 [1, history, 1, channels], which starts at zero."""
        state = (1, self.history, *shape[2:])
        self.states = self.add_weight(name="states", shape=state, initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        """Return [1, history + new, 1, channels]."""
        memory = tf.concat([self.states, inputs], axis=1)
        update = self.states.assign(memory[:, -self.history :])
        with tf.control_dependencies([update]):
            return tf.identity(memory)


class ScaleAndShift(keras.layers.Layer):  # type: ignore[misc]
    """A norm at inference, for norms that cannot be folded into a convolution."""

    def build(self, shape: Sequence[int]) -> None:
        """Create scale and shift, float32 [entries of the last dimension]."""
        self.scale = self.add_weight(name="scale", shape=shape[-1:], trainable=False)
        self.shift = self.add_weight(name="shift", shape=shape[-1:], trainable=False)

    def call(self, inputs: Any) -> Any:
        """Return scale times inputs plus shift."""
        return inputs * self.scale + self.shift


class Cut(keras.layers.Layer):  # type: ignore[misc]
    """Drops the oldest time steps."""

    def __init__(self, steps: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = steps

    def call(self, inputs: Any) -> Any:
        """Return the time steps from `steps` on."""
        return inputs[:, self.steps :]


class Split(keras.layers.Layer):  # type: ignore[misc]
    """Splits the channels into groups of given sizes."""

    def __init__(self, sizes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes = list(sizes)

    def call(self, inputs: Any) -> list[Any]:
        """Return a tensor for each group."""
        groups: list[Any] = tf.split(inputs, self.sizes, axis=-1)
        return groups
