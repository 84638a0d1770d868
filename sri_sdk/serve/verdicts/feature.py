"""The verdict store as a feature of a server: opened with its settings, closed after the last request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sri_sdk.errors import MissingExtra, missing_package
from sri_sdk.serve.feature import Feature
from sri_sdk.serve.settings import ServeSettings, StoreSection

if TYPE_CHECKING:
    from sri_sdk.serve.verdicts.deliveries import Scoring


def verdict_feature(settings: ServeSettings, section: StoreSection, scoring: Scoring) -> Feature:
    """Opens the store, and brings an older one up to date.

    Args:
        settings: of the server.
        section: its `store`.
        scoring: what scores signals.

    Raises:
        ConfigError: an address, a key or a store that cannot be used.
        StoreUnavailable: the database cannot be read or written.
        MissingExtra: a package is not installed.
    """
    try:
        from sri_sdk.serve.store.keys import read_secret
        from sri_sdk.serve.store.store import VerdictStore
        from sri_sdk.serve.verdicts.arrivals import Arrivals
        from sri_sdk.serve.verdicts.counts import VerdictCounts
        from sri_sdk.serve.verdicts.routes import verdict_routes
        from sri_sdk.serve.verdicts.states import SourceStates
    except ImportError as err:
        if missing_package(err) not in ("sqlalchemy", "alembic"):
            raise
        raise MissingExtra("The verdict store", extra="serve") from err
    secret = read_secret(section.hash_key) if section.hash_ids and section.hash_key is not None else None
    store = VerdictStore.open(section.url, kept=section, secret=secret)
    arrivals, counts, states = Arrivals(store), VerdictCounts(lambda: store.fault), SourceStates(store)

    @asynccontextmanager
    async def closing() -> AsyncIterator[None]:
        try:
            yield
        finally:
            # It writes what it has accepted first.
            await asyncio.to_thread(store.close)

    gateways = settings.gateways
    return Feature(
        routes=verdict_routes(
            store, arrivals, counts, scoring=scoring, most_rows=settings.limits.rows,
            unmonitored=gateways.unmonitored, wait_s=gateways.wait_seconds, rule=gateways.rule,
        ),
        parts=[closing(), arrivals, states],
        why_not_ready=lambda: f"verdict store: {store.fault}" if store.fault else "",
        collectors=[counts, states],
    )  # fmt: skip
