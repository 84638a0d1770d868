"""A server that speaks the routes of `sri serve` that the client uses, and misbehaves on demand."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

HANG_UP = "hang up"
"""In place of a status: close the connection without a word."""


class Stub:
    """Remembers what it was sent. `answer(status)` makes it answer so from now on; `hold()` makes it answer nothing."""

    def __init__(self, path: Path | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.posts: list[dict[str, Any]] = []
        self.verdicts: dict[str, list[dict[str, Any]]] = {}
        self.beats: list[dict[str, Any]] = []
        self.scores: Callable[[list[dict[str, Any]]], Any] = clear_all
        self.refuse: Callable[[dict[str, Any]], bool] = lambda verdict: False
        self.found: Any = None
        self.script: list[Any] = []
        self.instead: list[Any] = []
        """Answers of something else at this address, one a request, each with status 200."""
        self.headers: dict[str, str] = {}
        self.token: str | None = None
        self._status: Any = 200
        self._free = threading.Event()
        self._free.set()
        self.changed = threading.Condition()
        handler = type("Handler", (_Handler,), {"stub": self})
        if path is None:
            self.server: Any = _Server(("127.0.0.1", 0), handler)
            self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_port}"
            if tls is not None:
                self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        else:
            self.server = _UnixServer(str(path), handler)
            self.url = f"unix:{path}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def answer(self, status: Any, **headers: str) -> None:
        self._status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}

    def hold(self) -> None:
        self._free.clear()

    def go_on(self) -> None:
        self._free.set()

    def stop(self) -> None:
        self._free.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def wait(self, true: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Waits until something holds; a busy machine may take long, so only failures take all of the time."""
        until = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until:
                return False
            time.sleep(0.005)
        return True

    @property
    def ids(self) -> list[str]:
        """Request ids that have arrived, in their order, copies too."""
        return [verdict["request_id"] for post in self.posts for verdict in post["verdicts"]]


def clear_all(lines: list[dict[str, Any]]) -> Any:
    """Scores everything clear."""
    verdicts = [{"request_id": line["id"], "status": "clear", "reasons": [], "score": 0.1} for line in lines]
    return {"verdicts": verdicts, "bundle": "0" * 64}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news."""


class _UnixServer(ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """As above."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: Stub

    def address_string(self) -> str:
        return "-"

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("content-length", 0))))

    def _serve(self, body: bytes) -> None:
        stub = self.stub
        stub.requests.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        stub._free.wait(30)
        status = stub.script.pop(0) if stub.script else stub._status
        if status is HANG_UP:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if stub.token is not None and self.headers.get("authorization") != f"Bearer {stub.token}":
            status = 401
        answer: Any = {"error": "make-believe"}
        if status == 200 and stub.instead:
            answer = stub.instead.pop(0)
        elif status == 200:
            status, answer = self._answer(body)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **stub.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body: bytes) -> tuple[int, Any]:
        stub, parts = self.stub, urlsplit(self.path)
        if parts.path == "/v1/heartbeats":
            stub.beats.append(json.loads(body))
            return 200, {}
        if parts.path == "/v1/signals":
            lines = [json.loads(line) for line in body.splitlines()]
            return 200, stub.scores([line for line in lines if "sri_signals" not in line])
        if parts.path == "/v1/verdicts":
            return self._store(json.loads(body))
        wanted = unquote(parts.path.removeprefix("/v1/verdicts/"))
        until = time.monotonic() + int(parse_qs(parts.query).get("wait_ms", ["0"])[0]) / 1000
        with stub.changed:
            while wanted not in stub.verdicts and (left := until - time.monotonic()) > 0:
                stub.changed.wait(left)
        if stub.found is not None:
            return 200, stub.found
        found = stub.verdicts.get(wanted)
        if found is None:
            return 404, {"id": wanted, "verdict": {"status": "unmonitored", "reasons": ["no_verdict"]}}
        return 200, {"id": wanted, "verdict": found[-1], "verdicts": len(found), "seq": 1, "received_at": 0}

    def _store(self, post: dict[str, Any]) -> tuple[int, Any]:
        stub = self.stub
        if any(stub.refuse(verdict) for verdict in post["verdicts"]):
            return 400, {"error": "make-believe"}
        stored = 0
        with stub.changed:
            stub.posts.append(post)
            for verdict in post["verdicts"]:
                known = stub.verdicts.setdefault(verdict["request_id"], [])
                if verdict not in known:
                    known.append(verdict)
                    stored += 1
            stub.changed.notify_all()
        return 200, {"stored": stored, "known": len(post["verdicts"]) - stored}
