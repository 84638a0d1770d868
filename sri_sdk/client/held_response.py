"""One response of an ASGI application, held back until its generations are judged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sri_sdk.client.asgi import Message, Send, with_header
from sri_sdk.client.board import SEVERITY
from sri_sdk.client.held import HeldTokens
from sri_sdk.policy import Decision, Policy
from sri_sdk.reason_words import NO_VERDICT
from sri_sdk.records import Verdict


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a client gets in place of a response that is withheld."""

    status: int
    content_type: str
    body: bytes
    cut: bytes = b""
    """What ends a stream of which a part was sent already; empty = it just ends."""


class HeldResponse:
    """Takes the messages of the application, and sends those that may be sent."""

    def __init__(
        self, send: Send, request_id: str, policy: Policy, *, header: str, budget_s: float, behind: int,
        most_bytes: int, replaced: Callable[[Decision], Replacement], generations: Callable[[], int],
        ask: Callable[[], Awaitable[Verdict]] | None,
    ) -> None:  # fmt: skip
        """Takes what decides, as the middleware has it.

        Args:
            send: to the server.
            request_id: whose response it is.
            policy: what follows from a verdict.
            header: that names the request in the response.
            budget_s: most seconds that a whole response waits.
            behind: body messages held back while more come.
            most_bytes: that are held.
            replaced: gives what stands for a withheld response.
            generations: how many this response may come from, so far: announced since it began, or running then.
            ask: asks the store; None = verdicts come by `judge`.
        """
        self._send, self._request_id, self._policy, self._header = send, request_id, policy, header
        self._most, self._replaced, self._generations, self._ask = most_bytes, replaced, generations, ask
        self._held: HeldTokens[Message] = HeldTokens(policy, request_id=request_id, budget_s=budget_s, behind=behind)
        self._lock = threading.Lock()
        self._verdicts: list[Verdict] = []
        self._start: Message | None = None
        self._started = self._passing = self._over = self._whole = False
        self._bytes = 0

    def judge(self, verdict: Verdict) -> None:
        """Takes a verdict, in any thread. One that withholds counts at once, others when the application is done."""
        with self._lock:
            self._verdicts.append(verdict)
            due = self._whole and self._all_judged()
        if self._policy.decide([verdict])[0].withheld:
            self._held.judge(verdict)
        elif due:
            self._held.judge(self._worst())

    async def take(self, message: Message) -> None:
        """The application sends a message."""
        if self._over:
            return
        if message["type"] == "http.response.start":
            self._start = message
            # Its own refusal of a request, as 422: nothing was generated, so no verdict will come.
            self._passing = message["status"] >= 400 and self._generations() <= 0
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        if self._passing:
            await self._pass(message)
            return
        # An empty message says nothing, and must not count as the piece of another pass: the end is sent apart.
        if message.get("body"):
            self._bytes += len(message["body"])
            self._held.put({**message, "more_body": True})
        if self._bytes > self._most and self._held.decision is None:
            # No room to wait any longer: what was not judged by now is not judged.
            self._held.judge(Verdict(self._request_id, "unmonitored", (NO_VERDICT,)))
        for ready in self._held.ready():
            self._bytes -= len(ready["body"])
            await self._pass(ready)
        if self._withheld():
            await self.withhold()
        elif not message.get("more_body", False):
            # Not when the application returns: it may have work of its own left.
            await self.finish()

    async def finish(self) -> None:
        """The response is whole: sends what is left, once it may be sent, or what stands for it."""
        if self._over or self._passing or self._whole or self._start is None:
            return
        with self._lock:
            self._whole = True
            due = self._all_judged()
        if due:
            self._held.judge(self._worst())
        self._held.end()
        asking = None if self._ask is None else asyncio.ensure_future(self._ask())
        if asking is not None:
            asking.add_done_callback(self._answered)
        try:
            async for message in self._held:
                await self._pass(message)
        finally:
            if asking is not None:
                asking.cancel()
        if self._withheld():
            await self.withhold()
        else:
            await self._pass({"type": "http.response.body", "body": b"", "more_body": False})

    def _answered(self, asking: asyncio.Future[Verdict]) -> None:
        if not asking.cancelled() and asking.exception() is None:
            self._held.judge(asking.result())

    async def withhold(self) -> None:
        """Sends the replacement, or ends a stream that has begun."""
        if self._over:
            return
        self._over = True
        decision = self._held.decision
        if decision is None or not decision.withheld:
            decision = Decision(Verdict(self._request_id, "unmonitored", (NO_VERDICT,)), True)
        replaced = self._replaced(decision)
        if self._started:
            await self._send({"type": "http.response.body", "body": replaced.cut, "more_body": False})
            return
        headers = [
            (b"content-type", replaced.content_type.encode("latin-1")),
            (b"content-length", str(len(replaced.body)).encode()),
        ]
        await self._send(
            {
                "type": "http.response.start", "status": replaced.status,
                "headers": with_header(headers, self._header, self._request_id),
            }
        )  # fmt: skip
        await self._send({"type": "http.response.body", "body": replaced.body, "more_body": False})

    async def _pass(self, message: Message) -> None:
        if not self._started and self._start is not None:
            self._started = True
            start = self._start
            headers = with_header(start.get("headers", ()), self._header, self._request_id)
            await self._send({**start, "headers": headers})
        await self._send(message)

    def _withheld(self) -> bool:
        decision = self._held.decision
        return decision is not None and decision.withheld

    def _all_judged(self) -> bool:
        """Whether every generation of this request has its verdict; the lock is held."""
        return len(self._verdicts) >= max(self._generations(), 1)

    def _worst(self) -> Verdict:
        with self._lock:
            return max(self._verdicts, key=lambda verdict: SEVERITY[verdict.status])
