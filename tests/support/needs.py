"""Marks for tests that need what may be absent; looking for a package does not import it."""

from importlib.util import find_spec

import pytest

needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="tensorflow is not installed")
needs_tflm = pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro is not installed")
