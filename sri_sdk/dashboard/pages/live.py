"""Live: what is being generated right now, the draft of each response beside its signal."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sri_sdk.dashboard import figures
from sri_sdk.dashboard.desk import Desk, tenant_of
from sri_sdk.dashboard.replicas import replicas, silent
from sri_sdk.report.troubles import SILENT_MS, standing

MOST = 60
"""Generations on the page."""


class LivePage:
    """`/live`, and its rows alone, which are asked for again every second."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def whole(self, request: Request) -> Response:
        """The page."""
        return self._answer(request, "live.html")

    def rows(self, request: Request) -> Response:
        """What runs."""
        return self._answer(request, "live_rows.html")

    def _answer(self, request: Request, template: str) -> Response:
        asked, tenant = self._desk.asked(request, "deployment"), tenant_of(request)
        deployment, store = asked.get("deployment"), self._desk.store
        running = [each for each in store.running(tenant) if deployment in (None, each.deployment)]
        # Of no use to whoever sees one tenant: they are of all of them.
        pulses = [] if tenant is not None else [p for p in store.pulses() if deployment in (None, p.deployment)]
        heard, now = {p.deployment: p.at for p in pulses} | store.heard(), self._desk.now_ms()
        # Who ended as asked is not silent.
        pulses = [p for p in pulses if standing(p, now, heard[p.deployment]) != "gone"]
        processes = replicas(store.processes(), now) if pulses else {}
        mute = [each for pulse in pulses for each in silent(processes, pulse.deployment)]
        return self._desk.page(
            request, template, asked=asked, running=running[:MOST], more=max(len(running) - MOST, 0), pulses=pulses,
            silent_ms=SILENT_MS, heard=heard, sparkline=figures.sparkline, deployment=deployment, mute=mute,
        )  # fmt: skip
