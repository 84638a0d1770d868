"""The ASGI application: finds a route, checks the caller, runs the handler, sends the answer. Any ASGI server runs it.

`parts` live as long as the server: each is an asynchronous context manager that is entered before the first request and
left, in reverse order, after the last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from sri_sdk.errors import SriError
from sri_sdk.serve.http import Answer, ClientLeft, Receive, Refusal, Request, refusal_of
from sri_sdk.serve.rights import LOCAL, Caller
from sri_sdk.serve.routes import Route, Table

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Scope = MutableMapping[str, Any]
Part = AbstractAsyncContextManager[Any]
WhoCalls = Callable[[Request], Caller]
"""Raises `Refusal` 401 where a token is wrong."""
LARGEST = 16 * 2**20

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
    """

    def __init__(
        self, routes: Iterable[Route], *, parts: Sequence[Part] = (), who_calls: WhoCalls = everybody,
        largest: int = LARGEST,
    ) -> None:  # fmt: skip
        self.table = Table(routes)
        self.stopping = asyncio.Event()
        """Set once the server shuts down: streams end."""
        self._parts = parts
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
        try:
            answer = await self._answer(scope, receive)
        except Refusal as refusal:
            answer = refusal.answer()
        except SriError as err:
            answer = refusal_of(err).answer()
        except ClientLeft:
            return
        except Exception:
            # No arguments of the request: nothing a user typed is logged.
            log.exception("%s: a handler failed", __name__)
            answer = Refusal(500, "server: failed at this request. Its log says why.").answer()
        await self._send(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        route, params = self.table.find(scope["method"], scope.get("raw_path") or scope["path"].encode())
        largest = self._largest if route.largest is None else route.largest
        request = Request(
            scope["method"], scope["path"], dict(scope["headers"]), scope["query_string"], receive, largest, params
        )
        if route.right != "open":
            request.caller = self._who_calls(request)
            if not request.caller.may(route.right):
                raise Refusal(403, f"token: has no right {route.right!r}. Use a token that has, or add the right.")
        return await route.handler(request)

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
