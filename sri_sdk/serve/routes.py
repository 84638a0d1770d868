"""Which handler answers which method and path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from sri_sdk.serve.http import Answer, Refusal, Request
from sri_sdk.serve.rights import Right

Handler = Callable[[Request], Awaitable[Answer]]
SIGNPOST = "GET /v2 names the server; docs/serve.md has its paths."
REMEMBERED = 1024
"""Paths whose route is remembered; most traffic asks for a few."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path.

    `Route("GET", "/v1/verdicts/{id}", handler, "read")`: `{id}` stands for one segment, which `Request.params` has.
    """

    method: str
    pattern: str
    handler: Handler
    right: Right
    waits: bool = False
    """It may wait for something to happen: it then counts towards a limit of its own, and has no time limit."""
    shared: bool = False
    """It changes what every tenant is served, so a token of one tenant may not."""
    largest: int | None = None
    """Bytes that its body may have; None = as the server's limit says."""


class Table:
    """All routes of a server.

    Args:
        routes: no two of one method and pattern.
        signpost: where somebody should look who asked for a path that is not there.

    Raises:
        ValueError: two are the same.
    """

    def __init__(self, routes: Iterable[Route], signpost: str = SIGNPOST) -> None:
        self.routes, self._signpost = tuple(routes), signpost
        names = [(route.method, route.pattern) for route in self.routes]
        if len(set(names)) != len(names):
            raise ValueError(f"two routes are the same: {sorted({x for x in names if names.count(x) > 1})}")
        exact: dict[str, dict[str, Route]] = {}
        open_ended: dict[str, dict[str, Route]] = {}
        for route in self.routes:
            (open_ended if "{" in route.pattern else exact).setdefault(route.pattern, {})[route.method] = route
        self._exact = exact
        self._patterns = [(_compiled(pattern), methods) for pattern, methods in open_ended.items()]
        self._at = lru_cache(REMEMBERED)(self._search)

    def find(self, method: str, raw_path: bytes) -> tuple[Route, Mapping[str, str]]:
        """The route of a request, and what its parameters are.

        Args:
            method: in capitals.
            raw_path: as it was sent, percent-encoded, without the query.

        Raises:
            Refusal: 404, 405, or 400 where the path is not UTF-8.
        """
        methods, params = self._at(raw_path)
        route = methods.get(method)
        if route is not None:
            return route, params
        if not methods:
            raise Refusal(404, f"path: nothing is served there. {self._signpost}")
        raise Refusal(405, f"method: not allowed here; allowed: {', '.join(sorted(methods))}.")

    def _search(self, raw_path: bytes) -> tuple[Mapping[str, Route], Mapping[str, str]]:
        # Matched before decoding: an id may contain a slash, written as %2F.
        path = raw_path.decode("latin-1")
        if path in self._exact:
            return self._exact[path], {}
        for pattern, methods in self._patterns:
            if found := pattern.fullmatch(path):
                return methods, {name: _decoded(value) for name, value in found.groupdict().items()}
        return {}, {}


def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", pattern)
    return re.compile("".join(f"(?P<{x}>[^/]+)" if i % 2 else re.escape(x) for i, x in enumerate(pieces)))


def _decoded(segment: str) -> str:
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError as err:
        raise Refusal(400, "path: not UTF-8 once its percent signs are read. Encode it again.") from err
