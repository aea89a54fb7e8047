"""The ESPHome process as a target: the suite that every place passes where a model can run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.targets.base import Target
from harness.targets.registry import TargetOptions, open_target
from tests.harness.targets.test_conformance import (  # noqa: F401 -- collected with this module's `runner`
    expected,
    frames,
    test_loading_again_begins_in_the_initial_state,
    test_no_frames_give_no_outputs,
    test_outputs_are_those_of_the_emulator_in_batches_of_any_size,
    test_the_state_is_kept_between_batches_and_gone_after_a_reset,
)
from tests.support.engine_server import EngineServer, TflmWorker
from tests.support.esphome_host import HostProcess
from tests.support.host_board import PARTITION_SIZE

pytestmark = pytest.mark.xdist_group("esphome-host")


@pytest.fixture(scope="module")
def runner(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    pytest.importorskip("tflite_micro", reason="tflite-micro, the device's own runtime, is not installed")
    folder = tmp_path_factory.mktemp("target")
    (flash := folder / "partition").write_bytes(b"\xff" * PARTITION_SIZE)
    with (
        EngineServer(folder / "engine", TflmWorker) as server,
        HostProcess(program, flash, server) as process,
        open_target(process.port, TargetOptions()) as target,
    ):
        yield target
