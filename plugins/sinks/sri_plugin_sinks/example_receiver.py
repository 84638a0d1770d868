"""A receiver in this process, for the conformance kit and for tests: it keeps what it gets, and answers as told."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from sri_plugin_sinks.queued import QueuedSink
from sri_sdk.strict_json import parse

S = TypeVar("S", bound=QueuedSink)


class Receiver:
    """Listens on a free port of this machine until it is closed."""

    def __init__(self, tls: Any = None) -> None:
        """Listens from now on; with an `ssl.SSLContext`, over TLS."""
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        """(path, headers by name in lower case, body) of every POST."""
        self.answers: deque[int | tuple[int, dict[str, str]] | None] = deque()
        """Statuses, perhaps with headers, of the next answers; None = hang up. 200 where none is left."""
        self.content = b""
        self.refuses: Callable[[bytes], bool] = lambda body: False
        """Whether a body is answered with 400."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"receiver": self}))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # Clients that hang up are no news.
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening; twice is fine."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def closed_with(self, sink: S) -> S:
        """The sink, whose `close` closes the receiver too."""
        let_go = sink._let_go

        def both() -> None:
            let_go()
            self.close()

        sink._let_go = both  # type: ignore[method-assign]
        return sink


def request_ids(receiver: Receiver) -> list[str]:
    """Request ids of the observations that a receiver of webhooks has, each observation once."""
    return list(_requests(receiver).values())


def observation_ids(receiver: Receiver) -> list[str]:
    """Ids of these observations."""
    return list(_requests(receiver))


def _requests(receiver: Receiver) -> dict[str, str]:
    return {
        each["id"]: each["verdict"]["request_id"]
        for _, _, body in receiver.posts
        for each in parse(body)["data"]["observations"]
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        found = self.receiver.answers.popleft() if self.receiver.answers else 200
        if found is None:
            self.close_connection = True
            return
        status, headers = found if isinstance(found, tuple) else (found, {})
        status = 400 if self.receiver.refuses(body) else status
        if status == 200:
            sent = {name.lower(): value for name, value in self.headers.items()}
            self.receiver.posts.append((self.path, sent, body))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(self.receiver.content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.receiver.content)
