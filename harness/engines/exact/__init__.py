"""TFLite Micro's int8 arithmetic in numpy: whole clips at once, the same bytes.

`fixed_point` is the arithmetic, `float_form` its fast form with the proof, `requantiser` applies it to a block, `lines`
follows ring buffers, `kernels` holds the operators, `program` combines them, `engine` is what others use.
"""

from harness.engines.exact.blas import choose_kernels

choose_kernels()
