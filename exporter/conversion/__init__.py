"""From a network with weights to an int8 `.tflite`; `converters` is the way in.

`topology` says what a network is made of, `folding` and `ranges` what its weights and activations are; `direct` and
`by_tensorflow` make the same model of that, each in its own way.
"""
