"""Verdicts: the stream with its filters, and one verdict with everything that is kept of it."""

from __future__ import annotations

from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sri_sdk.dashboard import figures, words
from sri_sdk.dashboard.canaries import canary_of
from sri_sdk.dashboard.desk import NO_GUARD, Asked, Desk, tenant_of
from sri_sdk.dashboard.numbers import of_guard
from sri_sdk.dashboard.spans import span_ms
from sri_sdk.observation import Consequence, Kind
from sri_sdk.records import Status
from sri_sdk.serve.http import Refusal
from sri_sdk.serve.store.observed import LABELS, Observed, StreamQuery

PER_PAGE = 50
TIMES = ("15m", "1h", "24h", "7d", "30d")
"""What the filter of time offers; any other may be asked for."""
LOOKED_BACK = "30d"
"""How far back verdicts without a guard are counted, where no time is asked for."""
_LABELS = (*LABELS, "any", "unlabelled")
_FILTERS = (
    "q", "before", "status", "reason", "time", "consequence", "kind", "label", "deployment", "bundle", "model",
    "tenant",
)  # fmt: skip


class VerdictPages:
    """`/verdicts`, its rows alone, and `/verdicts/{id}`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def stream(self, request: Request) -> Response:
        """The stream."""
        return self._answer(request, "verdicts.html")

    def rows(self, request: Request) -> Response:
        """One page of it, without what stands around."""
        return self._answer(request, "verdicts_rows.html")

    def _answer(self, request: Request, template: str) -> Response:
        asked, tenant = self._desk.asked(request, *_FILTERS), tenant_of(request)
        query = query_of(asked, tenant, self._desk.now_ms())
        page = self._desk.store.stream(query)
        if template == "verdicts.html" and len(page.rows) == 1 and _is_whole(asked, page.rows[0]):
            # Whoever pastes a whole id wants to see it.
            return RedirectResponse(f"/verdicts/{page.rows[0].observation.id}", status_code=303)
        filters = {name for name in asked.query if name not in ("before", "q")}
        return self._desk.page(
            request, template, asked=asked, page=page, rows=page.rows, choices=self._desk.store.choices(),
            times=TIMES, labels=_LABELS, statuses=get_args(Status), kinds=get_args(Kind),
            consequences=get_args(Consequence), filters=filters, no_guard=NO_GUARD,
            unnamed=self._unnamed(asked, tenant) if template == "verdicts.html" else None,
        )  # fmt: skip

    def _unnamed(self, asked: Asked, tenant: str | None) -> tuple[int, int, list[str]] | None:
        """What a filter by guard hides: how many generations name no guard where this one ran, from when on they are
        counted, and the deployments; None = nothing is hidden."""
        bundle = asked.get("bundle")
        # Counts are everybody's; and whoever asks for another status does not ask for these.
        if bundle in (None, NO_GUARD) or tenant is not None or asked.get("status") not in (None, "unmonitored"):
            return None
        now = self._desk.now_ms()
        since = max(now - span_ms("time", asked.get("time") or LOOKED_BACK), 0)
        since -= since % words.HOUR_MS
        together = 24 if now - since > 2 * words.DAY_MS else 1
        hours = self._desk.store.hours(since, now, deployment=asked.get("deployment"), together=together)
        kept, count = of_guard(hours, bundle)
        names = {each.deployment for each in kept if not each.bundle and each.kind == "traffic"}
        return (count, since, sorted(names)) if count else None

    def one(self, request: Request) -> Response:
        """One verdict.

        Raises:
            Refusal: 404, nothing is known under this id.
        """
        self._desk.asked(request)
        return self._one(request, "verdict.html")

    def labels(self, request: Request) -> Response:
        """What people say of it, without what stands around."""
        return self._one(request, "verdict_labels.html")

    def _one(self, request: Request, template: str) -> Response:
        tenant = tenant_of(request)
        found = self._desk.store.observation(request.path_params["id"], tenant=tenant)
        if found is None:
            raise Refusal(
                404, "Nothing is kept under this id. It may be too old, erased, of another tenant, or mistyped: search "
                "for its beginning under Verdicts.",
            )  # fmt: skip
        return self._desk.page(request, template, **self._details(found, tenant))

    def _details(self, found: Observed, tenant: str | None) -> dict[str, Any]:
        it = found.observation
        others = self._desk.store.stream(StreamQuery(id=it.request_id, tenant=tenant, limit=20)).rows
        chart = None if it.trajectory is None else figures.trajectory(it.trajectory, it.verdict)
        canary = None
        if it.kind == "canary":
            pulses = {pulse.deployment: pulse for pulse in self._desk.store.pulses()}
            canary = canary_of(it, pulses.get(it.deployment))
        return {
            "canary": canary,
            "found": found,
            "it": it,
            "chart": chart,
            "others": [
                each.observation
                for each in others
                if each.observation.id != it.id and each.observation.request_id == it.request_id
            ],
        }


def query_of(asked: Asked, tenant: str | None, now_ms: int) -> StreamQuery:
    """The query of what was asked for.

    Raises:
        Refusal: 400, a word that is not known, or a number that is none.
    """
    before, label = asked.get("before"), asked.get("label", _LABELS)
    if before is not None and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise Refusal(400, f"before: {words.asked(before)} is not a number of a page. Go back to the first page.")
    time, bundle = asked.get("time"), asked.get("bundle")
    return StreamQuery(
        before=None if before is None else int(before),
        limit=PER_PAGE,
        status=asked.get("status", get_args(Status)),  # type: ignore[arg-type]
        reason=asked.get("reason"),
        kind=asked.get("kind", get_args(Kind)),  # type: ignore[arg-type]
        deployment=asked.get("deployment"),
        bundle="" if bundle == NO_GUARD else bundle,
        model=asked.get("model"),
        consequence=asked.get("consequence", get_args(Consequence)),  # type: ignore[arg-type]
        unlabelled=label == "unlabelled",
        label=None if label in (None, "unlabelled") else label,  # type: ignore[arg-type]
        tenant=asked.get("tenant") if tenant is None else tenant,
        since_ms=None if time is None else now_ms - span_ms("time", time),
        id=asked.get("q"),
    )


def _is_whole(asked: Asked, row: Observed) -> bool:
    return asked.get("q") in (row.observation.id, row.observation.request_id)
