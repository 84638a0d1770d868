"""What a monitor says of itself, counted as Prometheus reads it. Ids, tenants and texts are in none of it."""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, get_args

import sri_sdk
from sri_plugin_sinks.chosen import Kind
from sri_sdk.records import Status

BUCKETS = {
    "generation": (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
    "scoring": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
}
"""Upper ends in seconds."""
READER_S = 120.0
"""Seconds since somebody read the numbers after which nobody is expected to read them again."""
REMEMBERED = 10_000
"""Ids of observations that are known when they come again."""
MOST_REASONS = 100
"""Reason codes that are counted by name; plugins may have codes of their own, and each is a series."""
OTHER = "other"
ALIAS = 12
"""Characters of a digest that name a guard."""
CONSEQUENCES = ("released", "withheld", "would_withhold", "recovered")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


class MonitorNumbers:
    """A collector of prometheus_client. Any thread may add to it while another reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read = threading.Condition(self._lock)
        self._read_at: float | None = None
        """When somebody read the numbers last, by the monotonic clock."""
        self._end_is_known = False
        """Whether somebody has read that the monitors have ended."""
        self._known: OrderedDict[str, None] = OrderedDict()
        self._verdicts: Counter[tuple[str, ...]] = Counter()
        self._consequences: Counter[tuple[str, ...]] = Counter()
        self._reasons: Counter[tuple[str, ...]] = Counter()
        self._audited: Counter[tuple[str, ...]] = Counter()
        self._codes: set[str] = set()
        self._seconds: dict[tuple[str, str], list[int]] = {}
        """(`generation` or `scoring`, deployment) -> counts by bucket, the last one for what is above all of them."""
        self._sums: dict[tuple[str, str], float] = {}
        self._pulses: dict[str, sri_sdk.Pulse] = {}

    def add(self, observations: Iterable[sri_sdk.Observation]) -> None:
        """Counts observations; one that comes twice counts once."""
        with self._lock:
            for each in observations:
                if each.id not in self._known:
                    self._known[each.id] = None
                    self._count(each)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def take(self, pulse: sri_sdk.Pulse) -> None:
        """Takes how a monitor is; its last word per deployment counts."""
        with self._lock:
            self._pulses[pulse.deployment] = pulse
            self._end_is_known = False
            # A series that begins above 0 hides its first increase from Prometheus.
            for kind in get_args(Kind):
                self._verdicts.update(
                    {(pulse.deployment, pulse.bundle[:ALIAS], kind, each): 0 for each in get_args(Status)}
                )
                self._consequences.update({(pulse.deployment, kind, each): 0 for each in CONSEQUENCES})

    def _count(self, each: sri_sdk.Observation) -> None:
        verdict, whose = each.verdict, each.deployment
        self._verdicts[whose, (verdict.bundle or "")[:ALIAS], each.kind, verdict.status] += 1
        self._consequences[whose, each.kind, each.consequence] += 1
        for reason in verdict.reasons:
            self._reasons[whose, each.kind, verdict.status, self._code(reason)] += 1
        if each.audited:
            self._audited[whose, verdict.status] += 1
        for what, seconds in (("generation", each.generation_s), ("scoring", each.scoring_s)):
            if seconds is not None:
                counts = self._seconds.setdefault((what, whose), [0] * (len(BUCKETS[what]) + 1))
                counts[bisect_left(BUCKETS[what], seconds)] += 1
                self._sums[what, whose] = self._sums.get((what, whose), 0.0) + seconds

    def _code(self, reason: str) -> str:
        if reason not in self._codes and (len(self._codes) >= MOST_REASONS or not _CODE.fullmatch(reason)):
            return OTHER
        self._codes.add(reason)
        return reason

    def collect(self) -> Iterator[Any]:
        """As prometheus_client asks for them."""
        with self._lock:
            made = [*self._observed(), *self._pulsed(list(self._pulses.values()))]
            self._read_at, self._end_is_known = time.monotonic(), self._ended
            self._read.notify_all()
        yield from made

    @property
    def _ended(self) -> bool:
        return bool(self._pulses) and all(each.ended for each in self._pulses.values())

    @property
    def end_is_awaited(self) -> bool:
        """Whether the monitors have ended, and somebody who reads the numbers has not read that yet."""
        with self._lock:
            read = self._read_at is not None and time.monotonic() - self._read_at < READER_S
            return read and self._ended and not self._end_is_known

    def wait_until_end_is_known(self, timeout_s: float) -> None:
        """Waits until somebody has read that the monitors have ended; not at all where they have not, or nobody reads.

        Args:
            timeout_s: seconds that it waits at most.
        """
        if self.end_is_awaited:
            with self._lock:
                self._read.wait_for(lambda: self._end_is_known, timeout_s)

    def _observed(self) -> Iterator[Any]:
        from prometheus_client.core import HistogramMetricFamily

        yield _counter("verdicts", "Verdicts, by what was asked and what the guard said.",
                       ("deployment", "bundle", "kind", "status"), self._verdicts)  # fmt: skip
        yield _counter("consequences", "What became of responses.", ("deployment", "kind", "consequence"),
                       self._consequences)  # fmt: skip
        yield _counter(
            "reasons", "Reason codes of verdicts.", ("deployment", "kind", "status", "reason"), self._reasons
        )
        yield _counter("audit_drawn", "Verdicts drawn for the audit sample.", ("deployment", "status"), self._audited)
        for what, help_text in (
            ("generation", "Seconds from the call to the end of its generation."),
            ("scoring", "Seconds that a verdict took after the last step."),
        ):
            family = HistogramMetricFamily(f"sri_monitor_{what}_seconds", help_text, labels=["deployment"])
            for (name, whose), counts in self._seconds.items():
                if name == what:
                    ends = [*map(str, BUCKETS[what]), "+Inf"]
                    family.add_metric(
                        [whose], list(zip(ends, accumulate(counts), strict=True)), self._sums[name, whose]
                    )
            yield family

    def _pulsed(self, pulses: list[sri_sdk.Pulse]) -> Iterator[Any]:
        whose = ("deployment",)
        outcomes = {(p.deployment, each): getattr(p, each) for p in pulses for each in get_args(Status)}
        yield _counter(
            "generations", "Generations that ended, by what came of watching them.", (*whose, "outcome"), outcomes
        )
        canaries = {(p.deployment,): p.canaries for p in pulses}
        yield _counter("canaries", "Generations that the monitor asked for itself.", whose, canaries)
        watched = {(p.deployment, p.mode, p.model, p.bundle[:ALIAS]): 1.0 for p in pulses}
        yield _gauge("info", "1; the labels say what is watched.", (*whose, "mode", "model", "bundle"), watched)
        gauges: tuple[tuple[str, str, Callable[[sri_sdk.Pulse], float | None]], ...] = (
            ("last_pulse_timestamp_seconds", "When the monitor last said how it is.", lambda p: p.at / 1000),
            ("ended", "1 = it was asked to end, and this is its last word.", lambda p: float(p.ended)),
            ("start_timestamp_seconds", "When its process began.", lambda p: p.started_at / 1000),
            ("last_canary_timestamp_seconds", "When a canary that must be flagged was flagged last; 0 = not yet.",
             lambda p: None if p.canary_every_s is None else (p.canary_at or 0) / 1000),
            ("canaries_since_timestamp_seconds", "Since when such canaries are asked.",
             lambda p: None if p.canary_every_s is None else (p.canaries_since or p.started_at) / 1000),
            ("canary_interval_seconds", "Seconds between two times that such canaries are asked.",
             lambda p: p.canary_every_s),
            ("promised_false_alarm_rate", "Largest false-alarm rate that the guard promises.", lambda p: p.promised),
            ("reload_failed", "1 = the last reload was refused, and the settings before it go on.",
             lambda p: float(p.reload_failed is not None)),
        )  # fmt: skip
        for name, help_text, found in gauges:
            known = {(p.deployment,): found(p) for p in pulses}
            yield _gauge(name, help_text, whose, {key: each for key, each in known.items() if each is not None})
        for name, help_text, label, field in (
            ("canary_missed", "1 = the last canary that must be flagged was not.", "reason", "canary_missed"),
            ("drifted", "1 = a part of the guard has drifted.", "part", "drift"),
            ("scorer_failing", "1 = nothing is scored, or too late.", "reason", "scorer"),
        ):
            wrong = {(p.deployment, getattr(p, field) or ""): float(getattr(p, field) is not None) for p in pulses}
            yield _gauge(name, help_text, (*whose, label), wrong)
        yield from self._sinks({(p.deployment, each.sink): each for p in pulses for each in p.sinks})

    def _sinks(self, states: Mapping[tuple[str, str], sri_sdk.SinkState]) -> Iterator[Any]:
        labels = ("deployment", "sink")
        for name, help_text in (
            ("accepted", "Observations for a sink."),
            ("delivered", "Of these, acknowledged by it."),
            ("rejected", "Of these, given up: it will never take them."),
            ("dropped", "Of these, given up: no room in the spool, or it could not be written."),
        ):
            yield _counter(
                f"sink_{name}", help_text, labels, {key: getattr(each, name) for key, each in states.items()}
            )
        yield _gauge("sink_waiting", "Of these, in the spool.", labels,
                     {key: each.waiting for key, each in states.items()})  # fmt: skip
        yield _gauge("sink_failing", "1 = the last try failed.", labels,
                     {key: float(each.failing is not None) for key, each in states.items()})  # fmt: skip


def _counter(name: str, help_text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Any:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(f"sri_monitor_{name}", help_text, labels=list(labels)), values)


def _gauge(name: str, help_text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(f"sri_monitor_{name}", help_text, labels=list(labels)), values)


def _filled(family: Any, values: Mapping[Any, float]) -> Any:
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
