"""Ratios of things measured side by side: a machine's mood moves both sides, and leaves the ratio alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORTEST = 2e-3
"""Seconds: a shorter call is repeated within its round until it takes this long."""
LONG = 0.5
"""Seconds: a call that takes longer is warm after one."""
RESAMPLES = 4000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its 95 % bootstrap interval over n rounds."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Floats) -> Spread:
        """Of one value per round."""
        picked = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
        low, high = np.quantile(np.median(values[picked], axis=1), [0.025, 0.975])
        return cls(float(np.median(values)), float(low), float(high), len(values))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that ends a run."""

    measure: str
    spread: Spread
    unit: str
    """`x`, `%` or `ms`."""
    note: str = ""


def race(
    benchmark: Any, contenders: Mapping[str, Callable[[], object]], *, rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Floats]:  # fmt: skip
    """Runs every contender once per round, in an order drawn anew for each round.

    The first contender is the one pytest-benchmark sees; the others run in the setup or teardown of its rounds.

    Args:
        benchmark: the fixture.
        contenders: by name.
        rounds: how many.
        clock: in seconds; `time.thread_time` for work of one thread, which a busy machine changes least.

    Returns:
        [rounds] seconds per call of each contender; entry i of all of them comes from round i.
    """
    calls = {name: _calls(run) for name, run in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    subject, random = next(iter(contenders)), np.random.default_rng(0)
    later: list[str] = []

    def run(name: str) -> None:
        call = contenders[name]
        start = clock()
        for _ in range(calls[name]):
            call()
        seconds[name].append((clock() - start) / calls[name])

    def before() -> None:
        order = [str(name) for name in random.permutation(list(contenders))]
        at = order.index(subject)
        for name in order[:at]:
            run(name)
        later[:] = order[at + 1 :]

    def after(_subject: str) -> None:
        for name in later:
            run(name)

    benchmark.pedantic(run, args=(subject,), setup=before, teardown=after, rounds=rounds)
    if benchmark.disabled:
        after(subject)
    return {name: np.array(values) for name, values in seconds.items()}


def _calls(run: Callable[[], object]) -> int:
    """Warms up, and says how often a call must be repeated to be measurable."""
    spent = 0.0
    for _ in range(2):
        start = time.perf_counter()
        run()
        spent = time.perf_counter() - start
        if spent > LONG:
            break
    return max(1, math.ceil(SHORTEST / max(spent, 1e-7)))
