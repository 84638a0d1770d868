"""What the tap costs: the same batches generated with and without it, in turn, on the machine at hand.

The cost is a ratio of times measured side by side. Other work on the machine only adds to a time, and may add more than
the tap costs. So the shortest times are compared, and the spread of the pairs is reported beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sri_sdk.anchors import Anchors
from sri_sdk.fitting.collect import Collector
from sri_sdk.records import Prompt

BATCH = 32
"""Most prompts of a timed batch."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Times of one model, sampler and tap."""

    share: float
    """(Shortest with tap / shortest without) - 1; below zero where it costs less than the noise."""
    low: float
    """Smallest (with / without) - 1 of the pairs."""
    high: float
    """Largest (with / without) - 1 of the pairs."""
    seconds: float
    """Shortest wall-clock seconds per generation without the tap, in batches."""
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
    settings = collector.signal_settings(anchors)

    def with_tap() -> float:
        return _timed(lambda: collector.run(batch, settings))

    def without() -> float:
        return _timed(lambda: collector.respond(batch))

    watched, bare = [], []
    for pair in range(pairs + 1):
        # Each goes first in turn, so that a machine that warms up or slows down favours neither.
        if pair % 2:
            tapped, plain = with_tap(), without()
        else:
            plain, tapped = without(), with_tap()
        if pair:
            watched.append(tapped)
            bare.append(plain)
    ratios = [tapped / plain - 1 for tapped, plain in zip(watched, bare, strict=True)]
    share = min(watched) / min(bare) - 1
    return Overhead(share, min(ratios), max(ratios), min(bare) / len(batch), pairs)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
