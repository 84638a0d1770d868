"""Servers that a try-out starts, and ends again whatever happens."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit


class Server:
    """One process that listens on a port.

    Args:
        command: what to run.
        url: answers with 200 once it is ready.
        log: file for what it prints.
        environment: further variables.
        seconds: how long it may take to start.
    """

    def __init__(
        self, command: Sequence[str], url: str, log: Path, environment: Mapping[str, str] | None = None,
        seconds: float = 120.0,
    ) -> None:  # fmt: skip
        self._command, self._url, self._log, self._seconds = list(command), url, log, seconds
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it, and waits until it answers.

        Raises:
            RuntimeError: it ended, or never answered.
        """
        self._output = self._log.open("ab")
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._output, stderr=subprocess.STDOUT
        )
        until = time.monotonic() + self._seconds
        while not answers(self._url):
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{self._command[:3]} did not start; see {self._log}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends it; twice is fine."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None


def answers(url: str) -> bool:
    """Whether something at the URL answers a GET, with any status below 500."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port that nobody listens on, for a server that cannot choose its own."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
