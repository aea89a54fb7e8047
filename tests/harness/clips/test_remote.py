from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from harness.check import check
from harness.clips.clip import audio_clips
from harness.clips.npz import write_archive
from harness.clips.remote import RemoteFile, is_url, remote_file, without_secrets
from harness.clips.sources import open_clips
from harness.run.results import RunResult
from mww.core.errors import AudioError, FeatureError, InputError, MissingPackageError
from mww.esphome.frontend import wav_to_features
from tests.support.needs import needs_cluster

pytestmark = needs_cluster


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of the folder `tmp_path`, which lists folders and gives whole files only."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def corpus(clips: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "corpus" / "positive"
    (folder / "deeper").mkdir(parents=True)
    for number, path in enumerate(sorted((clips / "okay_nabu").rglob("*.wav"))[:3]):
        place = folder / "deeper" if number == 1 else folder
        (place / f"{number} a?&#%41.wav").write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("no clip")
    return folder.parent


def in_memory(corpus: Path, name: str) -> str:
    import fsspec

    system = fsspec.filesystem("memory")
    for path in corpus.rglob("*.wav"):
        system.pipe_file(f"/{name}/{path.relative_to(corpus)}", path.read_bytes())
    return f"memory://{name}"


def facts(result: RunResult, base: str) -> list[tuple[object, ...]]:
    """What a run says of its clips, by their names below `base`."""
    return [
        (clip.name.removeprefix(base), clip.frames_sha256, clip.outputs_sha256, clip.detections)
        for clip in result.clips
    ]


def test_a_folder_gives_the_same_from_wherever_it_is_read(models: Path, corpus: Path, web: str) -> None:
    model = models / "okay_nabu.json"
    here = check(model, corpus, lead_in=1.0)
    assert len(here.clips) == 3
    assert here.evaluation is not None
    for url in (f"file://{corpus}", in_memory(corpus, "same")):
        there = check(model, url, lead_in=1.0, jobs=2)
        assert facts(there, url) == facts(here, str(corpus))
        assert there.evaluation == here.evaluation
    named = check(model, f"{web}/corpus/", lead_in=1.0)  # in the page the names are quoted
    assert [fact[1:] for fact in facts(named, "")] == [fact[1:] for fact in facts(here, "")]


def test_a_file_by_url_is_one_clip(corpus: Path, web: str, clips: Path) -> None:
    (corpus / "one.wav").write_bytes(sorted(clips.rglob("*.wav"))[0].read_bytes())
    (clip,) = audio_clips([f"{web}/corpus/one.wav?token=secret"])
    assert clip.name == f"{web}/corpus/one.wav"
    assert "secret" not in repr(clip)
    assert np.array_equal(wav_to_features(clip.path), wav_to_features(corpus / "one.wav"))


def test_features_and_goldens_are_read_by_url(tmp_path: Path, web: str) -> None:
    slices = np.arange(400, dtype=np.int8).reshape(10, 40)
    write_archive(tmp_path / "features.npz", [("clip", slices)])
    for url in (f"{web}/features.npz?token=secret", f"file://{tmp_path}/features.npz"):
        with ExitStack() as stack:
            ((clip,), golden) = open_clips(url, 0.0, stack)
            assert golden is None
            assert np.array_equal(np.concatenate(list(clip.blocks())), slices)
    with (
        ExitStack() as stack,
        pytest.raises(FeatureError, match=r"absent\.npz: No such file") as caught,
    ):
        open_clips(f"{web}/absent.npz?token=secret", 0.0, stack)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/clips/a.wav", "s3://bucket/clips/a.wav"),
        ("https://user:pass@host/a.wav", "https://host/a.wav"),
        ("https://user:p#?ss@host/a", "https://host/a"),
        ("https://user:p@ss@host:80/a@b.wav?X-Amz-Signature=1#f", "https://host:80/a@b.wav"),
        ("ftp://me@host/", "ftp://host/"),
        ("simplecache::https://t:u@host/x?sig=1", "simplecache::https://host/x"),
        ("zip://a.wav::s3://key:secret@bucket/x.zip?versionId=2", "zip://a.wav::s3://bucket/x.zip"),
        ("s3://bucket/no#1.wav", "s3://bucket/no#1.wav"),
        ("HTTPS://user@host/a?b", "HTTPS://host/a"),
    ],
)
def test_what_is_shown_of_a_url_holds_no_secrets(url: str, shown: str) -> None:
    assert is_url(url)
    assert without_secrets(url) == shown


