"""What happened in a period, from the counts of a verdict store: for `sri report` and the dashboard."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

from sri_sdk.metrics.audit import Measured, measure
from sri_sdk.observation import Pulse
from sri_sdk.reason_words import in_words
from sri_sdk.report.period import Finding, GuardRow, Period, Span, Urgency
from sri_sdk.report.troubles import missing, troubles
from sri_sdk.serve.store.observed import HourCount, LatencyCount

if TYPE_CHECKING:
    from sri_sdk.serve.store.store import VerdictStore

K = TypeVar("K")

HOUR_MS = 3_600_000
SPAN_HOURS = (1, 6, 24, 168, 8_766)
"""Hours that may be shown as one bar: an hour, six, a day, a week, a year."""
MOST_SPANS = 120
"""Bars of a picture, so that a page of ten years takes no longer than one of a week."""
PRESENT_MS = 5 * 60_000
"""A report whose end is no further back says how monitors are; of an earlier time their last pulses say nothing."""
BLIND = 0.05
"""Share of sampled traffic that is unmonitored, from which somebody should look."""
_URGENCIES: Sequence[Urgency] = ("act", "look", "fine")


def summarise(
    store: VerdictStore, since_ms: int, until_ms: int, *, deployment: str | None = None, now_ms: int | None = None
) -> Period:  # fmt: skip
    """What happened in a period. It reads counts, and never the rows themselves.

    Args:
        store: of the monitors.
        since_ms: milliseconds since 1970, UTC; whole hours count.
        until_ms: its end.
        deployment: of this one alone; None = of all.
        now_ms: milliseconds since 1970, UTC; None = of this machine. How monitors are is told only if the period ends
            now.

    Raises:
        StoreUnavailable: it cannot be read.
    """
    together = next((each for each in SPAN_HOURS if until_ms - since_ms <= MOST_SPANS * each * HOUR_MS), SPAN_HOURS[-1])
    counts = store.hours(since_ms, until_ms, deployment=deployment, together=together)
    traffic = [each for each in counts if each.kind == "traffic"]
    pulses = [each for each in store.pulses() if deployment in (None, each.deployment)]
    guards = tuple(_guards(store, since_ms, until_ms, traffic, store.all_pulses()))
    reasons = _summed(((each.status, each.reason), each.generations) for each in traffic if each.status != "clear")
    canaries = _summed((each.status, each.generations) for each in counts if each.kind == "canary")
    spans = _spans(traffic, since_ms, until_ms, together)
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    present, heard = pulses if now_ms - until_ms <= PRESENT_MS else [], store.heard()
    of_monitors = [each for pulse in present for each in troubles(pulse, now_ms, heard.get(pulse.deployment))]
    named = {pulse.deployment for pulse in present}
    beside = [each for each in store.processes() if each.missing and each.pulse.deployment in named]
    of_monitors += [missing(each.pulse, each.heard_at) for each in beside]
    found = [Finding(each.level, f"{each.what} {each.means}") for each in of_monitors]
    found += _findings(traffic, guards, reasons)
    return Period(
        title="Report" if deployment is None else f"Report of {deployment}",
        since_ms=since_ms,
        until_ms=until_ms,
        span_hours=together,
        findings=tuple(sorted(found, key=lambda each: _URGENCIES.index(each.urgency))),
        spans=spans,
        guards=guards,
        reasons=tuple((status, code, count) for (status, code), count in reasons),
        consequences=tuple(_summed((each.consequence, each.generations) for each in traffic)),
        canaries=tuple(canaries),
        latency_s=quantiles(store.latencies(since_ms, until_ms, deployment=deployment, together=together)),
        facts=tuple(_facts(present, guards)),
    )


def quantiles(counts: Iterable[LatencyCount], shares: tuple[float, float] = (0.5, 0.99)) -> tuple[float, float] | None:
    """Seconds within which these shares of verdicts came, as upper ends of the store's buckets; None = none came."""
    by_end: Counter[float] = Counter()
    for each in counts:
        by_end[each.to_s if math.isfinite(each.to_s) else each.over_s] += each.generations
    total = sum(by_end.values())
    if not total:
        return None
    ends = sorted(by_end)
    reached = list(accumulate(by_end[end] for end in ends))
    half, most = (ends[bisect_left(reached, share * total)] for share in shares)
    return half, most


