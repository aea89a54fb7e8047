"""TensorFlow without its chatter: a user who exports a model sees what the export has to say, and nothing else."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from exporter.errors import MissingPackageError


@contextlib.contextmanager
def tensorflow_quietly() -> Iterator[None]:
    """Import and use TensorFlow inside; its C++ parts write to file descriptor 2, which goes nowhere meanwhile.

    Raises:
        MissingPackageError: TensorFlow or Keras is not installed.
    """
    for package in ("tensorflow", "keras", "h5py"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(
                f"{package} is needed to export and is not installed", hint="pip install 'mww-harness[export]'"
            )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the export needs no GPU, and starting one takes seconds
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    with _silent_descriptor(2), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _silent_descriptor(descriptor: int) -> Iterator[None]:
    sys.stderr.flush()
    saved = os.dup(descriptor)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (a device, opened for its descriptor)
            os.dup2(nowhere.fileno(), descriptor)
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
