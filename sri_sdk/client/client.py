"""The client of `sri serve` in the model's process: a sink for verdicts, and a few questions with a budget."""

from __future__ import annotations

import atexit
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Self

from sri_sdk.client.address import Address
from sri_sdk.client.carried import Carried, carried, carrying, trace_of
from sri_sdk.client.counts import ClientCounts
from sri_sdk.client.outbox import Parcel
from sri_sdk.client.questions import lookup, score
from sri_sdk.client.rarely import log
from sri_sdk.client.settings import ClientSettings, is_id, is_name
from sri_sdk.client.tokens import Token
from sri_sdk.client.work import Work, tls_of
from sri_sdk.emitter import Emitter
from sri_sdk.errors import ConfigError
from sri_sdk.options import parse
from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.sink import Sink


class VerdictClient(Sink):
    """Sends verdicts to `sri serve`, and asks it, without ever keeping a generation waiting beyond a budget.

        client = sri_sdk.VerdictClient("https://scorer:8000", token_file="/run/secrets/sri-token")
        with client.generation(tenant="acme") as ids:
            with sri_sdk.watch(model, "out/guard", request_ids=ids, sinks=[client]) as run:
                model.generate(**inputs)

    Verdicts wait in a bounded queue and are posted by a thread of the client's own. While the store is down they are
    sent again and again, and what finds no room is dropped and counted (`counts`). `score` and `lookup` answer
    `unmonitored` where nobody answers in time, so that a policy decides what follows.

    One client serves all threads of a process, until it is closed. A forked process has a queue, a thread and counts of
    its own, which begin with its first generation or verdict.
    """

    Config = ClientSettings

    def __init__(self, url: str | ClientSettings, **options: Any) -> None:
        """Takes the address, and options by name: the fields of `VerdictClient.Config`.

        Nobody is waited for: a scorer that is down does not keep a service from starting.

        Args:
            url: `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`; or all options as one `VerdictClient.Config`.
            options: such as `token_file`, `tenant`, `source`, `budget_s`.

        Raises:
            ConfigError: an option is wrong, or a file that is named cannot be read.
        """
        if isinstance(url, ClientSettings):
            if options:
                raise ConfigError(
                    f"VerdictClient: {', '.join(options)} beside a whole Config; put everything into the Config."
                )
            settings = url
        else:
            settings = parse(ClientSettings, {"url": url, **options}, subject="VerdictClient")
        super().__init__(settings)
        self._settings = settings
        self._address = Address.parse(settings.url)
        self._token = Token(settings)
        self._tls = tls_of(settings, self._address)
        if self._token.header() and not self._address.encrypted_or_here:
            log.warning("%s: the token travels unencrypted; use https, or a unix socket", self._address)
        self._closed = False
        self._work = self._begin()
        self._work.outbox.start()
        _open.add(self)

    # -- the sink --------------------------------------------------------------------------------------------

    def emit(self, verdict: Verdict) -> None:
        """Takes a verdict, and returns at once."""
        work = self._work
        known = work.generations.judged(verdict.request_id) or carried()
        tenant = known.tenant or self._settings.tenant
        work.outbox.put(Parcel(verdict, Carried(verdict.request_id, tenant, known.traceparent)))
        work.board.pin(verdict)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Waits until every verdict is delivered or dropped; says whether that was reached in time.

        Args:
            timeout_s: seconds; None = `close_s` of the options.
        """
        until = time.monotonic() + (self._settings.close_s if timeout_s is None else timeout_s)
        # What `watch` has not handed over yet counts as well.
        handed = Emitter([self]).flush(max(until - time.monotonic(), 0))
        return self._work.outbox.flush(max(until - time.monotonic(), 0)) and handed

    def close(self) -> None:
        """Delivers what was accepted, for at most `close_s` seconds, and lets go of everything; twice is fine."""
        if self._closed:
            return
        until = time.monotonic() + self._settings.close_s
        Emitter([self]).flush(self._settings.close_s)
        self._closed = True
        self._work.outbox.close(max(until - time.monotonic(), 0))
        self._work.calls.close()
        _open.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what a generation is --------------------------------------------------------------------------------

    @contextmanager
    def generation(
        self, *request_ids: str, tenant: str | None = None, traceparent: str | None = None
    ) -> Iterator[list[str]]:
        """Announces a generation: counts it, and remembers what its verdicts carry.

        Args:
            request_ids: one per row of the batch; none = the id that the middleware gave this request, or a new one.
            tenant: whose request it is; None = the context's, then the client's.
            traceparent: of the request's trace, as its header had it; None, or something else = the context's.

        Yields:
            The request ids, for `watch(..., request_ids=ids)`.

        Raises:
            ConfigError: an id or a tenant that `sri serve` would refuse.
        """
        before = carried()
        ids = list(request_ids) or [before.request_id or new_id()]
        whose = tenant or before.tenant or self._settings.tenant
        if not all(map(is_id, ids)) or not (whose is None or is_name(whose)):
            raise ConfigError(
                "generation: an id or the tenant cannot be stored, and is not shown here; allowed: 1 to 512 characters "
                "in an id and 128 in a tenant, none of them a control character. Pass another one, or no ids at all."
            )
        known = Carried(ids[0], whose, trace_of(traceparent) or before.traceparent)
        work = self._work
        work.outbox.start()
        for each in ids:
            work.generations.begin(each, known)
        try:
            with carrying(known):
                yield ids
        finally:
            for each in ids:
                work.generations.end(each)

    @contextmanager
    def canary(self) -> Iterator[list[str]]:
        """Announces a generation that must be flagged, run through the same watch as all others.

            with client.canary() as ids, sri_sdk.watch(model, guard, request_ids=ids, sinks=[client]):
                model.generate(**known_to_be_flagged)

        The next heartbeat tells the store what the guard said of it. Where that was nothing, or not `flagged`, the
        store shows this source as `tap_missing`. The verdict is stored as any other; its id begins with `sri-canary-`.

        Yields:
            Its request id, in a list.
        """
        work = self._work
        request_id = work.canaries.new()
        work.outbox.start()
        try:
            with carrying(Carried(request_id, self._settings.tenant)):
                yield [request_id]
        finally:
            work.canaries.ran(request_id)
            work.outbox.beat_soon()

    # -- questions -------------------------------------------------------------------------------------------

    def score(
        self, signals: Signals, *, bundle: str, rule: Rule = "final", accept: Collection[str] = (),
        unverified: bool = False, budget_s: float | None = None,
    ) -> list[Verdict]:  # fmt: skip
        """Has signals scored by `sri serve`, which stores the verdicts too.

        Args:
            signals: N generations, such as `run.signals`.
            bundle: name under which the scorer has the guard.
            rule: as for `Scorer.score`.
            accept: soft fields of the fingerprint that may differ.
            unverified: score signals without a fingerprint too.
            budget_s: most seconds this takes; None = `budget_s` of the options.

        Returns:
            N verdicts, in order. Where nobody answers they are `unmonitored`, with `scorer_unavailable` (it is down, or
            refuses, or answers nonsense) or `scorer_late`. Those are not in the store, so their generations count
            as `without_verdict` once `grace_s` has passed.

        Raises:
            ConfigError: the signals cannot be written as JSON lines.
        """
        until = time.monotonic() + (self._settings.budget_s if budget_s is None else budget_s)
        work = self._work
        verdicts, stored = score(
            work, signals, until, self._headers(), bundle=bundle, rule=rule, accept=accept, unverified=unverified
        )
        for verdict in verdicts:
            if stored:
                # What nobody answered is known here alone: the store must learn that this generation has no verdict.
                work.generations.judged(verdict.request_id)
            work.board.pin(verdict)
        return verdicts

    def lookup(
        self, request_id: str, *, wait_s: float = 0.0, rule: Rule | None = None, budget_s: float | None = None
    ) -> Verdict:
        """The verdict on a request, as the store has it: the most severe of several.

        Args:
            request_id: as it was generated under.
            wait_s: seconds that the store waits for a verdict that is not there yet.
            rule: the store waits for a verdict of this rule, or one that flags; without either the request is
                `unmonitored`, whatever other rules say. None = the first verdict ends the wait.
            budget_s: most seconds this takes beyond `wait_s`; None = `budget_s` of the options.

        Returns:
            The verdict. If nobody has judged the request, `unmonitored` with `no_verdict`; if nobody answers,
            `unmonitored` with `scorer_unavailable` or `scorer_late`.
        """
        until = time.monotonic() + wait_s + (self._settings.budget_s if budget_s is None else budget_s)
        return lookup(self._work, request_id, wait_s, until, self._headers(), rule)

    def known(self, request_id: str, *, wait_s: float = 0.0) -> Verdict | None:
        """The verdict that this process itself has given on a request, without asking anybody; None = none.

        Args:
            request_id: as it was generated under.
            wait_s: seconds to wait for it.
        """
        return self._work.board.find(request_id, wait_s)

    def listen(self, request_id: str, tell: Callable[[Verdict], None]) -> Callable[[], None]:
        """Calls `tell` with every verdict that this process gives on a request from now on.

        Args:
            request_id: as it is generated under.
            tell: called in another thread; must return at once. What it raises is logged, and changes nothing.

        Returns:
            A function that ends it.
        """
        return self._work.board.listen(request_id, tell)

    def generations_of(self, request_id: str, *, ended: bool = False) -> int:
        """How many generations of this id were announced in this process.

        Args:
            request_id: as it is generated under.
            ended: count only those that have ended.
        """
        generations = self._work.generations
        return generations.over(request_id) if ended else generations.times(request_id)

    @property
    def counts(self) -> ClientCounts:
        """What became of everything so far."""
        return self._work.counts()

    # -- inside ----------------------------------------------------------------------------------------------

    def _headers(self) -> dict[str, str]:
        here = carried()
        known = Carried(None, here.tenant or self._settings.tenant, here.traceparent)
        return {**self._token.header(), **known.headers()}

    def _begin(self) -> Work:
        return Work(self._settings, self._address, self._token, self._tls)

    def _forked(self) -> None:
        """In a child: what waits is the parent's to deliver, and so are its threads and its sockets."""
        self._work.forget()
        self._token.forked()
        self._work = self._begin()

    @classmethod
    def example(cls) -> Any:
        """A client of a scorer that is down: nobody can tell what arrived. It gives up at once when it is closed."""
        return cls("http://127.0.0.1:9", close_s=0.2, heartbeat_s=0.0)


def new_id() -> str:
    """A request id that nobody else has, and nobody can guess."""
    return uuid.uuid4().hex


_open: set[VerdictClient] = set()
"""Clients that were not closed: whoever forgets one must not lose what it has accepted."""


def _close_all() -> None:
    for client in list(_open):
        client.close()


def _after_fork() -> None:
    for client in list(_open):
        client._forked()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