def _spans(traffic: Sequence[HourCount], since_ms: int, until_ms: int, together: int) -> tuple[Span, ...]:
    """Those without traffic included: a gap must show."""
    length = together * HOUR_MS
    by_begin: dict[int, Counter[str]] = defaultdict(Counter)
    for each in traffic:
        by_begin[each.hour_ms // length * length][each.status] += each.generations
    begins = range(since_ms // length * length, until_ms, length)
    return tuple(Span(begin, **by_begin[begin]) for begin in begins)


def _guards(
    store: VerdictStore, since_ms: int, until_ms: int, traffic: Sequence[HourCount], pulses: Sequence[Pulse]
) -> Iterable[GuardRow]:
    by_guard: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    models: dict[tuple[str, str], str] = {}
    for each in traffic:
        by_guard[each.deployment, each.bundle][each.status] += each.generations
        models[each.deployment, each.bundle] = each.model
    promises = {(pulse.deployment, pulse.bundle): pulse.promised for pulse in pulses}
    for (deployment, bundle), counts in sorted(by_guard.items()):
        measured = measure(store.audit_counts(since_ms, until_ms, deployment=deployment, bundle=bundle))
        promised = promises.get((deployment, bundle))
        yield GuardRow(
            deployment=deployment, bundle=bundle, model=models[deployment, bundle],
            generations=sum(counts.values()), flagged=counts["flagged"], unmonitored=counts["unmonitored"],
            not_sampled=counts["not_sampled"], promised=promised,
            rate=measured.rate, low=measured.low, high=measured.high, precision=measured.precision,
            labelled=measured.labelled, drawn=measured.drawn, says=_says(measured, promised),
        )  # fmt: skip


def _says(measured: Measured, promised: float | None) -> str:
    if promised is not None:
        return measured.says(promised)
    if measured.rate is None:
        return f"The false-alarm rate is not measured: {measured.lacking or 'too few verdicts have a label'}."
    return f"{measured.interval} of benign generations are flagged."


def _findings(
    traffic: Sequence[HourCount], guards: Sequence[GuardRow],
    reasons: Sequence[tuple[tuple[str, str], int]],
) -> Iterable[Finding]:  # fmt: skip
    counts = _summed((each.status, each.generations) for each in traffic)
    number = dict(counts)
    sampled = sum(number.values()) - number.get("not_sampled", 0)
    blind = number.get("unmonitored", 0)
    if not traffic:
        yield Finding(
            "act", "No generation in this period. Nothing was monitored, which is not the same as nothing wrong."
        )
    elif blind:
        why = next((code for (status, code), _ in reasons if status == "unmonitored" and code), "")
        said = f", mostly: {'; '.join(in_words((why,)))}" if why else ""
        urgency: Urgency = "act" if blind > BLIND * sampled else "look"
        yield Finding(urgency, f"{blind:,} of {sampled:,} sampled generations were not monitored{said}.")
    for guard in guards:
        if guard.promised is not None and guard.low > guard.promised:
            yield Finding("act", f"{guard.deployment or 'guard'} {guard.bundle[:12]}: {guard.says}")
        elif guard.promised is not None and guard.high > guard.promised:
            yield Finding("look", f"{guard.deployment or 'guard'} {guard.bundle[:12]}: {guard.says}")
    if flagged := number.get("flagged", 0):
        yield Finding("look", f"{flagged:,} generations were flagged.")
    if traffic and not blind and not flagged:
        yield Finding("fine", f"All {sampled:,} sampled generations were monitored, and none was flagged.")


def _facts(pulses: Sequence[Pulse], guards: Sequence[GuardRow]) -> Iterable[tuple[str, str]]:
    for pulse in pulses:
        yield (
            f"Monitor {pulse.deployment}",
            f"{pulse.mode}; {pulse.generated:,} generations since it started; process {pulse.pid}",
        )
    for guard in guards:
        if guard.bundle:
            yield f"Guard {guard.bundle[:12]}", f"model {guard.model or 'not said'}; digest {guard.bundle}"


def _summed(pairs: Iterable[tuple[K, int]]) -> list[tuple[K, int]]:
    """Key -> sum, the largest first."""
    total: Counter[K] = Counter()
    for key, count in pairs:
        total[key] += count
    return total.most_common()
