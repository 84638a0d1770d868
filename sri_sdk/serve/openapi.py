"""`GET /openapi.json` and `GET /docs`: every path that the Open Inference Protocol does not describe itself.

Both are made from the routes this server has, so a server without a store shows no path of a store. Both are open, as
`/v2` is: a browser sends no token, and they hold nothing of bundles, settings or verdicts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sri_sdk._version import __version__
from sri_sdk.serve.described.answers import Error
from sri_sdk.serve.described.operations import GROUPS, NAME, OPERATIONS, PARAMETERS, TEXT, Form, Operation
from sri_sdk.serve.described.page import page
from sri_sdk.serve.http import JSON_TYPE, Answer, Request
from sri_sdk.serve.routes import Route
from sri_sdk.strict_json import write

HEALTH = ("/v2/health/live", "/v2/health/ready")
"""Paths of the protocol that are described all the same: whoever runs a server needs them."""
REF = "#/components/schemas/{model}"
INFO = (
    "Verdicts, signals, sources, bundles, erasure, health and numbers. Models are asked under /v2, as the Open "
    "Inference Protocol describes it. An unknown id is never clear: it reads as unmonitored."
)
REFUSED = {
    400: "The request is wrong; the message says what, and what is allowed.",
    401: "No token, or an unknown one.",
    403: "The token has no such right, or belongs to another tenant.",
    404: "There is no such bundle, or none is served.",
    408: "The body took too long.",
    409: "It does not fit what is loaded: another model, no older version, no shadow.",
    413: "The body, or the number of rows, is too large.",
    415: "The body is compressed.",
    422: "The bundle may not be loaded.",
    429: "Too many requests at once.",
    500: "The server failed; its log says why.",
    503: "The store or the server cannot answer now; try again.",
}
"""Status -> when it is answered."""
RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


class Description:
    """The two handlers.

    Args:
        routes: of the server; the two of this description are added.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = (*routes, *self.routes())

    def routes(self) -> list[Route]:
        """`GET /openapi.json` and `GET /docs`."""
        return [Route("GET", "/openapi.json", self.json, "open"), Route("GET", "/docs", self.page, "open")]

    async def json(self, request: Request) -> Answer:
        """The document."""
        return Answer(200, self._json, JSON_TYPE)

    async def page(self, request: Request) -> Answer:
        """The document for people."""
        return self._page

    @cached_property
    def document(self) -> dict[str, Any]:
        """OpenAPI 3.1, as JSON types. Made when somebody first asks."""
        return document(self._routes)

    @cached_property
    def _json(self) -> bytes:
        return write(self.document).encode()

    @cached_property
    def _page(self) -> Answer:
        return page(self.document)


def described(routes: Iterable[Route]) -> list[Route]:
    """The routes that stand in the document."""
    return [each for each in routes if each.pattern in HEALTH or not f"{each.pattern}/".startswith("/v2/")]


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of a server's routes, as JSON types. A route that nobody described is in it by its path alone."""
    paths: dict[str, dict[str, Any]] = {}
    for route in described(routes):
        found = OPERATIONS.get((route.method, route.pattern)) or Operation(f"{route.method} {route.pattern}")
        paths.setdefault(route.pattern, {})[route.method.lower()] = _operation(route, found)
    models = {each for operation in OPERATIONS.values() for each in _models(operation)}
    _, schemas = models_json_schema(
        [(each, "validation") for each in sorted(models, key=lambda each: each.__name__)], ref_template=REF
    )
    used = {operation["tags"][0] for methods in paths.values() for operation in methods.values()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sri serve", "version": __version__, "description": INFO},
        "tags": [{"name": name, "description": words} for name, words in GROUPS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": _used(schemas["$defs"], write(paths)),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _operation(route: Route, found: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "summary": found.summary,
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.pattern}").strip("_"),
        "tags": [found.group],
        # From version 3.1 on, the list beside a scheme may name rights.
        "security": [] if route.right == "open" else [{"bearer": [route.right]}, {"key": [route.right]}],
        "parameters": _parameters(route, found),
        "responses": _responses(route, found),
    }
    if found.body is not None:
        made["requestBody"] = {"required": True, "content": _content(found.body)}
    return made


def _parameters(route: Route, found: Operation) -> list[dict[str, Any]]:
    made = []
    for name in re.findall(r"\{(\w+)\}", route.pattern):
        schema, words = PARAMETERS.get(name, (TEXT, "Percent-encoded."))
        made.append({"name": name, "in": "path", "required": True, "schema": schema, "description": words})
    for name, (schema, words) in found.query.items():
        required = name in found.required
        made.append({"name": name, "in": "query", "required": required, "schema": schema, "description": words})
    if found.tenant:
        words = "Whose verdicts, percent-encoded. A token with a tenant has its own; without either, everybody's."
        made.append({"name": "sri-tenant", "in": "header", "required": False, "schema": NAME, "description": words})
    return made


def _responses(route: Route, found: Operation) -> dict[str, Any]:
    content = _content(found.answer)
    if found.stream is not None:
        # Each event's `data` is one JSON value of this form.
        content["text/event-stream"] = {"schema": {"type": "string"}, "x-event-data": _schema(found.stream)}
    made = {200: {"description": "Done.", "content": content}}
    for status in _refusals(route, found):
        made[status] = {"description": REFUSED[status], "content": _content(Error)}
        if status in (429, 503):
            made[status]["headers"] = RETRY
    for status, model in found.others.items():
        words = " ".join((model.__doc__ or "").split())
        made[status] = {"description": words, "content": _content(model)}
    return {str(status): made[status] for status in sorted(made)}


def _refusals(route: Route, found: Operation) -> set[int]:
    statuses = {500, *found.refused}
    if route.right != "open":
        statuses |= {401, 403, 429}
        if not route.waits:
            # No answer in time.
            statuses |= {503}
    if found.body is not None:
        statuses |= {400, 408, 413, 415}
    if found.query or found.tenant or "{" in route.pattern:
        statuses |= {400}
    return statuses - found.others.keys()


def _content(form: Form) -> dict[str, Any]:
    if isinstance(form, str):
        return {form: {"schema": {"type": "object"} if form == "application/json" else {"type": "string"}}}
    return {"application/json": {"schema": _schema(form)}}


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _models(found: Operation) -> list[type[BaseModel]]:
    forms = (found.answer, found.body, found.stream, Error, *found.others.values())
    return [each for each in forms if each is not None and not isinstance(each, str)]


def _used(schemas: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Those that a text refers to, and those that these refer to in turn."""
    used: dict[str, Any] = {}
    waiting = re.findall(r"#/components/schemas/(\w+)", text)
    while waiting:
        if (name := waiting.pop()) not in used:
            used[name] = schemas[name]
            waiting += re.findall(r"#/components/schemas/(\w+)", write(schemas[name]))
    return dict(sorted(used.items()))
