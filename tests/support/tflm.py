"""tflite-micro's own interpreter on a model's bytes."""

import numpy as np
import numpy.typing as npt


def run_tflm(content: bytes, slices: npt.NDArray[np.int8], stride: int) -> npt.NDArray[np.int_]:
    """The outputs over int8 [slices, 40], one a frame."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=500_000)
    outputs = []
    for start in range(0, len(slices) - stride + 1, stride):
        interpreter.set_input(slices[None, start : start + stride], 0)
        interpreter.invoke()
        outputs.append(int(interpreter.get_output(0)[0, 0]))
    return np.array(outputs)
