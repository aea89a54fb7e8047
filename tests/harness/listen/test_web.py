"""The page of `mww listen --web`: what it serves and refuses, and how it looks in a real browser."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness.listen.web import ListenPage
from tests.harness.listen.test_listen import listen, spoken
from tests.support.waiting import PATIENCE

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = '<img src=x onerror="document.title=1">"\'&'
DETECTION = {"inference": 40, "time_s": 1.23, "average": 250, "maximum": 255, "vad_blocked": False}


def start(name: str = "okay_nabu") -> dict[str, Any]:
    return {"event": "start", "models": [{"name": name, "cutoff": 247, "sha256": "0" * 64}], "vad": None, "input": "-"}


def level(number: int, name: str = "okay_nabu") -> dict[str, Any]:
    share = number % 10 / 10
    facts = {"time_s": number / 10, "peak": share, "rms": share / 3, "dc": 0.01, "clipped": 0.0}
    return {"event": "level", **facts, "averages": {name: number * 3 % 256}}


@pytest.fixture
def page() -> Iterator[ListenPage]:
    with ListenPage(lambda model, cutoff: [dict(DETECTION, average=cutoff)][model:], saves=True) as page:
        yield page


def ask(
    url: str, what: str = "", *, method: str = "GET", host: str | None = None, origin: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    headers = {"Host": host or parts.netloc} | ({"Origin": origin} if origin else {})
    connection.request(method, parts.path + what, headers=headers)
    answer = connection.getresponse()
    content = answer.read() if what != "events" else b""
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def events(url: str, last: str) -> list[dict[str, Any]]:
    """What a page that is opened now gets, up to an event."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
    connection.request("GET", parts.path + "events")
    answer, results = connection.getresponse(), []
    while not results or results[-1]["event"] != last:
        line = answer.readline()
        if line.startswith(b"data: "):
            results.append(json.loads(line[6:]))
    connection.close()
    return results


def test_it_serves_this_machine_and_the_holder_of_the_address_alone(page: ListenPage) -> None:
    own, foreign = urlsplit(page.url), "http://evil.example"
    assert own.hostname == "127.0.0.1"
    status, headers, content = ask(page.url)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", headers["content-security-policy"])
    assert nonce is not None
    assert content.count(f'nonce="{nonce[1]}"'.encode()) == 2
    assert nonce[1].encode() not in ask(page.url)[2]
    assert not re.search(rb"https?://", content)
    root = f"http://{own.netloc}/"
    refused = [
        ask(root),
        ask(f"{root}{own.path.strip('/')}x/"),
        ask(page.url, host="evil.example"),
        ask(page.url, "judge?model=0&cutoff=200", origin=foreign),
        ask(page.url, "keep?label=positive", method="POST", origin=foreign),
        ask(page.url, "../" * 9 + "etc/passwd"),
    ]
    assert [status for status, *_ in refused] == [403] * len(refused)
    assert page.keep_requests.empty()


def test_it_judges_and_keeps_what_can_be_meant(page: ListenPage) -> None:
    assert json.loads(ask(page.url, "judge?model=0&cutoff=77")[2]) == [dict(DETECTION, average=77)]
    for query in ("", "model=0", "model=x&cutoff=1", "model=0&cutoff=" + "9" * 5000):
        assert ask(page.url, f"judge?{query}")[0] == 400
    assert ask(page.url, "keep?label=..%2F..", method="POST")[0] == 400
    assert (
        ask(
            page.url,
            "keep?label=negative",
            method="POST",
            origin=page.url.split("/", 3)[0] + "//" + urlsplit(page.url).netloc,
        )[0]
        == 200
    )
    assert page.keep_requests.get(timeout=PATIENCE) == "negative"


def test_a_page_that_is_opened_later_gets_what_it_missed(page: ListenPage) -> None:
    page.show(start())
    for number in range(2000):
        page.show(level(number))
    page.show({"event": "end", "time_s": 200.0})
    results = events(page.url, "end")
    assert results[0] == {**start(), "saves": True, "labels": ["positive", "negative"]}
    assert [event["time_s"] for event in results if event["event"] == "level"] == [n / 10 for n in range(800, 2000)]


def test_a_page_that_does_not_read_costs_nothing(page: ListenPage) -> None:
    page.show(start())
    while page.subscribe() is not None:  # as many pages as there may be
        pass
    for number in range(10_000):
        page.show(level(number))
    assert page.subscribe() is not None


def test_from_sound_to_the_page(models: Path, clips: Path, tmp_path: Path) -> None:
    """The real command: its page has the events of its JSON lines, judges as `mww run` does, and keeps sound."""
    words = [models / "okay_nabu.json", "--web", "--save", tmp_path / "kept"]
    command = [sys.executable, "-m", "harness.cli", "listen", *map(str, words), "--input", "-", "--jsonl"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        url = process.stderr.readline().decode().split()[0]
        process.stdin.write(spoken(clips))
        process.stdin.close()
        seen = events(url, "end")
        detections = [event for event in seen if event["event"] == "detection"]
        cutoff = seen[0]["models"][0]["cutoff"]
        judged = json.loads(ask(url, f"judge?model=0&cutoff={cutoff}")[2])
        everything = json.loads(ask(url, "judge?model=0&cutoff=1")[2])
        assert ask(url, "keep?label=positive", method="POST")[0] == 200
        while (saved := json.loads(process.stdout.readline())) and "positive" not in saved.get("path", ""):
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert [item["inference"] for item in judged] == [event["inference"] for event in detections] != []
    assert len(everything) > len(judged)
    assert Path(saved["path"]).parent == tmp_path / "kept" / "positive"
    _, lines = listen(models / "okay_nabu.json", sound=spoken(clips))
    assert [event for event in lines if event["event"] == "detection"] == detections


def close_once_it_is_shown(page: WatchedPage) -> None:
    """End the stream, which a browser that dumps its page waits for, once the page has asked for its judgements."""
    page.judged.wait(100)
    time.sleep(3)
    page.close()


class WatchedPage(ListenPage):
    """A page that notes when its last judgement is asked for: by the start, the detection and the end."""

    def __init__(self) -> None:
        self.judged = threading.Event()
        self._left = 3
        super().__init__(lambda model, cutoff: [DETECTION][model:], saves=True)

    def judge(self, model: int, cutoff: int) -> list[dict[str, Any]]:
        self._left -= 1
        if self._left <= 0:
            self.judged.set()
        return super().judge(model, cutoff)


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium: sudo apt-get install chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it(tmp_path: Path, dark: bool) -> None:
    page = WatchedPage()
    assert BROWSER is not None
    page.show(start(HOSTILE))
    for number in range(300):
        page.show(level(number, HOSTILE))
    page.show({"event": "detection", "model": HOSTILE, **DETECTION})
    page.show({"event": "end", "time_s": 30.0})
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    flags += ["--window-size=500,1200", "--virtual-time-budget=4000", f"--screenshot={tmp_path / 'page.png'}"]
    flags += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    threading.Thread(target=close_once_it_is_shown, args=[page], daemon=True).start()
    done = subprocess.run(
        [BROWSER, *flags, "--dump-dom", page.url], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "<title>mww listen</title>" in done.stdout
    assert "<img" not in done.stdout
    shown = unescape(done.stdout)
    assert f"<h2>{HOSTILE}</h2>" in shown
    assert ">detected</td>" in shown
    assert "1 detection with this cutoff in the sound so far" in shown
