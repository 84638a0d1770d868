"""From settings to an application: the only file that knows every part of a server and every path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sri_sdk.serve.app import App, Part, WhoCalls, everybody
from sri_sdk.serve.batching import Batching
from sri_sdk.serve.counts import Counts
from sri_sdk.serve.feature import Feature
from sri_sdk.serve.limits import Limits
from sri_sdk.serve.metrics import Metrics
from sri_sdk.serve.oip.infer import Inference
from sri_sdk.serve.oip.routes import OipRoutes
from sri_sdk.serve.openapi import Description
from sri_sdk.serve.settings import ServeSettings
from sri_sdk.serve.shadow import Shadows
from sri_sdk.serve.shelf import Shelf
from sri_sdk.serve.tokens import Tokens


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A server that is loaded and has no socket yet."""

    app: App
    shelf: Shelf
    inference: Inference
    counts: Counts
    tokens: Tokens | None
    """None = nobody is asked for one."""
    grpc_port: int | None
    """None = no gRPC."""

    def reload(self) -> dict[str, str]:
        """Reads tokens and bundles again: bundle -> what went wrong. What is wrong stays as it was."""
        if self.tokens is not None:
            self.tokens.reload(force=True)
        return self.shelf.reload()


def build_app(settings: ServeSettings, features: Iterable[Feature] = (), shelf: Shelf | None = None) -> Built:
    """Loads bundles and tokens, and wires everything up.

    Args:
        settings: of the server.
        features: what else it does.
        shelf: bundles that are loaded already, for features that score; None = those of the settings.

    Raises:
        SriError: a bundle may not be loaded, or the tokens are wrong.
    """
    features = list(features)
    if shelf is None:
        shelf = Shelf(settings.bundles)
        shelf.load_all()
    limits = Limits(settings.limits.concurrency, settings.limits.waiting, settings.limits.seconds)
    counts, inference_of, app_of = Counts(), Inference, App
    parts: list[Part] = []
    if settings.traces is not None:
        from sri_sdk.serve.traces import Spans, TracedApp, TracedCounts, TracedInference

        spans = Spans(settings.traces)
        counts, inference_of, app_of = TracedCounts(spans), TracedInference, TracedApp
        parts.append(spans.closing())
    inference = inference_of(shelf, Batching(settings.limits.queue), Shadows())
    if settings.store is not None:
        from sri_sdk.serve.verdicts.feature import verdict_feature

        features.append(verdict_feature(settings, settings.store, inference))
    tokens = None if settings.tokens is None else Tokens(settings.tokens)
    who_calls: WhoCalls = everybody if tokens is None else tokens

    def why_not_ready() -> str:
        if app.stopping.is_set():
            return "shutting down"
        return _unloaded(shelf) or next(filter(None, (each.why_not_ready() for each in features)), "")

    metrics = Metrics(counts, limits, inference, [each for feature in features for each in feature.collectors])
    routes = [
        *OipRoutes(inference, settings.limits.rows, why_not_ready).routes(),
        *metrics.routes(),
        *(route for feature in features for route in feature.routes),
    ]
    routes += Description(routes).routes()
    grpc = None
    parts += [_threads(inference), *(part for feature in features for part in feature.parts)]
    if settings.grpc is not None:
        from sri_sdk.serve.oip.grpc import GrpcServer

        grpc = GrpcServer(settings.grpc, settings.limits, settings.tls, tokens, inference, why_not_ready, counts)
        parts.append(grpc)
    app = app_of(
        routes, parts=parts, who_calls=who_calls, largest=settings.limits.body_bytes, limits=limits, counts=counts
    )
    return Built(app, shelf, inference, counts, tokens, None if grpc is None else grpc.port)


def _unloaded(shelf: Shelf) -> str:
    missing = [name for name, entry in shelf.entries.items() if entry.live is None]
    return f"not loaded: {', '.join(missing)}" if missing else ""


@asynccontextmanager
async def _threads(inference: Inference) -> AsyncIterator[None]:
    try:
        yield
    finally:
        inference.batching.close()
        inference.shadows.close()
