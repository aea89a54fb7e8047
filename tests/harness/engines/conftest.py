from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def shared_engine() -> None:
    """Nothing is shared where processes are started and ended to look at them."""
