"""Health: canaries, drift, sinks, and whether every generation is accounted for."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sri_sdk.dashboard import figures, words
from sri_sdk.dashboard.canaries import canary_of
from sri_sdk.dashboard.desk import Asked, Desk, for_all_tenants
from sri_sdk.dashboard.numbers import Counts
from sri_sdk.dashboard.replicas import replicas
from sri_sdk.dashboard.spans import WINDOWS
from sri_sdk.observation import Pulse
from sri_sdk.report.troubles import SILENT_MS, canary_stopped, drift_words, standing
from sri_sdk.serve.store.observed import StreamQuery

CANARIES = 12
"""Of the latest ones, how many are shown per deployment."""
MOST_PARTS = 4
POINTS = 600


class HealthPage:
    """`/health`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def whole(self, request: Request) -> Response:
        """The page."""
        for_all_tenants(request)
        asked = self._desk.asked(request, "since", "deployment")
        now, store = self._desk.now_ms(), self._desk.store
        wanted = asked.get("deployment")
        pulses = [p for p in store.pulses() if wanted in (None, p.deployment)]
        heard = {p.deployment: p.at for p in pulses} | store.heard()
        pulses = [p for p in pulses if standing(p, now, heard[p.deployment]) != "gone"]
        return self._desk.page(
            request, "health.html", asked=asked, windows=WINDOWS, window=asked.window,
            deployments=[self._deployment(pulse, asked, now) for pulse in pulses], sources=store.sources(),
            silent_ms=SILENT_MS, heard=heard, drift_words=drift_words, choices=store.choices(),
            replicas=replicas(store.processes(), now), outcome_of=canary_of,
        )  # fmt: skip

    def _deployment(self, pulse: Pulse, asked: Asked, now: int) -> dict[str, Any]:
        store, name = self._desk.store, pulse.deployment
        since = now - asked.window.span_ms
        flagged = store.stream(StreamQuery(kind="canary", status="flagged", deployment=name, limit=1)).rows
        canaries = store.stream(StreamQuery(kind="canary", deployment=name, limit=CANARIES)).rows
        points = store.scores(since, now, deployment=name, limit=POINTS)
        asked_by_us = store.scores(since, now, deployment=name, kind="canary", limit=POINTS // 3)
        parts = sorted({point.part for point in (*points, *asked_by_us)})[:MOST_PARTS]
        hours = store.hours(since, now, deployment=name, together=24)
        return {
            "pulse": pulse,
            "proven": flagged[0].observation.at if flagged else None,
            "stopped": None if pulse.canary_missed is not None else canary_stopped(pulse),
            "canaries": [row.observation for row in canaries],
            "charts": [(part, figures.scores(points, asked_by_us, part)) for part in parts],
            "accounted": pulse.clear + pulse.flagged + pulse.unmonitored + pulse.not_sampled == pulse.generated,
            "counted_from": since - since % words.HOUR_MS,
            "shadow": Counts.of(each for each in hours if each.kind == "shadow"),
            "live": Counts.of(each for each in hours if each.kind == "traffic"),
        }
