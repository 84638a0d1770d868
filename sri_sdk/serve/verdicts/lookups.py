"""Looking verdicts up: one request's, or all of them in order, as pages or as a stream that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast, get_args

from sri_sdk.reason_words import NO_VERDICT
from sri_sdk.records import Rule, Status
from sri_sdk.serve.http import Answer, Refusal, Request, bounded, json_answer
from sri_sdk.serve.store.rows import SEVERITY, Found, Page, Stored
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.arrivals import Arrivals, Arrived
from sri_sdk.serve.verdicts.asking import ask
from sri_sdk.serve.verdicts.callers import sees
from sri_sdk.serve.verdicts.counts import VerdictCounts
from sri_sdk.serve.verdicts.posted import STATUSES, choice, known, whole
from sri_sdk.strict_json import write

LONGEST_WAIT_MS = 30_000
"""A look-up that asks to wait longer waits this long."""
LARGEST_PAGE = 1_000
MOST_STREAMS = 64
"""Streams at once; each reads the store for itself."""
QUIET_S = 15.0
"""Seconds after which a stream without verdicts says that it lives, so that nothing on the way cuts it off."""
EVENTS = b"text/event-stream"
ALIVE = b": \n\n"
"""A comment; clients ignore it."""


class LookUps:
    """The handlers that read verdicts."""

    def __init__(self, store: VerdictStore, arrivals: Arrivals, counts: VerdictCounts) -> None:
        self._store, self._arrivals, self._counts = store, arrivals, counts
        self._streams = 0

    async def one(self, request: Request) -> Answer:
        """`GET /v1/verdicts/{id}?wait_ms=&rule=`: the most severe verdict on a request."""
        request_id, query = bounded(request.params["id"], "id"), known(request.query, ("wait_ms", "rule"))
        wait_ms = whole(query.get("wait_ms"), "wait_ms", 0, LONGEST_WAIT_MS)
        rule = cast(Rule | None, choice(query.get("rule"), get_args(Rule), "rule"))
        found = await self.wait(sees(request), request_id, wait_ms / 1000, rule)
        if found is None:
            # As a verdict: nobody who reads only that takes silence for `clear`.
            verdict = {"request_id": request_id, "status": "unmonitored", "reasons": [NO_VERDICT]}
            verdict |= {} if rule is None else {"rule": rule}
            return json_answer({"id": request_id, "verdict": verdict, "verdicts": 0}, 404)
        row = found.row
        answer = {"id": request_id, "verdict": row.verdict, "verdicts": found.verdicts, "seq": row.seq}
        return json_answer({**answer, "received_at": row.received_at, "source": row.source})

    async def wait(self, tenant: str | None, request_id: str, seconds: float, rule: Rule | None = None) -> Found | None:
        """What is known about a request, or becomes known within `seconds`; None = nothing.

        Args:
            tenant: whose verdicts; None = everybody's.
            request_id: as it was delivered.
            seconds: to wait.
            rule: a verdict of another one ends no wait, unless it flags, and without one of this rule nothing is clear.

        Raises:
            Refusal: 503, the store cannot be read.
        """
        found = await ask(self._store, self._store.find, tenant, request_id, rule)
        if not _decides(found) and seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds), self._arrivals.of(request_id) as arrived:
                    while not _decides(found := await ask(self._store, self._store.find, tenant, request_id, rule)):
                        await arrived.wait()
                        arrived.clear()
        if found is not None and not found.of_rule and _severity(found) < SEVERITY["unmonitored"]:
            found = None
        self._counts.looked_up(None if found is None else str(found.row.verdict["status"]))
        return found

    async def page(self, request: Request) -> Answer:
        """`GET /v1/verdicts?after=&limit=&status=`: verdicts in the order they were committed.

        With `Accept: text/event-stream` they go on as they come, each under its number, so that a client that lost the
        connection goes on with `Last-Event-ID`.
        """
        query, tenant = known(request.query, ("after", "limit", "status")), sees(request)
        streamed = EVENTS in request.headers.get(b"accept", b"")
        last = request.header(b"last-event-id") if streamed else None
        after = whole(last or query.get("after"), "after", 0, 2**53)
        limit = whole(query.get("limit"), "limit", 100, LARGEST_PAGE)
        status = cast(Status | None, choice(query.get("status"), STATUSES, "status"))
        if not limit:
            raise Refusal(400, f"limit: 0; allowed: 1 to {LARGEST_PAGE}. Leave it out for 100.")
        found = await self._next(after, limit, tenant, status)
        if not streamed:
            return json_answer({"verdicts": [_shown(row) for row in found.rows], "next": found.next})
        if self._streams >= MOST_STREAMS:
            raise Refusal(429, f"server: {MOST_STREAMS} streams are open. Close one, or ask for pages.", retry_after=1)
        stream = self._stream(request, found, limit, tenant, status)
        return Answer(content_type=EVENTS, headers=((b"cache-control", b"no-store"),), stream=stream)

    async def _next(self, after: int, limit: int, tenant: str | None, status: Status | None) -> Page:
        return await ask(self._store, self._store.page, after, limit, tenant=tenant, status=status)

    async def _stream(
        self, request: Request, found: Page, limit: int, tenant: str | None, status: Status | None
    ) -> AsyncIterator[bytes]:
        self._streams += 1
        left = asyncio.ensure_future(_left(request))
        try:
            yield b"".join(map(_event, found.rows)) or ALIVE
            async with self._arrivals.any() as arrived:
                while not left.done():
                    arrived.clear()
                    before, found = found.next, await self._next(found.next, limit, tenant, status)
                    # After reading: whoever opened the stream may have lost the right to it meanwhile.
                    request.recheck()
                    if found.rows:
                        yield b"".join(map(_event, found.rows))
                    elif found.next == before and not await _either(arrived, left):
                        yield ALIVE
        except Refusal as refusal:
            # It ends, and the client comes back with the last number that it has.
            yield b"event: error\ndata: %s\n\n" % write({"error": refusal.message}).encode()
        finally:
            self._streams -= 1
            left.cancel()


def _decides(found: Found | None) -> bool:
    """Whether later verdicts can wait: nothing is more severe than a flag."""
    return found is not None and (found.of_rule or _severity(found) == SEVERITY["flagged"])


def _severity(found: Found) -> int:
    return SEVERITY[cast(Status, found.row.verdict["status"])]


async def _left(request: Request) -> None:
    """Returns once the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _either(arrived: Arrived, left: asyncio.Future[None]) -> bool:
    """Waits for a verdict, or for the client's end; False = neither came for a while."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(arrived.wait())
    try:
        done, _ = await asyncio.wait([waiting, left], timeout=QUIET_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return bool(done)


def _shown(row: Stored) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "id": row.key,
        "tenant": row.tenant,
        "source": row.source,
        "received_at": row.received_at,
        "verdict": row.verdict,
    }


def _event(row: Stored) -> bytes:
    # JSON as ASCII has no line of its own in it.
    return b"id: %d\nevent: verdict\ndata: %s\n\n" % (row.seq, write(_shown(row)).encode())
