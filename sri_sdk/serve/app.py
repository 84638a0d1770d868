"""The ASGI application: finds a route, checks the caller, runs the handler, sends the answer. Any ASGI server runs it.

`parts` live as long as the server: each is an asynchronous context manager that is entered before the first request and
left, in reverse order, after the last.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from sri_sdk.errors import SriError
from sri_sdk.serve.counts import Counts
from sri_sdk.serve.http import Answer, ClientLeft, Receive, Refusal, Request, headers_of, log_bug, refusal_of
from sri_sdk.serve.limits import Limits
from sri_sdk.serve.rights import LOCAL, Caller
from sri_sdk.serve.routes import SIGNPOST, Route, Table
from sri_sdk.serve.tokens import check_right

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]
Part = AbstractAsyncContextManager[Any]
WhoCalls = Callable[[Request], Caller]
"""Raises `Refusal` 401 where a token is wrong."""
LARGEST = 16 * 2**20
LEFT = 499
"""Status under which requests are counted whose client closed the connection first."""

log = logging.getLogger(__name__)


def everybody(request: Request) -> Caller:
    """The caller of a server without tokens."""
    return LOCAL


class App:
    """One server's application.

    Args:
        routes: see `routes.py`.
        parts: what starts and stops with it.
        who_calls: from a request to its caller.
        largest: bytes that a body may have.
        limits: how much at once; None = the defaults.
        counts: where requests are counted; None = nobody reads them.
        signpost: where somebody should look who asked for a path that is not there.
    """

    def __init__(
        self, routes: Iterable[Route], *, parts: Sequence[Part] = (), who_calls: WhoCalls = everybody,
        largest: int = LARGEST, limits: Limits | None = None, counts: Counts | None = None,
        signpost: str = SIGNPOST,
    ) -> None:  # fmt: skip
        self.table = Table(routes, signpost)
        self.stopping = asyncio.Event()
        """Set once the server shuts down: streams end."""
        self._limits = limits or Limits()
        self._counts = counts or Counts()
        self._parts = (self._limits, *parts)
        self._who_calls = who_calls
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, as ASGI has it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        pattern = "none"
        try:
            route, params = self.table.find(scope["method"], scope.get("raw_path") or scope["path"].encode())
            pattern = route.pattern
            answer = await self._answer(route, params, scope, receive)
        except Refusal as refusal:
            answer = refusal.answer()
        except SriError as err:
            answer = refusal_of(err).answer()
        except ClientLeft:
            self._counts.request(pattern, LEFT, time.perf_counter() - started)
            return
        except Exception as err:
            log_bug(log, f"a handler of {pattern}", err)
            answer = Refusal(500, "server: failed at this request. Its log says why.").answer()
        self._counts.request(pattern, answer.status, time.perf_counter() - started)
        await self._send(answer, send)

    async def _answer(self, route: Route, params: Mapping[str, str], scope: Scope, receive: Receive) -> Answer:
        largest = self._largest if route.largest is None else route.largest
        request = Request(
            scope["method"], scope["path"], headers_of(scope["headers"]), scope["query_string"], receive, largest,
            params,
        )  # fmt: skip
        if route.right != "open":
            request.caller = self._allowed(route, request)
            request.recheck = lambda: self._recheck(route, request)
        if route.waits:
            return await self._waiting(route, request)
        if route.right == "open":
            # Health is answered by a busy server as well.
            return await route.handler(request)
        task = self._limits.begin(request)
        try:
            return await route.handler(request)
        except asyncio.CancelledError:
            if not (found := self._limits.under_way[task]).late:
                raise
            task.uncancel()
            raise self._limits.late(found) from None
        finally:
            del self._limits.under_way[task]

    def _allowed(self, route: Route, request: Request) -> Caller:
        caller = self._who_calls(request)
        check_right(caller, route.right, shared=route.shared)
        return caller

    def _recheck(self, route: Route, request: Request) -> None:
        if self._allowed(route, request) != request.caller:
            raise Refusal(403, "token: its rights or its tenant have changed meanwhile. Ask again.")

    async def _waiting(self, route: Route, request: Request) -> Answer:
        self._limits.begin_waiting()
        request.patience = self._limits.seconds
        try:
            answer = await route.handler(request)
            request.recheck()
            return answer
        finally:
            self._limits.waits -= 1

    async def _send(self, answer: Answer, send: Send) -> None:
        headers = [(b"content-type", answer.content_type), *answer.headers]
        if answer.stream is None:
            headers.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.stream is None:
            await send({"type": "http.response.body", "body": answer.body})
            return
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        async for piece in self._until_stopping(answer.stream):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _until_stopping(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            while True:
                step = asyncio.ensure_future(anext(stream))
                await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    step.cancel()
                    return
                try:
                    yield step.result()
                except StopAsyncIteration:
                    return
        finally:
            stop.cancel()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                for part in self._parts:
                    await stack.enter_async_context(part)
            except SriError as err:
                await send({"type": "lifespan.startup.failed", "message": str(err)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.stopping.set()
        await send({"type": "lifespan.shutdown.complete"})
