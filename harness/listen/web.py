"""A page for this machine only: level, probabilities, detections, a cutoff to try, recordings.

It is a server of the standard library on loopback. Its address contains a secret, so that neither another user of the
machine nor a page of another site reaches it; requests with a foreign `Host` or `Origin` are refused as well.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from harness.listen.keeping import LABELS
from mww.core.closing import Closing
from mww.core.errors import UsageError

Event = dict[str, Any]
Judge = Callable[[int, int], list[Event]]
"""Takes a model's number and a cutoff byte; gives the detections with this cutoff for the sound so far."""

HOST: Final = "127.0.0.1"
_PAGE: Final = Path(__file__).parent / "templates" / "listen.html"
_LEVELS_KEPT: Final = 1200
"""Number of levels, two minutes, for a page that is opened later."""
_EVENTS_KEPT: Final = 1000
_WAITING: Final = 400
"""Events that may wait for a page before it is disconnected."""
_PAGES: Final = 8
_HEARTBEAT_SECONDS: Final = 5.0


class ListenPage(Closing):
    """The server, in its own threads. `keep_requests` holds the labels of recordings that its pages request."""

    def __init__(self, judge: Judge, *, saves: bool) -> None:
        """Start the server; it calls `judge` in one of its threads.

        Raises:
            UsageError: No port of this machine can be opened.
        """
        self.keep_requests: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._judge = judge
        self._saves = saves
        self._secret = secrets.token_urlsafe(16)
        self._lock = threading.Lock()
        self._levels: deque[Event] = deque(maxlen=_LEVELS_KEPT)
        self._others: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._start: Event | None = None
        self._pages: list[queue.Queue[Event | None]] = []
        try:
            self._server = _Server((HOST, 0), self)
        except OSError as error:
            raise UsageError(f"cannot serve a page: {error.strerror}", hint="leave --web out") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="mww-listen-page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self._server.server_port}/{self._secret}/"

    def show(self, event: Event) -> None:
        """Send an event to every page, and store it for pages that are opened later."""
        with self._lock:
            if event["event"] == "start":
                self._start = {**event, "saves": self._saves, "labels": list(LABELS)}
                event = self._start
            elif event["event"] == "level":
                self._levels.append(event)
            else:
                self._others.append(event)
            for page in list(self._pages):
                try:
                    page.put_nowait(event)
                except queue.Full:
                    self._pages.remove(page)

    def close(self) -> None:
        """End the server and every page's stream; harmless a second time."""
        with self._lock:
            for page in self._pages:
                _end(page)
            self._pages.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def allows(self, host: str | None, origin: str | None) -> bool:
        """Whether a request came from the page, or from its address typed into a browser."""
        own = {f"{name}:{self._server.server_port}" for name in (HOST, "localhost")}
        return host in own and (origin is None or origin in {f"http://{name}" for name in own})

    def route(self, path: str) -> str | None:
        """The resource of a path: `""` for the page itself; None without the secret."""
        secret, slash, rest = path.removeprefix("/").partition("/")
        return rest if slash and secrets.compare_digest(secret.encode(), self._secret.encode()) else None

    def judge(self, model: int, cutoff: int) -> list[Event]:
        """See `Judge`."""
        return self._judge(model, cutoff)

    def subscribe(self) -> queue.Queue[Event | None] | None:
        """The earlier and later events for a new page, with None at the end; None where there are too many pages."""
        page: queue.Queue[Event | None] = queue.Queue(_WAITING + _LEVELS_KEPT + _EVENTS_KEPT)
        with self._lock:
            if len(self._pages) >= _PAGES:
                return None
            for event in ([self._start] if self._start else []) + [*self._levels, *self._others]:
                page.put_nowait(event)
            self._pages.append(page)
        return page

    def unsubscribe(self, page: queue.Queue[Event | None]) -> None:
        """A page was closed."""
        with self._lock:
            if page in self._pages:
                self._pages.remove(page)


def _end(page: queue.Queue[Event | None]) -> None:
    while True:
        try:
            return page.put_nowait(None)
        except queue.Full:
            page.get_nowait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], page: ListenPage) -> None:
        self.page = page
        super().__init__(address, _Request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not report a browser that disconnects."""


class _Request(BaseHTTPRequestHandler):
    """Serves a request; HTTP 1.0, so that each request has its own connection."""

    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        """Answer with the page, its events, or a judgement."""
        page, what, query = self.server.page, *self._asked()
        if what == "":
            self._page()
        elif what == "events":
            self._events()
        elif what == "judge":
            try:
                model, cutoff = int(query["model"][0]), int(query["cutoff"][0])
                detections = page.judge(model, cutoff)
            except (KeyError, ValueError, IndexError):
                self._refuse(HTTPStatus.BAD_REQUEST)
            else:
                self._answer(json.dumps(detections).encode(), "application/json")
        else:
            self._refuse(HTTPStatus.FORBIDDEN)

    def do_POST(self) -> None:
        """Save the last seconds of sound under a label."""
        what, query = self._asked()
        label = query.get("label", [""])[0]
        if what != "keep":
            self._refuse(HTTPStatus.FORBIDDEN)
        elif label not in LABELS:
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            self.server.page.keep_requests.put(label)
            self._answer(b"{}", "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""

    def _asked(self) -> tuple[str | None, dict[str, list[str]]]:
        """The requested resource, None where it must not be answered, and its parameters."""
        parts = urlsplit(self.path)
        allowed = self.server.page.allows(self.headers.get("Host"), self.headers.get("Origin"))
        return self.server.page.route(parts.path) if allowed else None, parse_qs(parts.query, max_num_fields=8)

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'"
        content = _PAGE.read_text(encoding="utf-8").replace("{{ nonce }}", nonce)
        self._answer(content.encode(), "text/html; charset=utf-8", policy)

    def _events(self) -> None:
        queued = self.server.page.subscribe()
        if queued is None:
            return self._refuse(HTTPStatus.TOO_MANY_REQUESTS)
        try:
            self._head("text/event-stream")
            while True:
                try:
                    event = queued.get(timeout=_HEARTBEAT_SECONDS)
                except queue.Empty:
                    self.wfile.write(b": still there\n\n")
                    continue
                if event is None:
                    break
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        except OSError:  # the page was closed
            pass
        finally:
            self.server.page.unsubscribe(queued)
        return None

    def _answer(self, content: bytes, kind: str, policy: str = "default-src 'none'") -> None:
        self._head(kind, policy, ("Content-Length", str(len(content))))
        self.wfile.write(content)

    def _head(self, kind: str, policy: str = "default-src 'none'", *more: tuple[str, str]) -> None:
        self.send_response(HTTPStatus.OK)
        fixed = (
            ("Content-Type", kind),
            ("Content-Security-Policy", f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        )
        for name, value in (*fixed, *more):
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_error(status)
