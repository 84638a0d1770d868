"""One connection to `sri serve`, kept open between requests: over TCP, TLS or a unix socket."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from sri_sdk.client.address import Address

MOST_ANSWER = 2**24
"""Most bytes of one answer that are read."""
_STALE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)
"""How a connection fails that the server closed while nobody used it."""


class Unreachable(Exception):
    """No answer came: refused, cut off, timed out, or not HTTP. The message holds nothing that was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes


class Connection:
    """Asks one question at a time. Another thread may `cut` it."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        self._address, self._tls = address, tls
        self._lock = threading.Lock()
        self._cut = False
        self._open: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float) -> Answer:
        """Sends a request and reads the whole answer.

        `timeout_s` counts between bytes, so a server that trickles takes longer: who must not wait cuts the connection.

        Raises:
            Unreachable: no whole answer came.
        """
        with self._lock:
            self._cut = False
        reused = self._open is not None and self._open.sock is not None
        try:
            try:
                return self._once(method, path, body, headers, timeout_s)
            except _STALE:
                if not reused or self._cut:
                    raise
            # The server closed it while it was idle, so this was not asked yet; nothing else is asked twice here.
            self.close()
            return self._once(method, path, body, headers, timeout_s)
        except (OSError, http.client.HTTPException, ValueError) as err:
            self.close()
            raise Unreachable(_why(err)) from err
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        """Ends what another thread waits for here."""
        with self._lock:
            self._cut = True
            sock = None if self._open is None else self._open.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Lets go of the socket; the next question opens another."""
        with self._lock:
            before, self._open = self._open, None
        if before is not None:
            before.close()

    def forget(self) -> None:
        """In a forked child: lets go of the parent's socket. Takes no lock, since nobody here could free it."""
        if self._open is not None and self._open.sock is not None:
            self._open.sock.close()

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float) -> Answer:
        if self._open is None:
            made = _connection(self._address, self._tls, timeout_s)
            with self._lock:
                self._open = made
        asked = self._open
        assert asked is not None
        asked.timeout = timeout_s
        if asked.sock is not None:
            asked.sock.settimeout(timeout_s)
        asked.request(method, self._address.prefix + path, body=body, headers=dict(headers))
        got = asked.getresponse()
        content = got.read(MOST_ANSWER + 1)
        if len(content) > MOST_ANSWER:
            raise ValueError(f"an answer of more than {MOST_ANSWER} bytes")
        if got.will_close:
            self.close()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, content)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


def _connection(address: Address, tls: ssl.SSLContext | None, timeout_s: float) -> http.client.HTTPConnection:
    if address.scheme == "unix":
        return _UnixConnection(address.host, timeout_s)
    if address.scheme == "https":
        return http.client.HTTPSConnection(address.host, address.port, timeout=timeout_s, context=tls)
    return http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)


def _why(err: Exception) -> str:
    """The kind of failure, and no more of what the other side sent."""
    if isinstance(err, TimeoutError):
        return "no answer in time"
    if isinstance(err, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {err.verify_message}"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return type(err).__name__