@pytest.mark.parametrize("path", ["clips", "/clips/a.wav", "./s3/b", "C:/clips", "a::b.wav", "", "://x"])
def test_paths_are_no_urls(path: str) -> None:
    assert not is_url(path)


def test_clips_that_differ_in_what_is_not_shown_keep_names_apart(corpus: Path, web: str, clips: Path) -> None:
    (corpus / "one.wav").write_bytes(sorted(clips.rglob("*.wav"))[0].read_bytes())
    results = audio_clips([f"{web}/corpus/one.wav?id={number}" for number in range(3)])
    assert [clip.name.removeprefix(web) for clip in results] == [
        "/corpus/one.wav",
        "/corpus/one.wav#2",
        "/corpus/one.wav#3",
    ]


def test_what_is_not_there_is_one_error_without_secrets(corpus: Path, web: str) -> None:
    for url, message in (
        (f"{web}/absent.wav?token=secret", "does not exist"),
        (f"{web}/absent/", "does not exist|has no sound"),
        (f"{web}/corpus/?token=secret", "folder with a query"),
        (f"file://{corpus}/positive/absent", "does not exist"),
        ("memory://nothing/here", "does not exist|has no sound"),
        ("http://user:secret@127.0.0.1:9/a.wav", "cannot be reached"),
    ):
        with pytest.raises(AudioError, match=message) as caught:
            audio_clips([url])
        assert "secret" not in f"{caught.value} {caught.value.hint}"
    with pytest.raises(InputError, match="fsspec does not read"):
        audio_clips(["nonsense://secret@x/a.wav"])


def test_what_vanishes_is_the_clips_error(models: Path, corpus: Path, web: str) -> None:
    import fsspec

    url = in_memory(corpus, "vanishing")
    results = audio_clips([url])
    fsspec.filesystem("memory").rm("/vanishing/positive/0 a?&#%41.wav")
    with pytest.raises(AudioError, match=f"cannot read {url}/positive/0 .*: No such file or directory"):
        list(results[0].blocks())


def test_a_page_of_links_cannot_name_files_elsewhere(tmp_path: Path, web: str, clips: Path) -> None:
    (tmp_path / "outside.wav").write_bytes(b"")
    folder = tmp_path / "listed"
    folder.mkdir()
    (folder / "good.wav").write_bytes(sorted(clips.rglob("*.wav"))[0].read_bytes())
    elsewhere = ("../outside.wav", "%2e%2e/outside.wav", "/outside.wav", "http://other.invalid/a.wav", "./")
    (folder / "index.html").write_text("".join(f'<a href="{link}">x</a>' for link in ("good.wav?sort=1", *elsewhere)))
    assert [clip.name for clip in audio_clips([f"{web}/listed/"])] == [f"{web}/listed/good.wav"]


def test_large_files_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.clips.remote.WHOLE", 1000)
    (tmp_path / "large").write_bytes(bytes(range(256)) * 100)
    file = remote_file(f"file://{tmp_path}/large")
    assert file.size == 25_600
    with file.open("rb") as stream:
        stream.seek(-256, 2)
        assert stream.read() == bytes(range(256))
        stream.seek(3)
        assert stream.read(2) == b"\x03\x04"


def test_a_server_that_says_no_sizes_is_read_so_far_as_memory_allows(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(bytes(2_000_000))
    file = RemoteFile("a", f"{web}/a", f"{web}/a")
    with file.open("rb") as stream:
        assert len(stream.read()) == 2_000_000
    monkeypatch.setattr("harness.clips.remote.WHOLE", 1_000_000)
    with pytest.raises(OSError, match="File too large"):
        file.open("rb")


def test_without_the_extra_paths_work_and_urls_name_it(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    assert len(audio_clips([corpus])) == 3
    with pytest.raises(MissingPackageError, match=r"s3://bucket/a\.wav is a URL") as caught:
        audio_clips(["s3://key:secret@bucket/a.wav"])
    assert caught.value.hint == "pip install 'mww-harness[cluster]'"
