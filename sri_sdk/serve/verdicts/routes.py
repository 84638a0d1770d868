"""Every path of the verdict store."""

from __future__ import annotations

from sri_sdk.records import Rule
from sri_sdk.serve.routes import Route
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.arrivals import Arrivals
from sri_sdk.serve.verdicts.counts import VerdictCounts
from sri_sdk.serve.verdicts.deliveries import Deliveries, Scoring
from sri_sdk.serve.verdicts.erasure import Erasure
from sri_sdk.serve.verdicts.litellm import PATH, LiteLLM, Unmonitored
from sri_sdk.serve.verdicts.lookups import LookUps
from sri_sdk.serve.verdicts.sources import Sources


def verdict_routes(
    store: VerdictStore, arrivals: Arrivals, counts: VerdictCounts, *, scoring: Scoring | None = None,
    most_rows: int = 4096, unmonitored: Unmonitored | None = None, wait_s: float = 2.0, rule: Rule | None = None,
) -> list[Route]:  # fmt: skip
    """The routes of a store.

    Args:
        store: opened.
        arrivals: of this store; a part of the same application.
        counts: what is shown of them.
        scoring: what scores signals; None = nothing does.
        most_rows: verdicts, or generations, in one request.
        unmonitored: what gateways are answered where nobody judged; None = no gateway is served.
        wait_s: seconds that a gateway's look-up waits for a verdict.
        rule: of the verdict that it waits for; None = any.
    """
    look_ups = LookUps(store, arrivals, counts)
    deliveries = Deliveries(store, counts, scoring, most_rows)
    sources, erasure = Sources(store), Erasure(store)
    routes = [
        Route("POST", "/v1/verdicts", deliveries.verdicts, "write"),
        Route("POST", "/v1/signals", deliveries.signals, "write"),
        Route("GET", "/v1/verdicts/{id}", look_ups.one, "read", waits=True),
        Route("GET", "/v1/verdicts", look_ups.page, "read", waits=True),
        Route("DELETE", "/v1/verdicts/{id}", erasure.request, "admin"),
        Route("DELETE", "/v1/tenants/{tenant}", erasure.tenant, "admin"),
        Route("POST", "/v1/heartbeats", sources.beat, "write"),
        Route("GET", "/v1/sources", sources.all, "read"),
        Route("DELETE", "/v1/sources/{source}", sources.forget, "admin"),
    ]
    if unmonitored is not None:
        routes.append(Route("POST", PATH, LiteLLM(look_ups, unmonitored, wait_s, rule).decide, "read", waits=True))
    return routes
