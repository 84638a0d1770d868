"""From a store and a file of tokens to an ASGI application. Any ASGI server runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sri_sdk.dashboard.assets import load_assets
from sri_sdk.dashboard.desk import Desk, caller_of
from sri_sdk.dashboard.gate import BUG, Gate, cookie_of
from sri_sdk.dashboard.pages.audit import AuditPage
from sri_sdk.dashboard.pages.health import HealthPage
from sri_sdk.dashboard.pages.labels import Labels, form_of
from sri_sdk.dashboard.pages.live import LivePage
from sri_sdk.dashboard.pages.now import NowPage
from sri_sdk.dashboard.pages.verdicts import VerdictPages
from sri_sdk.dashboard.render import Renderer
from sri_sdk.dashboard.sessions import COOKIE, LASTS_S, Sessions
from sri_sdk.errors import SriError
from sri_sdk.serve.app import LEFT
from sri_sdk.serve.http import ClientLeft, Refusal, log_bug, refusal_of
from sri_sdk.serve.limits import Limits
from sri_sdk.serve.rights import Caller
from sri_sdk.serve.store.faults import StoreUnavailable
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.tokens import Tokens

LOOKS_S = 15.0
"""Seconds between two looks for trouble while nobody watches: so a page can say since when it is there."""
CONCURRENCY = 64
SECONDS = 20.0
TITLES = {
    400: "That cannot be shown", 401: "Token unknown", 403: "Not with this token", 404: "Not found",
    405: "Not here", 421: "Wrong name", 429: "Busy", 500: "The dashboard failed", 503: "The store does not answer",
}  # fmt: skip

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Dashboard:
    """A dashboard that has no socket yet."""

    app: Gate
    tokens: Tokens | None

    def reload(self) -> dict[str, str]:
        """Reads tokens again; what is wrong stays as it was."""
        if self.tokens is not None:
            self.tokens.reload(force=True)
        return {}


def build_dashboard(
    store: VerdictStore, *, tokens: Tokens | None = None, hosts: Collection[str] | None = None,
    clock: Callable[[], float] = time.time,
) -> Dashboard:  # fmt: skip
    """Wires pages, gate and store.

    Args:
        store: what is shown; it is closed when the application ends.
        tokens: None = everybody who reaches the socket may see and label everything.
        hosts: names under which it answers; None = any. See `Gate`.
        clock: seconds since 1970.
    """
    assets = load_assets()
    desk = Desk(store, Renderer(assets), clock, logs_in=tokens is not None)
    sessions = None if tokens is None else Sessions(tokens)
    limits = Limits(CONCURRENCY, 0, SECONDS)
    now, live, verdicts, audit = NowPage(desk), LivePage(desk), VerdictPages(desk), AuditPage(desk)
    labels, entry = Labels(desk, verdicts, audit), Entry(desk, sessions)

    async def static(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None:
            raise Refusal(404, "No such file.")
        # Its address changes with its content.
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(asset.content, media_type=asset.media_type, headers=headers)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(_look(desk))
        try:
            async with limits:
                yield
        finally:
            looking.cancel()
            await asyncio.to_thread(store.close)

    routes = [
        Route("/", now.whole),
        Route("/now", now.state),
        Route("/live", live.whole),
        Route("/live/rows", live.rows),
        Route("/verdicts", verdicts.stream),
        Route("/verdicts/rows", verdicts.rows),
        Route("/verdicts/{id}", verdicts.one),
        Route("/verdicts/{id}/label", labels.add, methods=["POST"]),
        Route("/audit", audit.whole),
        Route("/audit/promises", audit.promises),
        Route("/health", HealthPage(desk).whole),
        Route("/login", entry.ask),
        Route("/login", entry.enter, methods=["POST"]),
        Route("/logout", entry.leave, methods=["POST"]),
        Route("/static/{name:path}", static),
    ]

    failures = Failures(desk)
    inner = Starlette(routes=routes, lifespan=lifespan, exception_handlers=failures.handlers())
    gate = Gate(inner, tokens=tokens, sessions=sessions, limits=limits, hosts=hosts, failed=failures.page)
    return Dashboard(gate, tokens)


class Failures:
    """The pages of requests that get no other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def page(self, refusal: Refusal, caller: Caller | None) -> Response:
        """The page of a refusal."""
        response = self._desk.render.page(
            "failed.html", refusal.status, **self._desk.shared(caller), path="", message=refusal.message,
            title=TITLES.get(refusal.status, "That did not work"), status=refusal.status,
        )  # fmt: skip
        if refusal.retry_after is not None:
            response.headers["retry-after"] = str(refusal.retry_after)
        return response

    def handlers(self) -> dict[Any, Callable[[Request, Exception], Response]]:
        """As starlette takes them: what a page raises -> its answer."""

        def refused(request: Request, err: Exception) -> Response:
            assert isinstance(err, Refusal)
            return self.page(err, caller_of(request))

        def unavailable(request: Request, err: Exception) -> Response:
            refusal = Refusal(503, str(err), retry_after=2) if isinstance(err, StoreUnavailable) else None
            assert isinstance(err, SriError)
            return self.page(refusal or refusal_of(err), caller_of(request))

        def gone(request: Request, err: Exception) -> Response:
            return Response(status_code=LEFT)

        def missing(request: Request, err: Exception) -> Response:
            return self.page(Refusal(404, "There is no such page. Go on to one of those above."), caller_of(request))

        def not_here(request: Request, err: Exception) -> Response:
            return self.page(Refusal(405, "This page cannot be asked in this way."), caller_of(request))

        def failed(request: Request, err: Exception) -> Response:
            # It is raised again afterwards, and logged by the gate.
            return self.page(Refusal(500, BUG), caller_of(request))

        return {Refusal: refused, SriError: unavailable, ClientLeft: gone, 404: missing, 405: not_here, 500: failed}


class Entry:
    """Logging in and out."""

    def __init__(self, desk: Desk, sessions: Sessions | None) -> None:
        self._desk, self._sessions = desk, sessions

    def ask(self, request: Request) -> Response:
        """The page to log in."""
        if self._sessions is None or request.scope["sri_caller"] is not None:
            return RedirectResponse("/", status_code=303)
        return self._page(request, request.query_params.get("next", ""), "")

    async def enter(self, request: Request) -> Response:
        """Takes a token, gives a cookie."""
        form = await form_of(request)
        target = form.get("next", "")
        if self._sessions is None:
            return RedirectResponse("/", status_code=303)
        try:
            cookie = self._sessions.begin(form.get("token", ""))
        except Refusal as refusal:
            return self._page(request, target, refusal.message, refusal.status)
        response = RedirectResponse(_inside(target), status_code=303)
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        response.set_cookie(COOKIE, cookie, max_age=int(LASTS_S), httponly=True, samesite="strict", secure=secure)
        return response

    async def leave(self, request: Request) -> Response:
        """Ends the session."""
        if self._sessions is not None:
            self._sessions.end(cookie_of(request.scope["sri_request"]))
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    def _page(self, request: Request, target: str, wrong: str, status: int = 200) -> Response:
        return self._desk.page(request, "login.html", status=status, next=_inside(target), wrong=wrong)


def _inside(target: str) -> str:
    """Where to go after logging in: a page of this dashboard, whatever the address says."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable() else "/"


async def _look(desk: Desk) -> None:
    """Notes what is wrong, so that the page knows since when."""
    while True:
        try:
            await run_in_threadpool(desk.wrong)
        except SriError as err:
            log.warning("%s", err)
        except Exception as err:
            log_bug(log, "looking for trouble", err)
        await asyncio.sleep(LOOKS_S)
