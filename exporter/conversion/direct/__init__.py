"""Converts a checkpoint's weights to an int8 `.tflite` without TensorFlow, with the same result.

`conversion` is the entry: `float_graph` builds the streaming network as a float model, and `quantisation` makes the
int8 model from it. They follow the converter of tensorflow 2.19.1; where its rules stand is named beside each.
"""
