"""One POST, tried once, over a connection that stays open: what the webhook and OTLP have in common.

Redirects are not followed and proxies of the environment not used: what is sent goes where the operator said.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

import sri_sdk
from sri_sdk.errors import ConfigError, SriError

T = TypeVar("T")

MOST_READ = 2**16
"""Bytes of an answer that are read; nothing in a longer one is needed."""
LONGEST_WAIT_S = 600.0
"""Most seconds that `Retry-After` is obeyed."""
LARGEST_FILE = 2**16
"""Bytes of a file with headers or secrets."""
TRY_AGAIN = frozenset({401, 403, 404, 405, 407, 408, 421, 425, 429})
"""Statuses below 500 that say nothing about what was sent: too many or too early, or an address or a token that is
wrong or being replaced. Giving verdicts up for those would lose them all while somebody mends the file."""
_STALE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)
"""How a connection fails that the other side closed while nobody used it."""
_FRAMING = frozenset({"connection", "content-length", "host", "transfer-encoding", "upgrade"})
"""Headers that say where the request goes and where it ends: these are not the operator's."""
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")


class NotTaken(SriError):
    """It was not taken this time, and is to be sent again. The message has nothing of what was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said of what it got: 2xx, or a 4xx that another try would not mend."""

    status: int
    content: bytes
    """At most 64 KiB of it."""

    @property
    def taken(self) -> bool:
        """Whether it is safe there."""
        return 200 <= self.status < 300


