"""Clips over worker processes of a real Dask cluster give the run that one machine gives, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.check import check, check_models
from harness.cli import execute, mww
from harness.clips.npz import write_archive
from harness.report.bundle import write_report
from harness.run.cluster.parcels import PlacedFile
from harness.run.cluster.remote_calls import Scheduler
from harness.run.journal import NAME
from harness.run.options import RunOptions
from harness.run.recording import record
from harness.run.results import RunResult
from mww.core.errors import ClusterError, MissingPackageError, MwwError
from mww.esphome.model import load_model
from tests.support.needs import needs_cluster
from tests.support.waiting import wait_for

pytestmark = [
    needs_cluster,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Dask's own: sockets that it leaves to the collector
]


def document(folder: Path) -> dict[str, Any]:
    """A run.json, without what says of the time that it took."""
    results: dict[str, Any] = json.loads((folder / "run.json").read_text())
    for timed in ("started", "seconds", "files"):
        del results[timed]
    return results


def timeless(result: RunResult) -> RunResult:
    return replace(result, started="", seconds=0)


def killer(cluster: Any, after: int) -> Callable[[str, int, int], None]:
    """A listener to progress that kills one worker, as if its machine were gone."""
    import distributed

    with distributed.Client(cluster, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))

    def listen(model: str, done: int, total: int) -> None:
        if done == after:
            os.kill(victim, signal.SIGKILL)

    return listen


def test_a_worker_killed_in_the_middle_changes_nothing(
    models: Path, corpus: Path, workers: Any, tmp_path: Path
) -> None:
    model = models / "okay_nabu.json"
    alone = check(model, corpus, lead_in=1.0)
    spread = check(model, corpus, lead_in=1.0, cluster=workers.scheduler_address, progress=killer(workers, after=5))
    assert timeless(spread) == timeless(alone)
    for name, result in (("alone", alone), ("spread", spread)):
        write_report(tmp_path / name, [result])
    assert document(tmp_path / "spread") == document(tmp_path / "alone")
    assert [clip.status for clip in spread.clips].count("error") == 1
    assert spread.evaluation is not None


@pytest.mark.parametrize("options", [{"engine": "litert"}, {"vad": "hey_jarvis.json"}, {"chip": "esp32p4"}])
def test_engines_goldens_and_vad_run_on_the_workers(
    models: Path, clips: Path, workers: Any, options: dict[str, str]
) -> None:
    text: dict[str, Any] = {name: models / value if name == "vad" else value for name, value in options.items()}
    alone = check(models / "alexa.json", clips, **text)
    spread = check(models / "alexa.json", clips, cluster=workers.scheduler_address, **text)
    assert timeless(spread) == timeless(alone)
    for item, other in zip(alone.clips, spread.clips, strict=True):
        assert item.trace.outputs.tobytes() == other.trace.outputs.tobytes()


def test_features_goldens_and_arrays_are_clips_too(
    models: Path, clips: Path, workers: Any, spoken: tuple[np.ndarray[Any, Any], ...], tmp_path: Path
) -> None:
    write_archive(tmp_path / "features.npz", [("a", spoken[0]), ("b", spoken[1])])
    record(load_model(models / "okay_nabu.json"), clips, tmp_path / "golden.npz")
    for source in (tmp_path / "features.npz", tmp_path / "golden.npz", {"x": spoken[0], "y": spoken[1][:7]}):
        alone = check(models / "okay_nabu.json", source)
        assert timeless(check(models / "okay_nabu.json", source, cluster=workers.scheduler_address)) == timeless(alone)


def test_what_workers_do_not_see_is_sent(
    models: Path,
    corpus: Path,
    workers: Any,
    tmp_path: Path,
    spoken: tuple[np.ndarray[Any, Any], ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_archive(tmp_path / "features.npz", [("a", spoken[0]), ("b", spoken[1])])
    monkeypatch.setattr(PlacedFile, "__reduce__", elsewhere, raising=False)
    for source in (corpus, tmp_path / "features.npz"):
        alone = check(models / "okay_nabu.json", source)
        assert timeless(check(models / "okay_nabu.json", source, cluster=workers.scheduler_address)) == timeless(alone)


def elsewhere(file: PlacedFile) -> tuple[type[PlacedFile], tuple[object, ...]]:
    """Pickle a file as if the worker had another in its place."""
    return PlacedFile, (file.shown, file.path, file.size + 1, file.modified)


def test_files_in_memory_are_sent_and_urls_are_not(models: Path, clips: Path, workers: Any) -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    for path in clips.rglob("*.wav"):
        system.pipe_file(f"/spread/{path.relative_to(clips)}", path.read_bytes())
    for url in ("memory://spread", f"file://{clips}"):
        alone = check(models / "alexa.json", url)
        assert timeless(check(models / "alexa.json", url, cluster=workers.scheduler_address)) == timeless(alone)


def test_an_interrupted_run_goes_on_where_it_was(models: Path, corpus: Path, workers: Any, tmp_path: Path) -> None:
    done: list[int] = []

    def interrupt(model: str, finished: int, total: int) -> None:
        done.append(finished)
        if finished == 6:
            raise KeyboardInterrupt

    loaded, journal = load_model(models / "okay_nabu.json"), tmp_path / NAME
    options = RunOptions(unfinished=journal, cluster=workers.scheduler_address, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        check_models([loaded], corpus, options)
    assert len(journal.read_text().splitlines()) >= 5
    (resumed,) = check_models(
        [loaded], corpus, replace(options, progress=lambda model, finished, total: done.append(finished))
    )
    assert min(done[6:]) >= 6
    assert timeless(resumed) == timeless(check(loaded, corpus))


def test_a_scheduler_that_dies_is_one_error_and_what_finished_is_kept(
    models: Path, corpus: Path, tmp_path: Path
) -> None:
    port_file = tmp_path / "scheduler.json"
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    words += ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(port_file)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as scheduler:
        try:
            while not port_file.exists():
                time.sleep(0.1)
            worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(port_file)]
            worker += ["--nthreads", "1", "--no-dashboard", "--death-timeout", "60"]
            with subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:

                def kill(model: str, done: int, total: int) -> None:
                    if done == 5:
                        scheduler.kill()

                address = json.loads(port_file.read_text())["address"]
                options = RunOptions(unfinished=tmp_path / NAME, cluster=address, progress=kill)
                with pytest.raises(ClusterError, match="went away") as caught:
                    check_models([load_model(models / "okay_nabu.json")], corpus, options)
                assert "--resume" in (caught.value.hint or "")
                assert len((tmp_path / NAME).read_text().splitlines()) >= 5
                running.terminate()
        finally:
            scheduler.kill()


def test_a_clip_that_kills_every_worker_is_its_own_error(
    models: Path, clips: Path, corpus: Path, tmp_path: Path, poison: Path
) -> None:
    import dask
    import distributed

    folder = tmp_path / "clips"
    folder.mkdir()
    for path in sorted(corpus.rglob("*.wav"))[:6]:
        (folder / path.name).symlink_to(path)
    (folder / "03 poison.wav").symlink_to(corpus / "positive" / "03.wav")
    here: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": None, "silence_logs": 50}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, preload=str(poison), **here) as cluster,
    ):
        spread = check(models / "okay_nabu.json", folder, cluster=cluster.scheduler_address)
    alone = check(models / "okay_nabu.json", folder)
    dead = [clip for clip in spread.clips if clip.error and clip.error.code == "cluster"]
    assert [Path(clip.name).name for clip in dead] == ["03 poison.wav"]
    assert [clip for clip in spread.clips if clip not in dead] == [
        clip for clip in alone.clips if "poison" not in clip.name
    ]


def test_a_result_that_is_lost_with_its_worker_is_computed_again() -> None:
    import distributed

    here: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": None, "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, **here) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        scheduler = Scheduler(client, cluster.scheduler_address)
        future = scheduler.submit(os.getpid, key="pid")
        assert scheduler.finished() == [future]
        (first,) = scheduler.results([future])
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: future.status == "lost")
        (second,) = scheduler.results([future])
    assert second != first


def test_a_worker_with_other_versions_is_refused_by_name(
    models: Path, clips: Path, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mww.__version__", "0.0.1")
    with pytest.raises(ClusterError, match=r"worker tcp://127\.0\.0\.1:\d+ has mww-harness .*, not 0\.0\.1") as caught:
        check(models / "okay_nabu.json", clips, cluster=workers.scheduler_address)
    assert "same versions" in (caught.value.hint or "")


def test_a_cluster_without_workers_is_one_error(models: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    monkeypatch.setattr("harness.run.cluster.remote_calls.PATIENCE", 1.0)
    with (
        distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None, silence_logs=50) as cluster,
        pytest.raises(ClusterError, match="has had no worker for 1 s") as caught,
    ):
        check(models / "okay_nabu.json", clips, cluster=cluster.scheduler_address)
    assert "dask worker tcp://" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "tcp://user:pass@host:1"}, "no address of a cluster"),
        ({"cluster": "local:0"}, "no address of a cluster"),
        ({"cluster": "tcp://127.0.0.1:1"}, "no Dask scheduler answers"),
        ({"cluster": "local", "target": "/dev/ttyUSB0"}, "--cluster with the target /dev/ttyUSB0"),
        ({"cluster": "local", "jobs": 2}, "--jobs with --cluster"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    models: Path, clips: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run.cluster.connection.CONNECT_SECONDS", 1)
    with pytest.raises(MwwError, match=message):
        check(models / "okay_nabu.json", clips, **options)


def test_without_the_extra_its_name_is_told(models: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackageError) as caught:
        check(models / "okay_nabu.json", clips, cluster="local:1")
    assert "pip install 'mww-harness[cluster]'" in (caught.value.hint or "")


def test_the_command_line_says_the_same_with_local_workers(
    models: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, more in (("alone", []), ("spread", ["--cluster", "local:1"])):
        words = ["run", str(models / "alexa.json"), "--wav", str(clips), "--report", str(tmp_path / name), *more]
        assert execute(mww, words) == 0
        assert "PASS" in capsys.readouterr().out
    assert document(tmp_path / "spread") == document(tmp_path / "alone")
