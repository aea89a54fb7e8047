"""A network to an int8 `.tflite` in one process without TensorFlow: float graph, ranges, int8 graph."""

from __future__ import annotations

from exporter.calibration.sets import RepresentativeDataset, check_shape
from exporter.checkpoint import Checkpoint
from exporter.conversion.direct.float_graph import float_model
from exporter.conversion.direct.quantisation import quantise
from exporter.conversion.folding import fold_norms
from exporter.conversion.ranges import calibrated_ranges, check_finite
from exporter.conversion.recovered_ranges import Ranges, ranges_of_tensors
from mww.core.progress import Phases
from mww.tflite.model_file import read_model


def convert_directly(checkpoint: Checkpoint, calibration: RepresentativeDataset | Ranges, phases: Phases) -> bytes:
    """Convert a network to int8.

    Raises:
        CalibrationError: The calibration is that of another network.
        ConversionError: The network's activations overflow.
    """
    with phases("network"):
        architecture = checkpoint.architecture
        model = read_model(float_model(architecture, fold_norms(architecture, checkpoint.weights)))
    with phases("calibrate"):
        if isinstance(calibration, RepresentativeDataset):
            check_shape(calibration.frames, model.main.tensors[model.main.inputs[0]].shape)
            ranges = calibrated_ranges(model, calibration.frames, open_logit=calibration.is_random)
        else:
            ranges = ranges_of_tensors(model, calibration)
        check_finite(ranges)
    with phases("quantise"):
        return quantise(model, ranges)
