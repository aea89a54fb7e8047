"""TFLite Micro's int8 arithmetic in numpy: whole clips at once, the same bytes.

`fixed_point` is the arithmetic, `requantiser` its fast form with the proof, `lines` follows ring buffers, `kernels`
holds the operators, `program` puts them over a block of frames, `engine` is what others use.
"""