class HttpOptions(sri_sdk.Config):
    """Options of sinks that post."""

    url: str = Field(description="https://HOST/PATH, or http where nothing secret is sent or the host is this one.")
    headers_file: Path | None = Field(
        default=None,
        description="File of further headers, one `Name: value` per line, such as Authorization. Read with each post.",
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file with certificates that may have signed the server's; null = the system's."
    )
    client_certificate: Path | None = Field(
        default=None, description="PEM file with a certificate and its key, for servers that ask for one."
    )
    timeout_s: float = Field(default=10.0, gt=0, le=120, description="Most seconds that one post takes.")
    batch: int = Field(default=100, ge=1, le=1000, description="Most observations in one post.")

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a user name or a password; write them into headers_file, as Authorization")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise ValueError("not an address; allowed: https://HOST/PATH, http://HOST/PATH")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("has characters that no address has; write them as %XX")
        _ = parts.port  # Raises ValueError where it is no number below 65536.
        return url

    @model_validator(mode="after")
    def _nothing_secret_in_the_open(self) -> HttpOptions:
        if self.url.startswith("https:"):
            return self
        for name in ("ca_file", "client_certificate"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for https, and the url is not; leave it out, or change the url")
        secret = "headers_file" if self.headers_file is not None else "texts" if getattr(self, "texts", False) else ""
        if secret and not _here(urlsplit(self.url).hostname or ""):
            raise ValueError(f"{secret} would travel unencrypted; use https")
        return self


class Poster:
    """Posts to one address; one thread at a time."""

    def __init__(self, options: HttpOptions, subject: str) -> None:
        """Takes where to; nobody is asked yet.

        Args:
            options: of the sink.
            subject: what errors call the sink.

        Raises:
            ConfigError: a file that is named cannot be read, or is not what it should be.
        """
        self._options, self._parts = options, urlsplit(options.url)
        self.where = f"{self._parts.scheme}://{self._parts.netloc}"
        """For messages: paths and queries may be secrets."""
        try:
            self._tls = _tls(options) if self._parts.scheme == "https" else None
            if options.headers_file is not None:
                headers_of(options.headers_file)
        except (OSError, ValueError) as err:
            raise ConfigError(f"{subject}: {said(err)}. Give files that this process can read.") from err
        self._lock = threading.Lock()
        self._open: http.client.HTTPConnection | None = None
        self._not_before = 0.0

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Posts once.

        Raises:
            NotTaken: no answer, one that asks for another try, or the time that it asked to wait is not over yet.
        """
        with self._lock:
            if (left := self._not_before - time.monotonic()) > 0:
                raise NotTaken(f"{self.where}: asked to wait; {left:.0f} s are left")
            more: dict[str, str] = {}
            if self._options.headers_file is not None:
                try:
                    more = headers_of(self._options.headers_file)
                except (OSError, ValueError) as err:
                    raise NotTaken(said(err)) from err
            try:
                ours = {name.lower() for name in headers}
                more = {name: value for name, value in more.items() if name.lower() not in ours}
                status, told, content = self._ask(body, {**more, **headers})
            except (OSError, http.client.HTTPException, ValueError) as err:
                self._close()
                raise NotTaken(f"{self.where}: {_why(err)}") from err
            except BaseException:
                self._close()
                raise
        if status < 200 or status >= 500 or status in TRY_AGAIN:
            self._not_before = time.monotonic() + seconds_of(told)
            raise NotTaken(f"{self.where}: answered {status}")
        if 300 <= status < 400:
            raise NotTaken(f"{self.where}: answered {status}; redirects are not followed, so write the new address")
        return Answer(status, content)

    def reach(self, timeout_s: float) -> str:
        """Connects, with TLS where the address has it, and sends nothing; says what was found.

        Args:
            timeout_s: seconds that it may take at most; no more than those of a post.

        Raises:
            NotTaken: nobody answers, or the certificate is not trusted.
        """
        asked = self._connection(min(timeout_s, self._options.timeout_s))
        try:
            asked.connect()
        except (OSError, ValueError) as err:
            raise NotTaken(f"{self.where}: {_why(err)}") from err
        finally:
            asked.close()
        return f"{self.where} answers; nothing was posted"

    def close(self) -> None:
        """Lets go of the connection; the next post opens another."""
        # Without the lock: a post that hangs ends this way. Closing alone would not wake who reads.
        if (asked := self._open) is not None:
            _shut(asked)
        self._close()

    def _ask(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None, bytes]:
        reused = self._open is not None and self._open.sock is not None
        try:
            return self._once(body, headers)
        except _STALE:
            if not reused:
                raise
        self._close()
        return self._once(body, headers)

    def _once(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None, bytes]:
        asked = self._open = self._open or self._connection(self._options.timeout_s)
        # The time of a socket counts between bytes: this one counts for the whole of it.
        late = threading.Event()
        timer = threading.Timer(self._options.timeout_s, _cut, (asked, late))
        timer.daemon = True
        timer.start()
        try:
            path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
            if asked.sock is None:
                asked.connect()
            if late.is_set():
                # Before there was anything to cut.
                raise TimeoutError
            asked.request("POST", path, body=body, headers=dict(headers))
            with asked.getresponse() as got:
                content = got.read(MOST_READ + 1)
            if len(content) > MOST_READ or got.will_close or self._open is not asked:
                self._close()
                asked.close()
            return got.status, got.headers.get("retry-after"), content[:MOST_READ]
        except (OSError, http.client.HTTPException, ValueError) as err:
            # `close` may have taken it out of our hands.
            asked.close()
            if late.is_set():
                raise TimeoutError from err
            raise
        finally:
            timer.cancel()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=timeout_s)

    def _close(self) -> None:
        before, self._open = self._open, None
        if before is not None:
            before.close()


def in_halves(some: Sequence[T], post: Callable[[Sequence[T]], Answer]) -> Iterator[tuple[Sequence[T], Answer]]:
    """Posts them, and what is refused again in halves, so that one that the other side refuses costs no other.

    Args:
        some: what is to be posted; nothing is where it is empty.
        post: posts a part of them, once.

    Yields:
        Parts that were taken, or single ones that were refused, and the answer.
    """
    if not some:
        return
    answer = post(some)
    if answer.taken or len(some) == 1:
        yield some, answer
        return
    half = len(some) // 2
    yield from in_halves(some[:half], post)
    yield from in_halves(some[half:], post)


def headers_of(path: Path) -> dict[str, str]:
    """The headers in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is no header; it is not shown.
    """
    found = {}
    for number, line in enumerate(lines_of(path), start=1):
        if line and not line.startswith("#"):
            match = _HEADER.fullmatch(line)
            if match is None or match[1].lower() in _FRAMING:
                raise ValueError(f"{path}: line {number} is not `Name: value` in printable ASCII, or is about the body")
            found[match[1]] = match[2]
    return found


def lines_of(path: Path) -> list[str]:
    """The lines of a small file of ASCII, without the space around them.

    Raises:
        OSError: it cannot be read.
        ValueError: too long, or not ASCII.
    """
    with path.open("rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE or not content.isascii():
        raise ValueError(f"{path}: more than {LARGEST_FILE} bytes, or not ASCII")
    return [line.strip() for line in content.decode("ascii").splitlines()]


def seconds_of(told: str | None) -> float:
    """Seconds that `Retry-After` asks to wait, as a number or as a date; 0 where it says nothing that can be read."""
    if told is None:
        return 0.0
    if told.strip().isdecimal():
        return min(float(told[:12]), LONGEST_WAIT_S)
    try:
        wait = parsedate_to_datetime(told).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wait, 0.0), LONGEST_WAIT_S)


def said(err: OSError | ValueError) -> str:
    """What went wrong with a file, and which."""
    if isinstance(err, OSError):
        return f"{err.filename or 'a file'}: {err.strerror or type(err).__name__}"
    return str(err)


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(options: HttpOptions) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=options.ca_file)
    if options.client_certificate is not None:
        # An empty password: without one, OpenSSL would ask for it on the terminal.
        made.load_cert_chain(options.client_certificate, password="")
    return made


def _cut(asked: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    _shut(asked)


def _shut(asked: http.client.HTTPConnection) -> None:
    with suppress(OSError, AttributeError):
        asked.sock.shutdown(socket.SHUT_RDWR)


def _why(err: Exception) -> str:
    """The kind of failure, and nothing of what the other side sent."""
    if isinstance(err, TimeoutError):
        return "no answer in time"
    if isinstance(err, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {err.verify_message}"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return type(err).__name__
