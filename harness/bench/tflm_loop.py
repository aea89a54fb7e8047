"""A bare loop over TFLite Micro: `tflm_loop.py MODEL.tflite FEATURES.npz [PARTS PART]`, of the clips every PARTS-th."""

import hashlib
import json
import sys
import time

import numpy as np
from tflite_micro import runtime


def main() -> None:
    """Print the sha256 of each clip's outputs, their number, and the seconds that the loops took."""
    model, features, *share = sys.argv[1:]
    parts, part = map(int, share or ("1", "0"))
    outputs, seconds = {}, 0.0
    with open(model, "rb") as file:  # noqa: PTH123 -- as a user would write it
        content = file.read()
    archive = np.load(features)
    for name in archive.files[part::parts]:
        interpreter = runtime.Interpreter.from_bytes(content)
        stride = interpreter.get_input_details(0)["shape"][1]
        slices = archive[name]
        frames = slices[: len(slices) // stride * stride].reshape(-1, 1, stride, 40)
        started = time.perf_counter()
        result = bytearray()
        for frame in frames:
            interpreter.set_input(frame, 0)
            interpreter.invoke()
            result.append(interpreter.get_output(0)[0, 0])
        seconds += time.perf_counter() - started
        outputs[name] = hashlib.sha256(result).hexdigest()
    print(json.dumps({"outputs": outputs, "seconds": seconds}))


if __name__ == "__main__":
    main()
