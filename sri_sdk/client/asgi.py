"""The few words of ASGI that the middleware speaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BYPASSES = frozenset({"http.response.pathsend", "http.response.zerocopysend", "http.response.trailers"})
"""Extensions with which a response would go round what holds it."""


def header_of(scope: Scope, name: str) -> str | None:
    """A header of a request; None = it is not there, or is there twice and nobody knows which one a gateway set."""
    wanted = name.lower().encode("latin-1")
    values = [bytes(value) for found, value in scope.get("headers", ()) if found.lower() == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else None


def with_header(headers: Any, name: str, value: str) -> list[tuple[bytes, bytes]]:
    """Headers with one of them set."""
    wanted = name.lower().encode("latin-1")
    kept = [(bytes(each), bytes(held)) for each, held in headers if each.lower() != wanted]
    return [*kept, (wanted, value.encode("latin-1"))]


def plain_scope(scope: Scope, name: str, value: str) -> Scope:
    """The scope for the application inside: with one header set, and without ways round the middleware."""
    extensions = {key: held for key, held in (scope.get("extensions") or {}).items() if key not in BYPASSES}
    return {**scope, "headers": with_header(scope.get("headers", ()), name, value), "extensions": extensions}
