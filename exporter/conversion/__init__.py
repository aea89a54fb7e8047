"""From a network with weights to an int8 `.tflite`; `converters` is the way in.

`topology` describes a network's operators, `folding` and `ranges` give its weights and activation ranges; `direct` and
`by_tensorflow` both make the same model from these.
"""
