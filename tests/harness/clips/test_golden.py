from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.clips.golden import Golden, Provenance, RecordedClip, write_golden
from mww.core.errors import MwwError

PROVENANCE = Provenance("okay_nabu", "00" * 32, 3, "tflm", (("tflite-micro", "1"), ("pymicro-features", "2")), 0.5)
RANDOM = np.random.default_rng(0)
CLIPS = [
    RecordedClip(
        name, RANDOM.integers(-128, 128, (slices, 40), np.int8), RANDOM.integers(0, 256, slices // 3, np.uint8)
    )
    for name, slices in (("/tmp/a clip.wav", 10), ("../b", 3), ("none", 0))
]


def test_a_golden_comes_back_as_it_was(tmp_path: Path) -> None:
    write_golden(tmp_path / "golden.npz", PROVENANCE, CLIPS)
    golden = Golden.open(tmp_path / "golden.npz")
    assert golden.provenance == PROVENANCE
    assert [clip.name for clip in golden.clips] == [clip.name for clip in CLIPS]
    for clip, recorded in zip(golden.clips, CLIPS, strict=True):
        assert clip.lead_in == 0.5
        assert np.array_equal(np.concatenate([recorded.features[:0], *clip.blocks()]), recorded.features)
        assert np.array_equal(golden.outputs(clip.name), recorded.outputs)
    golden.close()


def test_nothing_is_left_of_one_that_fails(tmp_path: Path) -> None:
    def failing() -> object:
        yield CLIPS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_golden(tmp_path / "golden.npz", PROVENANCE, failing())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_is_more_than_an_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "golden.npz"
    write_golden(path, PROVENANCE, CLIPS)
    content = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        golden = Golden.open(path)
        for clip in golden.clips:
            list(clip.blocks())
            golden.outputs(clip.name)
        golden.close()
    except MwwError as error:
        assert error.code in ("golden", "features")
