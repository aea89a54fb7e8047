from __future__ import annotations

import pytest

from benchmarks.reliability.files import KINDS, try_files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_hostile_file_is_read_or_refused_with_one_error(kind: str) -> None:
    """All crafted ones and some mutated; `make reliability` tries thousands."""
    assert [lost for lost in try_files(kind, 60, seed=7) if lost] == []
