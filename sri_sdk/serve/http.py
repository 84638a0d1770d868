"""One HTTP request, and one answer, as handlers see them. Handlers are `async def handler(request) -> Answer`.

A handler refuses with `raise Refusal(status, message)`; the client reads `{"error": message}`, as the Open Inference
Protocol has it. An `SriError` is somebody's mistake as well: `refusal_of` finds its status.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from logging import Logger
from traceback import format_tb
from typing import Any
from urllib.parse import parse_qsl

from sri_sdk.errors import BundleError, ConfigError, ModelMismatch, ScoringError, SriError
from sri_sdk.serve.rights import ANYBODY, Caller
from sri_sdk.strict_json import JsonError, parse, write

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
JSON_TYPE = b"application/json"
LONGEST_ID = 512
"""Characters of an id, a tenant or a name that comes from outside."""
MOST_QUERY = 32
"""Parameters behind the question mark."""


ONCE = frozenset({
    b"authorization", b"x-api-key", b"sri-tenant", b"last-event-id", b"content-length", b"content-encoding",
    b"inference-header-content-length",
})  # fmt: skip
"""Headers that are refused if they are sent twice: a proxy may have believed the other one."""


class Refusal(Exception):
    """A request that gets an error instead of an answer.

    Args:
        status: of HTTP.
        message: subject, problem, what was found, what is allowed, next step. The client reads it; nobody logs it.
        retry_after: seconds after which it is worth trying again; None = not said.
    """

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def answer(self) -> Answer:
        """What the client gets."""
        headers = [(b"retry-after", b"%d" % self.retry_after)] if self.retry_after is not None else []
        if self.status in (408, 413):
            # The rest of the body would come before the next request.
            headers.append((b"connection", b"close"))
        return json_answer({"error": self.message}, self.status, headers=tuple(headers))


class ClientLeft(Exception):
    """The client closed the connection before its request was complete: nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON_TYPE
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further ones, names in lower case."""
    stream: AsyncIterator[bytes] | None = None
    """What follows `body`, piece by piece, as it comes; ended by the server when it shuts down. None = nothing."""


@dataclass(slots=True, eq=False)
class Request:
    """One request. Only `body` waits for the client."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    """Names in lower case."""
    query_string: bytes
    receive: Receive
    largest: int
    """Bytes that its body may have."""
    params: Mapping[str, str] = field(default_factory=dict)
    """What stands for each `{name}` of the route, percent-decoded."""
    caller: Caller = ANYBODY
    reading: bool = False
    """Whether somebody waits for its body right now."""
    recheck: Callable[[], None] = lambda: None
    """Raises `Refusal` where its caller would be turned away by now: a token may be revoked while an answer goes on."""
    patience: float | None = None
    """Seconds that its body may take, where nothing else limits the request's time; None = something does."""

    def header(self, name: bytes) -> str | None:
        """A header as text; None = not sent."""
        found = self.headers.get(name)
        return None if found is None else found.decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """Parameters behind the question mark.

        Raises:
            Refusal: one is written twice, there are too many, or they are not UTF-8.
        """
        try:
            pairs = parse_qsl(
                self.query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_QUERY
            )
        except ValueError as err:
            raise Refusal(
                400, f"query: not at most {MOST_QUERY} parameters in percent-encoded UTF-8. Encode them again."
            ) from err
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Refusal(400, "query: a parameter is written twice. Give each once.")
        return found

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            Refusal: longer than allowed, compressed, or too slow.
            ClientLeft: the connection was closed first.
        """
        self.announced()
        self.reading = True
        try:
            if self.patience is None:
                found = await self._read()
            else:
                async with asyncio.timeout(self.patience):
                    found = await self._read()
        except TimeoutError as err:
            raise Refusal(408, f"body: not complete after {self.patience:g} s. Send it faster.") from err
        self.reading = False
        return found

    async def _read(self) -> bytes:
        pieces, size, more = [], 0, True
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientLeft
            pieces.append(piece := message.get("body", b""))
            size += len(piece)
            if size > self.largest:
                raise self._too_large(size)
            more = message.get("more_body", False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def json_value(self) -> Any:
        """The body as one JSON value of the house's grammar.

        Raises:
            Refusal: not that, or as `body`.
        """
        try:
            return parse(await self.body())
        except JsonError as err:
            raise Refusal(400, f"body: {err}. Send one JSON value in UTF-8.") from err

    def announced(self) -> None:
        """Refuses by the headers alone, before a byte of the body is read."""
        if (length := self.headers.get(b"content-length")) is not None:
            # HTTP servers check it; whoever calls the application directly may not.
            if not length.isdigit() or len(length) > 18:
                raise Refusal(400, "content-length: not a number. Send the length of the body in bytes.")
            if int(length) > self.largest:
                raise self._too_large(int(length))
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refusal(415, "content-encoding: compressed bodies are not read. Send the body as it is.")

    def _too_large(self, size: int) -> Refusal:
        return Refusal(
            413, f"body: {size} bytes or more; allowed: {self.largest}. Send fewer rows at once, or raise the limit."
        )


def json_answer(value: Any, status: int = 200, *, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """An answer of JSON."""
    return Answer(status, write(value, separators=(",", ":")).encode(), headers=headers)


def headers_of(sent: Collection[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name, in lower case; of those that are sent twice the last.

    Raises:
        Refusal: 400, one is sent twice that decides something.
    """
    found = dict(sent)
    if len(found) != len(sent):
        for name, times in Counter(name for name, _ in sent).items():
            if times > 1 and name in ONCE:
                raise Refusal(
                    400, f"{name.decode()}: sent twice. Send it once; a proxy should replace it, not add one."
                )
    return found


def refusal_of(err: SriError) -> Refusal:
    """The refusal that a mistake of the SDK's own kind becomes: 409 for another model, else 400 or 422."""
    if isinstance(err, ModelMismatch):
        return Refusal(409, str(err))
    if isinstance(err, ScoringError | ConfigError):
        return Refusal(400, str(err))
    if isinstance(err, BundleError):
        return Refusal(422, str(err))
    return Refusal(500, str(err))


def log_bug(log: Logger, what: str, err: Exception) -> None:
    """Logs where something failed, and as what, without its message: nothing a user typed is logged."""
    log.error("%s failed: %s\n%s", what, type(err).__name__, "".join(format_tb(err.__traceback__)).rstrip())


def bounded(text: Any, subject: str) -> str:
    """An id, a tenant or a name from outside, as it is.

    Args:
        text: what was sent.
        subject: what it is, for the message.

    Raises:
        Refusal: not a text of 1 to 512 characters without control characters.
    """
    if isinstance(text, str) and 0 < len(text) <= LONGEST_ID and text.isprintable():
        return text
    raise Refusal(
        400,
        f"{subject}: must be a text of 1 to {LONGEST_ID} printable characters. Shorten it, or take control characters "
        "out.",
    )
