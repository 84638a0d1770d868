"""Now: what is wrong, how each deployment is, and what the last hours were like."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sri_sdk.dashboard import figures, words
from sri_sdk.dashboard.desk import Asked, Desk, for_all_tenants
from sri_sdk.dashboard.numbers import QUANTILES, Counts, of_guard, quantile
from sri_sdk.dashboard.replicas import replicas
from sri_sdk.dashboard.spans import WINDOWS, Window
from sri_sdk.report.troubles import SILENT_MS, canary_stopped, drift_words, standing
from sri_sdk.serve.store.observed import HourCount, StreamQuery


class NowPage:
    """`/`, and its upper part alone, which is asked for again every few seconds."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def whole(self, request: Request) -> Response:
        """The page."""
        for_all_tenants(request)
        asked = self._desk.asked(request, "since", "deployment", "bundle")
        return self._desk.page(request, "now.html", asked=asked, **self._state(), **self._history(asked))

    def state(self, request: Request) -> Response:
        """What is wrong and how each deployment is."""
        for_all_tenants(request)
        self._desk.asked(request)
        return self._desk.page(request, "now_state.html", **self._state())

    def _state(self) -> dict[str, Any]:
        desk, now = self._desk, self._desk.now_ms()
        found, since = desk.wrong()
        pulses, sources = desk.store.pulses(), desk.store.sources()
        heard = {p.deployment: p.at for p in pulses} | desk.store.heard()
        newest = {p.deployment: self._newest(p.deployment) for p in pulses}
        canaries = {p.deployment: self._newest(p.deployment, flagged_canary=True) for p in pulses}
        gone = [p for p in pulses if standing(p, now, heard[p.deployment]) == "gone"]
        rested = [heard[p.deployment] for p in gone]
        rested += [at for each in sources for at in (each.heartbeat_at, each.verdict_at) if at is not None]
        return {
            "findings": found,
            "since": since,
            "lives": desk.memory.lives,
            "rests_since": max(rested, default=None),
            "pulses": [p for p in pulses if standing(p, now, heard[p.deployment]) != "gone"],
            "ended": [p for p in gone if p.ended],
            "lost": [p for p in gone if not p.ended],
            "heard": heard,
            "replicas": replicas(desk.store.processes(), now),
            "canary_stopped": canary_stopped,
            "drift_words": drift_words,
            "silent_ms": SILENT_MS,
            "newest": newest,
            "canaries": canaries,
            "sources": sources,
            "anything": bool(pulses) or desk.store.last_seq() > 0,
        }

    def _newest(self, deployment: str, *, flagged_canary: bool = False) -> Any:
        query = StreamQuery(kind="traffic", deployment=deployment, limit=1)
        if flagged_canary:
            # Some canaries are harmless, and rightly clear: only a flagged one proves that the guard works.
            query = StreamQuery(kind="canary", status="flagged", deployment=deployment, limit=1)
        rows = self._desk.store.stream(query).rows
        return rows[0].observation if rows else None

    def _history(self, asked: Asked) -> dict[str, Any]:
        desk, now, window = self._desk, self._desk.now_ms(), asked.window
        deployment, bundle = asked.get("deployment"), asked.get("bundle")
        since = window.begin(now)
        # As many hours together as the pictures have: a month of single hours would be a hundred thousand counts.
        together = window.together
        hours, unnamed = of_guard(desk.store.hours(since, now, deployment=deployment, together=together), bundle)
        traffic = [each for each in hours if each.kind == "traffic"]
        latencies = desk.store.latencies(since, now, deployment=deployment, together=together)
        promises = {
            p.deployment: p.promised
            for p in desk.store.pulses()
            if p.promised is not None and deployment in (None, p.deployment) and bundle in (None, p.bundle)
        }
        return {
            "window": window,
            "windows": WINDOWS,
            "from_ms": since,
            "unnamed": unnamed,
            "choices": desk.store.choices(),
            "counts": Counts.of(traffic),
            "promised": next(iter(promises.values())) if len(set(promises.values())) == 1 else None,
            "promises": promises,
            "alarms": figures.alarms(hours, since, now, window.alarms, promises),
            "coverage": figures.coverage(hours, since, now, window.together),
            "latency": figures.latency(latencies, since, now, window.together) if latencies else None,
            "latencies": [(share, quantile(latencies, share)) for share in QUANTILES],
            "reasons": _reasons(traffic, window, now),
            "guards": _guards(traffic),
            "shadow": Counts.of(each for each in hours if each.kind == "shadow"),
            "table": figures.table,
        }


def _reasons(hours: list[HourCount], window: Window, now: int) -> list[dict[str, Any]]:
    """Why traffic has no verdict, the most frequent first, and between which hours it was seen."""
    found: dict[str, list[HourCount]] = defaultdict(list)
    for each in hours:
        if each.status == "unmonitored":
            found[each.reason].append(each)
    rows = [
        {
            "code": code,
            "generations": sum(each.generations for each in some),
            "first": min(each.hour_ms for each in some),
            "last": min(max(each.hour_ms for each in some) + (window.together - 1) * words.HOUR_MS, now),
        }
        for code, some in found.items()
    ]
    return sorted(rows, key=lambda row: -int(row["generations"]))


def _guards(hours: list[HourCount]) -> list[dict[str, Any]]:
    """Traffic per deployment, model and guard."""
    found: dict[tuple[str, str, str], list[HourCount]] = defaultdict(list)
    for each in hours:
        found[each.deployment, each.model, each.bundle].append(each)
    return [
        {"deployment": key[0], "model": key[1], "bundle": key[2], "counts": Counts.of(some)}
        for key, some in sorted(found.items())
    ]
