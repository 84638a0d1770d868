"""OpenTelemetry spans, one per request, where the settings ask for them. Imported only then.

A span begins and ends when its request has been counted, so that both show the same seconds; it goes into a bounded
queue, and a thread of the SDK sends what is in there. A request never waits for a collector, and never fails with one.
It says route, status, rows and bundle. Ids, tenants, paths, queries and error messages are never in it, nor the
client's `tracestate`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sri_sdk._version import __version__
from sri_sdk.errors import MissingExtra, missing_package
from sri_sdk.serve.app import App, Scope, Send
from sri_sdk.serve.counts import Counts
from sri_sdk.serve.http import Receive, log_bug
from sri_sdk.serve.noting import NOTED, Noted, note
from sri_sdk.serve.oip.asked import Asked
from sri_sdk.serve.oip.infer import Inference, Tensors
from sri_sdk.serve.oip.tensors import Array
from sri_sdk.serve.settings import TracesSection

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SEND_SECONDS = 5.0
"""Longest that one call to the collector may take."""
CLOSE_SECONDS = 5.0
"""Longest that a shutdown waits for the last spans."""
DEFAULT_PATH = "/v1/traces"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other word is the client's own, and reads `_OTHER`, as OpenTelemetry has it."""
UNTRACED = frozenset({"/v2/health/live", "/v2/health/ready", "/metrics"})
"""Asked every few seconds by machines."""
NO_ROUTE = "none"
"""As the application counts a request for a path that it does not have."""

log = logging.getLogger(__name__)


class Spans:
    """Where spans go.

    Args:
        section: of the settings.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """

    def __init__(self, section: TracesSection) -> None:
        try:
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace import SpanKind, Status, StatusCode
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            exporter = exporter_of(section)
        except ImportError as err:
            if missing_package(err) != "opentelemetry":
                raise
            raise MissingExtra("Traces", extra="traces") from err
        # What the operator's environment says counts more: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES.
        own = Resource({"service.name": "sri", "service.version": __version__})
        self._provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sri_sdk.serve", __version__)
        self._context_of = TraceContextTextMapPropagator().extract
        self._kind, self._failed = SpanKind.SERVER, Status(StatusCode.ERROR)
        self._broken = False

    def add(self, noted: Noted, route: str, status: int, seconds: float) -> None:
        """Adds the span of a request that has just been answered. Never fails.

        Args:
            noted: on its way.
            route: its pattern.
            status: of HTTP.
            seconds: that it took.
        """
        if route in UNTRACED:
            return
        try:
            self._add(noted, route, status, seconds)
        except Exception as err:
            # Once: it would fail with every request.
            if not self._broken:
                log_bug(log, "traces: a span", err)
            self._broken = True

    def _add(self, noted: Noted, route: str, status: int, seconds: float) -> None:
        ended = time.time_ns()
        method = noted.method if noted.method in METHODS else "_OTHER"
        found: dict[str, Any] = {"http.request.method": method, "http.response.status_code": status}
        if route != NO_ROUTE:
            found["http.route"] = route
        if noted.rows is not None:
            found["sri.rows"] = noted.rows
        if noted.bundle is not None:
            found["sri.bundle"] = noted.bundle
        sent = {} if noted.traceparent is None else {"traceparent": noted.traceparent.decode("latin-1")}
        span = self._tracer.start_span(
            method if route == NO_ROUTE else f"{method} {route}", self._context_of(sent), self._kind, found,
            start_time=ended - round(seconds * 1e9),
        )  # fmt: skip
        if status >= 500:
            span.set_status(self._failed)
        span.end(ended)

    def flush(self) -> None:
        """Waits until everything has been sent."""
        self._provider.force_flush()

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[None]:
        """A part of the application: at its end the last spans are sent, if the collector takes them in time."""
        try:
            yield
        finally:
            # A thread that nobody waits for at the end of the process.
            last = threading.Thread(target=self._provider.shutdown, name="sri-traces", daemon=True)
            last.start()
            await asyncio.to_thread(last.join, CLOSE_SECONDS)
            if last.is_alive():
                log.warning("traces: the collector took no spans for %g s; the last ones are lost", CLOSE_SECONDS)


class TracedApp(App):
    """An application whose requests are noted."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As `App`."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        found = next((value for name, value in scope["headers"] if name == b"traceparent"), None)
        before = NOTED.set(Noted(scope["method"], found))
        try:
            await super().__call__(scope, receive, send)
        finally:
            NOTED.reset(before)


class TracedCounts(Counts):
    """Counts that become spans as well. Requests over gRPC are not noted, and only counted."""

    def __init__(self, spans: Spans) -> None:
        super().__init__()
        self.spans = spans

    def request(self, route: str, status: int, seconds: float) -> None:
        """As `Counts`."""
        super().request(route, status, seconds)
        if (noted := NOTED.get()) is not None:
            self.spans.add(noted, route, status, seconds)


class TracedInference(Inference):
    """Inference that notes what it was about."""

    async def answer(self, asked: Asked, tensors: Tensors) -> dict[str, Array]:
        """As `Inference`: [B], or [B, K] of a guard with parts."""
        note(asked.rows, asked.model.scorer.bundle.digest)
        return await super().answer(asked, tensors)


def exporter_of(section: TracesSection) -> SpanExporter:
    """What sends spans to a collector, as OTLP over HTTP; further settings are those of OTEL_EXPORTER_OTLP_*."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    bare = urlsplit(section.endpoint).path in ("", "/")
    endpoint = section.endpoint.rstrip("/") + DEFAULT_PATH if bare else section.endpoint
    return OTLPSpanExporter(endpoint=endpoint, timeout=SEND_SECONDS)
