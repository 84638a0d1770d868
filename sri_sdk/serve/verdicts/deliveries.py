"""Posting verdicts, and signals that are scored here. An answer of 200 says that they are on disk."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

from sri_sdk.records import Rule, Signals, Verdict
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_lines import read_lines
from sri_sdk.serve.http import Answer, Refusal, Request, bounded, json_answer
from sri_sdk.serve.noting import note
from sri_sdk.serve.store.rows import Added, Delivered
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.asking import settled
from sri_sdk.serve.verdicts.callers import name, writes_for
from sri_sdk.serve.verdicts.counts import VerdictCounts
from sri_sdk.serve.verdicts.posted import PostedVerdicts, choice, known, read, verdicts_of
from sri_sdk.strict_json import JsonError, parse

T = TypeVar("T")

LARGE = 2**16
"""Bytes of a body that is read in a thread: the loop has others to serve."""
NO_FINGERPRINT = (
    "signals: the header has no `fingerprint`, so they may belong to another model. Send what "
    "`run.signals.fingerprint` says, or `unverified=true` in the query at your own risk."
)
BUNDLES = ("bundle", "rule", "accept", "unverified", "source")


class Live(Protocol):
    """A bundle as it is served right now."""

    @property
    def scorer(self) -> Scorer:
        """What scores."""
        ...


class Scoring(Protocol):
    """What scores posted signals."""

    def live(self, name: str) -> Live:
        """The bundle under a name; raises `Refusal` where there is none."""
        ...

    def posted(
        self, bundle: str, live: Live, verdicts: Sequence[Verdict], judge: Callable[[Scorer], Sequence[Verdict]]
    ) -> None:
        """Is told of verdicts that were given; `judge` gives those of another scorer on the same signals."""
        ...


class Deliveries:
    """The handlers that store verdicts.

    Args:
        store: where they go.
        counts: what is shown of them.
        scoring: what scores signals; None = nothing is scored.
        most_rows: verdicts, or generations, in one request.
    """

    def __init__(self, store: VerdictStore, counts: VerdictCounts, scoring: Scoring | None, most_rows: int) -> None:
        self._store, self._counts, self._scoring, self._most_rows = store, counts, scoring, most_rows

    async def verdicts(self, request: Request) -> Answer:
        """`POST /v1/verdicts`: verdicts that another process reached."""
        tenant, body = writes_for(request), await request.body()
        source, verdicts = await _apart(len(body), lambda: _read_verdicts(body, self._most_rows))
        note(len(verdicts))
        stored, before = await self._deliver(verdicts, tenant, source)
        return json_answer({"stored": stored, "known": before})

    async def signals(self, request: Request) -> Answer:
        """`POST /v1/signals?bundle=&rule=&accept=&unverified=&source=`: signals as `sri score` reads them."""
        if self._scoring is None:
            raise Refusal(404, "signals: nothing is scored here. Send verdicts, or ask a server that has a bundle.")
        tenant, query = writes_for(request), known(request.query, BUNDLES)
        if "bundle" not in query:
            raise Refusal(
                400, "bundle: missing. Say which one scores: /v1/signals?bundle=NAME; GET /v1/bundles has them."
            )
        bundle = bounded(query["bundle"], "bundle")
        live = self._scoring.live(bundle)
        rule = cast(Rule, choice(query.get("rule"), live.scorer.rules, "rule") or "final")
        unverified = choice(query.get("unverified"), ("true", "false"), "unverified") == "true"
        accept = tuple(filter(None, query.get("accept", "").split(",")))
        source = name(query["source"], "source") if query.get("source") else ""
        body = await request.body()
        signals = await asyncio.to_thread(self._read, live.scorer, body)

        def judge(scorer: Scorer) -> Sequence[Verdict]:
            return scorer.score(signals, rule=rule, accept=accept, unverified=unverified)

        if not unverified and signals.fingerprint is None:
            raise Refusal(400, NO_FINGERPRINT)
        verdicts = await asyncio.to_thread(judge, live.scorer)
        note(len(verdicts), live.scorer.bundle.digest)
        stored, before = await self._deliver(verdicts, tenant, source)
        self._scoring.posted(bundle, live, verdicts, judge)
        answer = {"verdicts": [each.to_dict() for each in verdicts], "bundle": live.scorer.bundle.digest}
        return json_answer({**answer, "stored": stored, "known": before})

    def _read(self, scorer: Scorer, body: bytes) -> Signals:
        signals = read_lines(io.BytesIO(body), "signals", scorer.manifest.signal.domain)
        if len(signals.ids) > self._most_rows:
            raise Refusal(413, f"signals: {len(signals.ids)} generations; allowed: {self._most_rows}. Send fewer.")
        for row, each in enumerate(signals.ids):
            bounded(each, f"signals, row {row}, id")
        return signals

    async def _deliver(self, verdicts: Sequence[Verdict], tenant: str, source: str) -> tuple[int, int]:
        rows = [Delivered(each, tenant, source) for each in verdicts]
        added = await settled(lambda: self._store.deliver(rows)) if rows else Added(0, 0)
        self._counts.delivered([each.status for each in verdicts], added)
        return added.stored, added.known


def _read_verdicts(body: bytes, most: int) -> tuple[str, list[Verdict]]:
    try:
        value = parse(body)
    except JsonError as err:
        raise Refusal(400, f"body: {err}. Send one JSON value in UTF-8.") from err
    posted = read(PostedVerdicts, value)
    return name(posted.source, "source") if posted.source else "", verdicts_of(posted, most)


async def _apart(size: int, work: Callable[[], T]) -> T:
    """Does work at once where it is small, and in a thread where others would wait for it."""
    return work() if size < LARGE else await asyncio.to_thread(work)
