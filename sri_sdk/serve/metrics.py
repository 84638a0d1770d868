"""`GET /metrics`, as Prometheus reads it. The numbers are counted elsewhere and collected when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from sri_sdk.serve.counts import BUCKETS, Counts
from sri_sdk.serve.http import Answer, Request
from sri_sdk.serve.limits import Limits
from sri_sdk.serve.oip.infer import Inference
from sri_sdk.serve.routes import Route
from sri_sdk.serve.shelf import ALIAS


class Metrics:
    """The numbers of one server, in a registry of its own.

    Args:
        counts: of requests.
        limits: how much is under way, and was turned away.
        inference: rows, verdicts, batches, shadows.
        more: further collectors of prometheus_client, of other parts of the server.

    Raises:
        ModuleNotFoundError: prometheus_client is not installed.
    """

    def __init__(self, counts: Counts, limits: Limits, inference: Inference, more: Iterable[Any] = ()) -> None:
        from prometheus_client import CollectorRegistry

        self._counts, self._limits, self._inference = counts, limits, inference
        self.registry = CollectorRegistry(auto_describe=False)
        for collector in (self, *more):
            self.registry.register(collector)

    def routes(self) -> list[Route]:
        """`GET /metrics`."""
        return [Route("GET", "/metrics", self.show, "read")]

    async def show(self, request: Request) -> Answer:
        """All of them, as text."""
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        return Answer(200, generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4.encode())

    def collect(self) -> Iterator[Any]:
        """As prometheus_client asks for them."""
        from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

        inference, limits = self._inference, self._limits
        yield _counter("sri_requests", "Requests, by route and status of HTTP.", ("route", "status"), {
            (route, str(status)): count for (route, status), count in self._counts.statuses.items()
        })  # fmt: skip
        seconds = HistogramMetricFamily("sri_request_seconds", "Seconds from head to answer.", labels=["route"])
        for route, timed in list(self._counts.timed.items()):
            sums = list(accumulate(timed.buckets))
            bounds = [*map(str, BUCKETS), "+Inf"]
            seconds.add_metric([route], list(zip(bounds, sums, strict=True)), timed.seconds)
        yield seconds
        yield _counter("sri_rows", "Generations that were scored.", ("bundle",), {
            (bundle,): count for bundle, count in inference.rows.items()
        })  # fmt: skip
        yield _counter("sri_verdicts", "Verdicts that were given out.", ("bundle", "status"), inference.statuses)
        yield _counter(
            "sri_shadow_rows", "Rows that a shadow scored too, by outcome.", ("bundle", "outcome"),
            inference.shadows.counts,
        )  # fmt: skip
        yield _counter("sri_batches", "Calls made in threads, by rows up to.", ("bundle", "rows"), {
            (bundle, str(rows)): count for (bundle, rows), count in inference.batching.sizes.items()
        })  # fmt: skip
        yield _counter("sri_shed", "Requests that were turned away or ended, by reason.", ("reason",), {
            ("busy",): limits.shed, ("queue",): inference.batching.refused, ("late",): limits.timed_out,
        })  # fmt: skip
        yield GaugeMetricFamily("sri_queue_rows", "Rows that wait for a thread.", inference.batching.waiting())
        yield GaugeMetricFamily("sri_requests_under_way", "Requests that are being answered.", len(limits.under_way))
        loaded = GaugeMetricFamily("sri_bundle_loaded", "1 = live.", labels=["bundle", "version", "digest"])
        for entry in inference.shelf.entries.values():
            for each in entry.versions:
                loaded.add_metric([entry.name, each.number, each.digest[:ALIAS]], float(each is entry.live))
        yield loaded
        problems = GaugeMetricFamily(
            "sri_bundle_problem",
            "1 = the last load of the bundle, or of its shadow, failed.",
            labels=["bundle", "part"],
        )
        for entry in inference.shelf.entries.values():
            problems.add_metric([entry.name, "live"], float(bool(entry.problem)))
            problems.add_metric([entry.name, "shadow"], float(bool(entry.shadow_problem)))
        yield problems


def _counter(name: str, help_text: str, labels: tuple[str, ...], values: Any) -> Any:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, help_text, labels=list(labels))
    for key, value in list(values.items()):
        family.add_metric(list(key), value)
    return family
