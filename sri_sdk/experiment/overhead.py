"""What the tap costs: the same batches generated with and without it, in turn, on the machine at hand.

A ratio of times measured side by side; on a busy machine single batches differ by more than the tap costs, hence the
median over pairs and the spread beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sri_sdk.anchors import Anchors
from sri_sdk.fitting.collect import Collector
from sri_sdk.records import Prompt

BATCH = 32
"""Most prompts of a timed batch."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Times of one model, sampler and tap."""

    share: float
    """Median over pairs of (with tap / without) - 1; below zero where it costs less than the noise."""
    low: float
    """Smallest of the pairs."""
    high: float
    """Largest."""
    seconds: float
    """Of one generation without the tap, in batches; median."""
    pairs: int


def measure_overhead(collector: Collector, anchors: Anchors, prompts: Sequence[Prompt], pairs: int) -> Overhead:
    """Generates the same batch with and without the tap, in turn.

    Args:
        collector: model, sampler and tap.
        anchors: for the signal, which is part of the cost.
        prompts: the batch; at most `BATCH` are used.
        pairs: how often; the first pair warms up and is not counted.
    """
    batch = tuple(prompts[: min(collector.batch_size, BATCH)])
    watching = replace(collector.watching, anchors=anchors, fingerprint=collector.fingerprint)

    def with_tap() -> float:
        return _timed(lambda: collector.run(batch, watching))

    def without() -> float:
        return _timed(lambda: collector.respond(batch))

    ratios, times = [], []
    for pair in range(pairs + 1):
        # Each goes first in turn, so that a machine that warms up or slows down favours neither.
        if pair % 2:
            tapped, plain = with_tap(), without()
        else:
            plain, tapped = without(), with_tap()
        if pair:
            ratios.append(tapped / plain - 1)
            times.append(plain / len(batch))
    return Overhead(statistics.median(ratios), min(ratios), max(ratios), statistics.median(times), pairs)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
