"""What every request passes before a page sees it: host, limits, token or session, origin; and the headers of answers.

The rules are those of `sri serve`: the same file of tokens, the same limits, the same headers refused when sent twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import RedirectResponse, Response

from sri_sdk.dashboard.sessions import COOKIE, Sessions
from sri_sdk.errors import SriError
from sri_sdk.serve.http import ClientLeft, Receive, Refusal, Request, headers_of, log_bug, refusal_of
from sri_sdk.serve.limits import Limits
from sri_sdk.serve.rights import LOCAL, Caller
from sri_sdk.serve.tokens import Tokens

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Failed = Callable[[Refusal, Caller | None], Response]

LARGEST = 2**16
"""Bytes of a body: a label with its note."""
OPEN = ("/static/", "/login")
"""Paths that need no token."""
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not `no-referrer`: browsers would then send forms with the origin `null`.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
BUG = "A page failed, which is a bug of the dashboard. Its log says where."
NO_STORE = (b"cache-control", b"no-store")

log = logging.getLogger(__name__)


class Gate:
    """The application behind its gate.

    Args:
        inner: the pages.
        tokens: None = everybody who reaches the socket may do everything.
        sessions: of `tokens`.
        limits: how much at once, and for how long.
        hosts: names under which it may be asked, without port; None = any. Without tokens it must be given: a page of
            another site could otherwise have a name of its own point here, and read everything.
        failed: the page of a refusal.
    """

    def __init__(
        self, inner: Asgi, *, tokens: Tokens | None, sessions: Sessions | None, limits: Limits,
        hosts: Collection[str] | None, failed: Failed,
    ) -> None:  # fmt: skip
        self._inner, self._tokens, self._sessions = inner, tokens, sessions
        self._limits, self._hosts, self._failed = limits, hosts, failed
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, self._with_headers(scope, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            answer = await self._let_in(scope, receive, sending)
        except Refusal as refusal:
            answer = self._failed(refusal, scope.get("sri_caller"))
        except SriError as err:
            answer = self._failed(refusal_of(err), scope.get("sri_caller"))
        except ClientLeft:
            return
        except Exception as err:
            log_bug(log, "a page", err)
            answer = self._failed(Refusal(500, BUG), scope.get("sri_caller"))
        if answer is not None and not begun:
            await answer(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        request = Request(
            scope["method"], scope["path"], headers_of(scope["headers"]), scope["query_string"], receive, LARGEST
        )
        self._check_host(request)
        if scope["path"].startswith(OPEN[0]):
            await self._inner(scope, receive, send)
            return None
        scope["sri_request"] = request
        if request.method not in ("GET", "HEAD"):
            _check_origin(scope, request)
        caller = self._caller(request)
        if caller is None and scope["path"] != OPEN[1]:
            return _to_login(scope, request)
        scope["sri_caller"] = caller
        if caller is not None and not caller.may("read"):
            raise Refusal(403, "token: has no right 'read'. Use a token that has, or add the right.")
        task = self._limits.begin(request)
        try:
            await self._inner(scope, receive, send)
        except asyncio.CancelledError:
            if not (found := self._limits.under_way[task]).late:
                raise
            task.uncancel()
            raise self._limits.late(found) from None
        finally:
            del self._limits.under_way[task]
        return None

    def _caller(self, request: Request) -> Caller | None:
        """Who asks; None = somebody who has to log in.

        Raises:
            Refusal: 401, a wrong token in a header: a program's, which has no use for a page to log in.
        """
        if self._tokens is None or self._sessions is None:
            return LOCAL
        if {b"authorization", b"x-api-key"} & request.headers.keys():
            return self._tokens(request)
        return self._sessions.caller(cookie_of(request))

    def _check_host(self, request: Request) -> None:
        if self._hosts is None:
            return
        host = urlsplit(f"//{request.header(b'host') or ''}").hostname
        if host not in self._hosts:
            raise Refusal(
                421,
                f"host: not one of {', '.join(sorted(self._hosts))}. Without tokens, a dashboard answers under its "
                "own names only. Open it under one of these, or start it with --tokens.",
            )

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                sent = [*message.get("headers", ()), *HEADERS]
                if not any(name == NO_STORE[0] for name, _ in sent):
                    sent.append(NO_STORE)
                message = {**message, "headers": sent}
            await send(message)

        return sending


def cookie_of(request: Request) -> str:
    """What the session's cookie says; empty = there is none."""
    try:
        found = SimpleCookie(request.header(b"cookie") or "").get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _check_origin(scope: Scope, request: Request) -> None:
    """Refuses a change that another site asks for in somebody's name. The cookie is not sent then either."""
    site = request.header(b"sec-fetch-site")
    origin = request.header(b"origin")
    if site is None and origin is None:
        # Not a browser, which sends one of them with every change.
        return
    ours = site in (None, "same-origin", "none") and (
        origin is None or urlsplit(origin).netloc == (request.header(b"host") or "")
    )
    if not ours:
        raise Refusal(403, "origin: another site asks for this. Open the dashboard itself, and try again there.")


def _to_login(scope: Scope, request: Request) -> Response:
    if request.header(b"hx-request") == "true":
        # A part of a page cannot be the page to log in.
        return Response(status_code=401, headers={"hx-redirect": "/login"})
    if request.method not in ("GET", "HEAD"):
        return RedirectResponse("/login", status_code=303)
    asked = scope["path"] + (f"?{request.query_string.decode('latin-1')}" if request.query_string else "")
    return RedirectResponse(f"/login?next={quote(asked, safe='')}" if asked != "/" else "/login", status_code=303)
