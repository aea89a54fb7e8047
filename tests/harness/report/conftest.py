from __future__ import annotations

import pytest

from harness.run.results import RunResult
from tests.support.run_results import mixed_run, passing_run


@pytest.fixture
def passing() -> RunResult:
    return passing_run()


@pytest.fixture
def mixed() -> RunResult:
    return mixed_run()
