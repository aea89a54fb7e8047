"""The official way: `official_export.py CHECKPOINT CALIBRATION.npz MODEL.tflite`, calibrated frame by frame.

The exporter builds the network and its weights, which are the same in both ways. Nearly all of the time is spent in
TensorFlow's converter, which runs the float model on each calibration frame.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import keras  # here, so that its import is not counted
import numpy as np
import tensorflow as tf

from exporter.checkpoint import load_checkpoint
from exporter.conversion import by_tensorflow, keras_network
from exporter.network.configuration import load_configuration
from exporter.tflite import create_representative_dataset_from_data


def main() -> None:
    """Write the model; print the seconds that it took after all imports."""
    checkpoint, calibration, target = map(Path, sys.argv[1:])
    started = time.perf_counter()
    configuration = load_configuration(checkpoint.with_name("training_config.yaml"))
    loaded = load_checkpoint(checkpoint, configuration.settings)
    features = np.load(calibration)["features"]
    dataset = create_representative_dataset_from_data(features, stride=loaded.architecture.stride, minimum=1)
    with tempfile.TemporaryDirectory() as folder:
        streaming = keras_network.build_streaming_network(loaded.architecture, loaded.weights)
        archive = keras.export.ExportArchive()
        archive.track(streaming)
        archive.add_endpoint("serve", streaming.call, [tf.TensorSpec(streaming.input.shape, tf.float32)])
        archive.write_out(folder)
        target.write_bytes(by_tensorflow.convert_per_frame(Path(folder), dataset))
    Path(f"{target}.json").write_text(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
