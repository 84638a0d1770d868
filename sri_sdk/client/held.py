"""Streamed output, held back until the guard has judged what it came from."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Generic, Protocol, Self, TypeVar

from sri_sdk.policy import Decision, Policy
from sri_sdk.reason_words import NO_VERDICT
from sri_sdk.records import Verdict

Piece = TypeVar("Piece")


class Judged(Protocol):
    """What `of` takes: the run of a `watch`."""

    @property
    def decisions(self) -> Sequence[Decision]:
        """What its policy makes of each request, once its block has ended."""
        ...


class HeldTokens(Generic[Piece]):
    """Pieces of one response between the generation that makes them and the stream that sends them.

        held = sri_sdk.HeldTokens(policy, request_id="r1", budget_s=2.0)
        # In the thread that generates:
        with held, sri_sdk.watch(model, guard, policy=policy, request_ids=["r1"]) as run:
            held.of(run)
            model.generate(**inputs, streamer=...)  # Calls held.put(text).
        # In the one that sends:
        for text in held:
            send(text)
        if held.decision.withheld:
            send(refusal)

    The block ends the response in any case, so the side that sends never hangs: by the decision of its run, and where
    there is none, because `watch` refused or the model raised, by one on a verdict `unmonitored` with `no_verdict`.
    Without a block, call `end` in a `finally`.

    When a piece is let go follows from the policy:

    * It withholds nothing (`report` throughout): at once.
    * Rule `online` or `request`: once `behind` more pieces are there. A piece of step k is judged before the pass of
      step k + 1 gives its own, so an alarm comes before the piece that it is about. A policy that looks every N steps
      only (`look_every`) holds back N - 1 more.
    * Rule `final`: once the verdict is there.

    What is left at the end waits for the verdict, for at most `budget_s` seconds; then the policy decides on a verdict
    `unmonitored` with `no_verdict`. Pieces must be committed: what a sampler may still change is not for a stream.
    """

    def __init__(self, policy: Policy, *, request_id: str = "0", budget_s: float = 1.0, behind: int = 1) -> None:
        """Takes what decides.

        Args:
            policy: the policy of the watch.
            request_id: whose response it is; the one of its row in the watch.
            budget_s: most seconds between the end of the generation and the decision.
            behind: pieces held back under the rules `online` and `request`: at least as many as one cell of the step
                grid has steps.
        """
        self._policy, self._request_id, self._budget = policy, request_id, budget_s
        late = max(behind, 1) + policy.steps_late
        self._behind = 0 if not policy.may_withhold else None if policy.rule == "final" else late
        self._changed = threading.Condition()
        self._pieces: deque[Piece] = deque()
        self._wakers: list[Callable[[], None]] = []
        self._ended_at: float | None = None
        self._decision: Decision | None = None
        self._run: Judged | None = None

    # -- the side that generates -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def of(self, run: Judged) -> None:
        """Names the run that this response comes from; it decides when the block of this object ends."""
        self._run = run

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        decided = None
        if self._run is not None:
            decided = next((each for each in self._run.decisions if each.request_id == self._request_id), None)
        plain = decided is not None and decided.recovered is None and not decided.own_refusal
        if decided is not None and plain and not decided.withheld:
            # A watch without a policy withholds nothing; this one may.
            (decided,) = self._policy.decide([decided.verdict])
        over = self._run is not None or error is not None
        if decided is None and over and self.decision is None:
            # Nothing will come any more, so nobody needs to wait for it.
            self.judge(self._nobody_judged())
        self.end(decided)

    def put(self, piece: Piece) -> None:
        """Takes the next piece; what comes after the response was withheld is let go of."""
        with self._changed:
            if self._decision is None or not self._decision.withheld:
                self._pieces.append(piece)
        self._wake()

    def judge(self, verdict: Verdict) -> None:
        """Takes a verdict, from wherever it comes. The first decides, unless a later one withholds what is left."""
        (decision,) = self._policy.decide([verdict])
        self._decide(decision)

    def end(self, decision: Decision | None = None) -> None:
        """The generation has ended, or was aborted.

        Args:
            decision: of this request, such as `run.decisions[0]`; None = it comes by `judge`.
        """
        with self._changed:
            if self._ended_at is None:
                self._ended_at = time.monotonic()
        if decision is not None:
            self._decide(decision)
        self._wake()

    # -- the side that sends ---------------------------------------------------------------------------------

    @property
    def decision(self) -> Decision | None:
        """What was decided; None = nothing. There is one when the iteration has ended, if the policy may withhold."""
        with self._changed:
            return self._decision

    def ready(self) -> list[Piece]:
        """Pieces that may be sent now; waits for nothing."""
        with self._changed:
            return self._next()[0]

    def __iter__(self) -> Iterator[Piece]:
        """Pieces as they are let go; ends with the response, or where it is withheld."""
        while True:
            with self._changed:
                found, done, wait_s = self._next()
                if not found and not done:
                    self._changed.wait(wait_s)
                    continue
            yield from found
            if done:
                return

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The same, for an event loop."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def waker() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._changed:
            self._wakers.append(waker)
        try:
            while True:
                changed.clear()
                with self._changed:
                    found, done, wait_s = self._next()
                for piece in found:
                    yield piece
                if done:
                    return
                if not found:
                    # Not `wait_for`: until Python 3.12 it may swallow that whoever iterates is cancelled.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await changed.wait()
        finally:
            with self._changed:
                self._wakers.remove(waker)

    # -- inside ----------------------------------------------------------------------------------------------

    def _next(self) -> tuple[list[Piece], bool, float | None]:
        """Pieces to let go now, whether that is all, and how long to wait otherwise; the lock is held."""
        wait_s = None
        if self._decision is None and self._ended_at is not None and self._behind != 0:
            wait_s = self._ended_at + self._budget - time.monotonic()
            if wait_s <= 0:
                (self._decision,) = self._policy.decide([self._nobody_judged()])
        if self._decision is not None and self._decision.withheld:
            self._pieces.clear()
            return [], True, None
        free = 0 if self._behind is None else max(len(self._pieces) - self._behind, 0)
        if self._decision is not None:
            free = len(self._pieces)
        found = [self._pieces.popleft() for _ in range(free)]
        decided = self._decision is not None or self._behind == 0
        return found, decided and self._ended_at is not None and not self._pieces, wait_s

    def _nobody_judged(self) -> Verdict:
        return Verdict(self._request_id, "unmonitored", (NO_VERDICT,))

    def _decide(self, decision: Decision) -> None:
        with self._changed:
            if self._decision is None or decision.withheld:
                self._decision = decision
        self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
            wakers = list(self._wakers)
        for wake in wakers:
            # Its event loop may be closed: nobody listens there any more.
            with suppress(RuntimeError):
                wake()
