from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.engines.catalog import DEFAULT_ENGINE
from harness.engines.process import started_ahead


@pytest.fixture(scope="module", autouse=True)
def shared_engine() -> Iterator[None]:
    """The tests of a module run one after the other in the same processes of the interpreter, as the clips of a run."""
    with started_ahead(DEFAULT_ENGINE, 0):
        yield
