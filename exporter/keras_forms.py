"""What differs between a network that is trained over a whole spectrogram and one that streams, as Keras layers.

Importing this module imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf


class Form(Protocol):
    """How a network sees time, and whether its norms are folded into convolutions."""

    folded: bool

    def buffer(self, net: Any, history: int) -> Any:
        """Put `history` earlier time steps in front, where they are not there already."""

    def look_back(self, net: Any, history: int) -> Any:
        """The same for a block, which training may pad."""

    def align(self, net: Any, steps: int, name: str) -> Any:
        """Bring a branch into step with one that lost `steps` time steps to blocks."""


class Valid:
    """Training without padding: every convolution in time makes it shorter."""

    folded = False

    def buffer(self, net: Any, history: int) -> Any:
        """Nothing: earlier time steps are part of the spectrogram."""
        return net

    look_back = buffer

    def align(self, net: Any, steps: int, name: str) -> Any:
        """Leave out the oldest time steps."""
        return Cut(steps, name=name)(net) if steps else net


class Causal(Valid):
    """Training with zeros in front of each block, which keeps time as long as it was."""

    def __init__(self) -> None:
        self._paddings = 0

    def look_back(self, net: Any, history: int) -> Any:
        """Zeros stand for the time steps before the spectrogram."""
        self._paddings += 1
        return keras.layers.ZeroPadding2D(((history, 0), (0, 0)), name=f"padding_{self._paddings}")(net)

    def align(self, net: Any, steps: int, name: str) -> Any:
        """Nothing: no time step is lost."""
        return net


class Streaming:
    """Streaming: ring buffers hold what came before; `stream`, `stream_1` ... are their names in the `.tflite`."""

    folded = True

    def __init__(self) -> None:
        self._buffers = 0

    def buffer(self, net: Any, history: int) -> Any:
        """Put a ring buffer in front."""
        if not history:
            return net
        name = f"stream_{self._buffers}" if self._buffers else "stream"
        self._buffers += 1
        return RingBuffer(history, name=name)(net)

    look_back = buffer

    def align(self, net: Any, steps: int, name: str) -> Any:
        """Nothing: every branch holds the newest time step alone."""
        return net


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
    """What a norm does at inference, for norms that cannot be folded into a convolution."""

    def build(self, shape: Sequence[int]) -> None:
        """Create scale and shift, float32 [entries of the last dimension]."""
        self.scale = self.add_weight(name="scale", shape=shape[-1:], trainable=False)
        self.shift = self.add_weight(name="shift", shape=shape[-1:], trainable=False)

    def call(self, inputs: Any) -> Any:
        """Return scale times inputs plus shift."""
        return inputs * self.scale + self.shift


class Cut(keras.layers.Layer):  # type: ignore[misc]
    """Leaves out the oldest time steps."""

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
        """Return one tensor a group."""
        groups: list[Any] = tf.split(inputs, self.sizes, axis=-1)
        return groups
