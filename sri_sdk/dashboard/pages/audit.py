"""Audit: the measured false-alarm rate beside the promise, and the queue of verdicts that wait for a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sri_sdk.dashboard import figures, words
from sri_sdk.dashboard.desk import AUDIT_DAYS, Asked, Desk, for_all_tenants, tenant_of
from sri_sdk.dashboard.spans import span_ms
from sri_sdk.metrics.audit import Measured, expected_precision, measure
from sri_sdk.serve.http import Refusal
from sri_sdk.serve.store.queue import audit_queue

QUEUE = 10
BASE_RATES = (0.0001, 0.001, 0.01, 0.1)
"""Shares of attacks for which precision is shown unasked."""
FOUND = 0.9
"""Share of attacks that are flagged, where nobody states one: an evaluation knows it, traffic does not."""
_ASKED = ("since", "deployment", "base", "found")
OFFERED = ("24h", "7d", "30d", "90d")
"""Times that the page offers."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One guard of one deployment, its promise, and what is measured."""

    deployment: str
    bundle: str
    promised: float | None
    measured: Measured
    gone: int
    """Drawn, and deleted before anybody labelled them."""
    unnamed: int
    """Generations of the deployment that name no guard, as nobody judged them."""

    @property
    def standing(self) -> str:
        """`kept`, `broken`, `not_known`, or `unstated` where no promise is known."""
        return "unstated" if self.promised is None else self.measured.standing(self.promised)

    @property
    def widest(self) -> float:
        """Right end of the picture of the interval, a share: a little beyond everything that it shows."""
        ends = [self.measured.rate or 0.0, self.promised or 0.0, self.measured.low]
        if self.measured.labelled:
            ends.append(self.measured.high)
        return min(max(max(ends) * 1.15, 0.001), 1.0)


class AuditPage:
    """`/audit`, and its queue alone."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def whole(self, request: Request) -> Response:
        """The page. Whoever may see one tenant only sees its queue: rates are of all of them."""
        asked, values = self._desk.asked(request, *_ASKED), self._queue(request)
        if tenant_of(request) is None:
            values |= self._measured(asked)
        return self._desk.page(request, "audit.html", asked=asked, days=OFFERED, **values)

    def queue(self, request: Request, deployment: str | None = None) -> Response:
        """What waits for a label; of one deployment, where the form that asks says which."""
        return self._desk.page(request, "audit_queue.html", **self._queue(request, deployment))

    def promises(self, request: Request) -> Response:
        """The measured rates, without what stands around."""
        for_all_tenants(request)
        asked = self._desk.asked(request, *_ASKED)
        return self._desk.page(request, "audit_promises.html", asked=asked, **self._measured(asked))

    def _queue(self, request: Request, deployment: str | None = None) -> dict[str, Any]:
        deployment = deployment or self._desk.asked(request, *_ASKED).get("deployment")
        found = audit_queue(self._desk.store, QUEUE, tenant=tenant_of(request), deployment=deployment)
        more = found.more or found.waiting > len(found.rows)
        return {
            "queue": found.rows, "more": more, "queue_of": deployment, "promises": None,
            "thumbnail": figures.thumbnail,
        }  # fmt: skip

    def _measured(self, asked: Asked) -> dict[str, Any]:
        now, store = self._desk.now_ms(), self._desk.store
        wanted, name = asked.get("deployment"), asked.get("since") or f"{AUDIT_DAYS}d"
        since = now - span_ms("since", name)
        rows = []
        for pulse in store.pulses():
            if wanted in (None, pulse.deployment):
                rows.append(self._promise(since, now, pulse.deployment, pulse.bundle, pulse.promised))
        # What monitors of another kind wrote, or none at all: measured all the same.
        rows = rows or [self._promise(since, now, wanted or "", "", None)]
        base, found = _share(asked, "base", None), _share(asked, "found", FOUND)
        rates = sorted({*BASE_RATES, *([base] if base else [])})
        return {
            "promises": rows,
            "since_asked": name,
            "counted_from": since - since % words.HOUR_MS,
            "base": base,
            "found_share": found,
            "precisions": [(rate, [_precision(row, rate, found or FOUND) for row in rows]) for rate in rates],
        }

    def _promise(self, since: int, now: int, deployment: str, bundle: str, promised: float | None) -> Promise:
        store = self._desk.store
        strata = store.audit_counts(since, now, deployment=deployment or None, bundle=bundle or None)
        # What was not judged names no guard: it is of this one or of another that the deployment ran.
        unnamed = store.audit_counts(since, now, deployment=deployment or None, bundle="") if bundle else ()
        return Promise(
            deployment, bundle, promised, measure(strata), sum(each.gone for each in strata),
            sum(each.generations for each in unnamed),
        )  # fmt: skip


def _precision(row: Promise, base: float, found: float) -> tuple[float | None, float | None]:
    """Precision at the promise, and at the upper end of what is measured; None = not known."""
    promised = None if row.promised is None else expected_precision(row.promised, found, base)
    at_worst = None if row.measured.rate is None else expected_precision(row.measured.high, found, base)
    return promised, at_worst


def _share(asked: Asked, name: str, default: float | None) -> float | None:
    written = asked.get(name)
    if written is None:
        return default
    try:
        found = float(written.removesuffix("%").strip().replace(",", ".")) / 100
    except ValueError:
        found = -1.0
    if not 0 < found <= 1:
        raise Refusal(
            400,
            f"{name}: {words.asked(written)} is not a share in percent; allowed: above 0, up to 100. Write 0.1 for one "
            "in 1,000.",
        )
    return found
