"""From a checkpoint's weights to an int8 `.tflite` without TensorFlow, as TensorFlow's converter would have it.

`conversion` is the way in: `float_graph` puts the streaming network together as a float model, and `quantisation` makes
the int8 model of it. They follow the converter of tensorflow 2.19.1; where its rules stand is named beside each.
"""
