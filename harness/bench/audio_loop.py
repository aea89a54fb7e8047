"""A bare loop from sound to outputs: `audio_loop.py MODEL.tflite CLIP.wav`, with the packages of ESPHome's makers."""

import hashlib
import json
import sys
import time
import wave

import numpy as np
from pymicro_features import MicroFrontend
from tflite_micro import runtime


def main() -> None:
    """Print the sha256 of the outputs, and the seconds that it took."""
    model, clip = sys.argv[1:]
    started = time.perf_counter()
    interpreter = runtime.Interpreter.from_file(model)
    stride = interpreter.get_input_details(0)["shape"][1]
    frontend = MicroFrontend()
    pending = []
    outputs = bytearray()
    with wave.open(clip, "rb") as sound:
        while len(samples := sound.readframes(160)) == 320:  # 10 ms
            features = frontend.process_samples(samples).features
            if not features:
                continue
            raw = np.rint(np.array(features) * 25.6).astype(np.int32)
            pending.append(np.clip((raw * 256 + 333) // 666 - 128, -128, 127).astype(np.int8))
            if len(pending) == stride:
                interpreter.set_input(np.stack(pending)[None], 0)
                interpreter.invoke()
                outputs.append(interpreter.get_output(0)[0, 0])
                pending.clear()
    seconds = time.perf_counter() - started
    print(json.dumps({"outputs": {clip: hashlib.sha256(outputs).hexdigest()}, "seconds": seconds}))


if __name__ == "__main__":
    main()
