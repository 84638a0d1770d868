"""What `/metrics` shows of the store. Kept in memory: a scrape must not wait for a database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sri_sdk.serve.store.rows import Added


class VerdictCounts:
    """Counts since the server started; a collector of prometheus_client.

    Args:
        fault: why the store cannot be written, as a code; None = it can.
    """

    def __init__(self, fault: Callable[[], str | None]) -> None:
        self._fault = fault
        self._received: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._stored = self._known = 0

    def delivered(self, statuses: Sequence[str], added: Added) -> None:
        """Verdicts were acknowledged."""
        self._received.update(statuses)
        self._stored += added.stored
        self._known += added.known

    def looked_up(self, status: str | None) -> None:
        """A look-up was answered; None = nothing is known."""
        self._answered[status or "unknown"] += 1

    def collect(self) -> Iterator[Any]:
        """As prometheus_client asks for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, what, label, counted in (
            ("sri_verdicts_received", "Verdicts acknowledged, by status; delivered again counts again.", "status",
             self._received),
            ("sri_verdicts_stored", "What became of them.", "outcome", {"stored": self._stored, "known": self._known}),
            ("sri_lookups", "Look-ups of one request, by what was answered.", "status", self._answered),
        ):  # fmt: skip
            family = CounterMetricFamily(name, what, labels=[label])
            for value, count in counted.items():
                family.add_metric([value], count)
            yield family
        fault = self._fault()
        gauge = GaugeMetricFamily("sri_store_writable", "1 = the last write was committed.")
        gauge.add_metric([], 0 if fault else 1)
        yield gauge
