"""What pages ask of a store: each query with the filters that cost it most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.store.fill import END_MS, RARE, SPAN_MS
from sri_sdk import VerdictStore
from sri_sdk.serve.store.observed import StreamQuery

_DAY = 24 * 3_600_000
_MIDDLE = END_MS - SPAN_MS // 2
_PREFIX = "chat-0000"


def pages(store: VerdictStore, rows: int) -> dict[str, Callable[[], Any]]:
    """Name of a page -> what asks for it."""

    def stream(**filters: Any) -> Callable[[], Any]:
        return lambda: store.stream(StreamQuery(**filters))

    some = store.stream(StreamQuery(before=rows // 2, limit=1)).rows[0].observation
    return {
        "stream, the newest": stream(kind="traffic"),
        "stream, all kinds": stream(),
        "stream, far back": stream(kind="traffic", before=rows // 3),
        "stream, flagged": stream(kind="traffic", status="flagged"),
        "stream, one reason": stream(reason="non_finite_signal"),
        "stream, a rare deployment": stream(deployment=RARE),
        "stream, a rare deployment's alarms, of which there are none": stream(deployment=RARE, status="flagged"),
        "stream, would withhold": stream(consequence="would_withhold", deployment="chat"),
        "stream, canaries": stream(kind="canary"),
        "stream, a tenant": stream(tenant="tenant-7"),
        "stream, a tenant's alarms": stream(tenant="tenant-7", status="flagged"),
        "stream, alarms of nobody's tenant": stream(tenant="", status="flagged"),
        "stream, a tenant that does not exist": stream(tenant="nobody"),
        "stream, one day weeks ago": stream(kind="traffic", since_ms=_MIDDLE, until_ms=_MIDDLE + _DAY),
        "stream, alarms of one minute": stream(status="flagged", since_ms=_MIDDLE, until_ms=_MIDDLE + 60_000),
        "stream, an id": stream(id=some.request_id),
        "stream, how an id begins": stream(id=_PREFIX),
        "stream, how an observation begins": stream(id=some.id[:6]),
        "stream, labelled": stream(label="any"),
        "stream, labelled benign and flagged": stream(label="benign", status="flagged"),
        "audit, the queue": stream(unlabelled=True),
        "audit, the queue of clear ones": stream(unlabelled=True, status="clear", kind="traffic"),
        "audit, counts of 90 days": lambda: store.audit_counts(END_MS - SPAN_MS, END_MS),
        "one observation": lambda: store.observation(some.id),
        "one observation by its request": lambda: store.observation(some.request_id),
        "one that is unknown": lambda: store.observation("f" * 32),
        "overview, hours of 7 days": lambda: store.hours(END_MS - 7 * _DAY, END_MS),
        "overview, days of 90 days": lambda: store.hours(END_MS - SPAN_MS, END_MS, together=24),
        "overview, latency of 7 days": lambda: store.latencies(END_MS - 7 * _DAY, END_MS, together=24),
        "drift, scores of 90 days": lambda: store.scores(END_MS - SPAN_MS, END_MS),
        "drift, scores of a rare deployment": lambda: store.scores(END_MS - SPAN_MS, END_MS, deployment=RARE),
        "live": store.running,
        "filters": store.choices,
        "look-up of a request": lambda: store.find(None, some.request_id),
        "totals": store.totals,
    }
