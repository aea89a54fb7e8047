"""TensorFlow without its log output, so that a user sees only the messages of the export."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from mww.core.errors import MissingPackageError


@contextlib.contextmanager
def tensorflow_quietly() -> Iterator[None]:
    """A block for TensorFlow's import and use; its C++ code writes to file descriptor 2, which is silent there.

    Raises:
        MissingPackageError: TensorFlow or Keras is not installed.
    """
    for package in ("tensorflow", "keras"):
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(
                f"{package} is needed for this and is not installed", hint="pip install 'mww-harness[export]'"
            )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the export does not need a GPU, and its start takes seconds
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    with _silent_descriptor(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _silent_descriptor() -> Iterator[None]:
    """Point file descriptor 2 at /dev/null; `sys.stderr`, where progress is drawn, keeps its output."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # closed: nothing can be written there anyway
        yield
        return
    with os.fdopen(saved, "w", buffering=1, errors="replace") as own, contextlib.redirect_stderr(own):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        try:
            yield
        finally:
            os.dup2(saved, 2)
