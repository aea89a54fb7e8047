"""From a checkpoint's weights to an int8 `.tflite` without TensorFlow, as TensorFlow's converter would have it.

`float_graph` puts the streaming network together as a float model, and `quantisation` makes the int8 model of it. What
they follow is the converter of tensorflow 2.19.1; where its rules stand is named beside each.
"""
