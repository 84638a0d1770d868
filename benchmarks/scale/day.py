"""A day in seconds: generations end, are scored, wait in spools, and are stored. Counts are whole, and nothing is lost
without being counted.

All runs of a day advance together, one second at a time. Between two seconds, whatever waits is first in, first out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.scale.measured import Measured
from benchmarks.scale.plan import DAY_S, Plan
from sri_sdk.monitor.settings import ScoringSection
from sri_sdk.monitor.spool.spool import MAX_BYTES as SPOOL_BYTES

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
PATIENCE_S = ScoringSection().budget_s
"""A monitor waits so long for a verdict unless somebody says otherwise: beyond, a generation is unmonitored."""
TAIL_S = 6 * 3600
"""Seconds behind the day in which only what waits is stored."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is there to do it."""

    scorers: int
    """Processes of `sri serve`; 0 = scored in the models' processes, where nothing waits."""
    databases: int
    spools: int
    spool_bytes: float = SPOOL_BYTES
    """That may wait in each."""


@dataclass(frozen=True, slots=True)
class Outage:
    """What is gone for a while."""

    begin_s: float
    seconds: float
    scorers: float = 0.0
    """Share of the scoring processes."""
    databases: float = 0.0
    """Share of the databases."""

    def left(self, gone: float) -> Floats:
        """[T] share that is there in each second, of something of which a share is gone."""
        at = np.arange(DAY_S + TAIL_S)
        return 1 - gone * ((at >= self.begin_s) & (at < self.begin_s + self.seconds))


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """What happened: [R, T] int64 each, R runs and T seconds."""

    ended: Counts
    """Generations that ended."""
    scored: Counts
    late: Counts
    """Unmonitored: no verdict came in time."""
    unscored: Counts
    """That wait for a verdict when the second is over."""
    stored: Counts
    dropped: Counts
    """A spool had no room."""
    waiting: Counts
    """In spools when the second is over."""

    def waits(self) -> tuple[Counts, Counts]:
        """Seconds between spool and store, and how many rows waited so long: [R, T] each, by the second they came."""
        into = self.scored + self.late - self.dropped
        came, gone = into.cumsum(1), self.stored.cumsum(1)
        at = np.arange(into.shape[1])
        # The row in the middle of its second stands for all of them.
        middle = came - into // 2
        left = np.stack([np.searchsorted(row, each) for row, each in zip(gone, middle, strict=True)])
        return np.where(into > 0, np.maximum(left - at, 0), 0), into

    def quantiles(self, shares: tuple[float, ...]) -> Floats:
        """[R, K] seconds within which these shares of a run's rows are stored."""
        found = []
        for waits, rows in zip(*self.waits(), strict=True):
            order = np.argsort(waits, kind="stable")
            reached = np.cumsum(rows[order]) / max(rows.sum(), 1)
            found.append([float(waits[order][min(np.searchsorted(reached, s), len(order) - 1)]) for s in shares])
        return np.array(found)

    def clear_s(self, outage: Outage) -> Floats:
        """[R] seconds behind the outage after which less waits than comes in two seconds; infinite = never."""
        end = int(outage.begin_s + outage.seconds)
        quiet = self.waiting[:, end:] <= 2 * np.maximum(self.ended.max(1), 1)[:, None]
        return np.where(quiet.any(1), quiet.argmax(1), np.inf)


def fleet(plan: Plan, measured: Measured) -> Fleet:
    """What the peak of the wave needs at the stated utilisations."""
    scorers = plan.peak * measured[_serve(plan)] * 1e-6 / plan.score_full
    databases = plan.peak / (measured.rows_per_s("postgresql", plan.slower) * plan.store_full)
    return Fleet(int(np.ceil(scorers)), int(np.ceil(databases)), plan.processes)


def ended(plan: Plan, runs: int, seed: int) -> Counts:
    """[R, T] generations that end in each second: waves and bursts of beginnings, each as much later as it takes."""
    waves, chance = plan.rate(), np.random.default_rng([seed, 0])
    rates = np.tile(waves, (runs, 1))
    for row, count in zip(rates, chance.poisson(plan.bursts, runs), strict=True):
        for begin in chance.integers(0, DAY_S, count):
            # A burst that midnight cuts goes on in the morning: the day is a circle.
            row[np.arange(begin, begin + int(plan.burst_s)) % DAY_S] *= plan.burst_factor
    rates *= (plan.generations / rates.sum(1))[:, None]
    later = np.fft.irfft(np.fft.rfft(rates, axis=1) * np.fft.rfft(lengths(plan)), DAY_S, axis=1)
    counts = np.zeros((runs, DAY_S + TAIL_S), np.int64)
    counts[:, :DAY_S] = chance.poisson(np.maximum(later, 0))
    return counts


def lengths(plan: Plan) -> Floats:
    """[86400] share of generations that take so many seconds."""
    edges = np.arange(DAY_S + 1) / plan.token_s
    with np.errstate(divide="ignore"):
        scaled = (np.log(edges) - np.log(plan.tokens)) / plan.tokens_spread
    from scipy.stats import norm

    shares = np.diff(norm.cdf(scaled))
    return np.asarray(shares / shares.sum())


def day(plan: Plan, measured: Measured, have: Fleet, outage: Outage | None, runs: int, seed: int = 0) -> Day:
    """Runs of one day.

    Args:
        plan: what is assumed.
        measured: what is not.
        have: what is there.
        outage: what is gone for a while; None = nothing.
        runs: how many, each with its own bursts, service times and counts.
        seed: of everything that is drawn. Arrivals are the same whatever the fleet is.
    """
    came, lost = ended(plan, runs, seed), outage or Outage(0, 0)
    if have.scorers:
        speed = scoring_speed(plan, measured, have.scorers, runs, seed) * lost.left(lost.scorers)
        scored, late, unscored = _in_time(came, speed)
    else:
        scored, late, unscored = came, np.zeros_like(came), np.zeros_like(came)
    return Day(came, scored, late, unscored, *_spooled(plan, measured, have, lost, scored + late, seed))


def scoring_speed(plan: Plan, measured: Measured, scorers: int, runs: int, seed: int) -> Floats:
    """[R, T] generations a second that the scorers can answer.

    The level of a run is one of the measured rounds; around it, requests take as long as single calls did.
    """
    chance = np.random.default_rng([seed, 1])
    rows, call = _per_request(plan), measured.call_us[_per_request(plan)]
    mean = chance.choice(measured.serve_us[rows], runs)[:, None] * 1e-6
    spread = float((call * 1e-6).std())
    noise = chance.standard_normal((runs, DAY_S + TAIL_S))
    return np.maximum(rows * (scorers / mean + np.sqrt(scorers * spread**2 / mean**3) * noise), 0)


def storing_speed(plan: Plan, measured: Measured, databases: int, runs: int, seed: int) -> Floats:
    """[R, T] rows a second that the databases take: the level of a run within the measured interval, and commits that
    vary as single ones did."""
    chance = np.random.default_rng([seed, 2])
    figure = measured.figures["postgresql_100"]
    assert figure.low is not None and figure.high is not None
    level = 1 + chance.standard_normal(runs) * (figure.high - figure.low) / 3.92 / figure.value
    rate = measured.rows_per_s("postgresql", plan.slower) * databases
    spread = measured.commit_shape["postgresql"].std() / np.sqrt(max(rate / 100, 1))
    noise = 1 + chance.standard_normal((runs, DAY_S + TAIL_S)) * spread
    return np.maximum(rate / level[:, None] * noise, 0)


def databases_needed(
    plan: Plan, measured: Measured, have: Fleet, outage: Outage, runs: int, seed: int = 0, within_s: float | None = None
) -> int:
    """Fewest databases with which everything is stored soon enough behind the outage, in every run.

    Args:
        plan: what is assumed.
        measured: what is not.
        have: the fleet, but for its databases.
        outage: after which it counts.
        runs: how many.
        seed: of them.
        within_s: seconds; None = as the plan says.
    """
    most = plan.clear_minutes * 60 if within_s is None else within_s
    first = day(plan, measured, have, outage, runs, seed)

    def enough(count: int) -> bool:
        came, more = first.scored + first.late, replace(have, databases=count)
        stored, dropped, waiting = _spooled(plan, measured, more, outage, came, seed)
        found = replace(first, stored=stored, dropped=dropped, waiting=waiting)
        return bool((found.clear_s(outage) <= most).all())

    return _smallest(enough, have.databases)


def _smallest(enough: Callable[[int], bool], start: int) -> int:
    """The smallest count that is enough, where more is never worse."""
    high = max(start, 1)
    while not enough(high):
        high *= 2
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _spooled(
    plan: Plan, measured: Measured, have: Fleet, lost: Outage, came: Counts, seed: int
) -> tuple[Counts, Counts, Counts]:  # fmt: skip
    """What becomes of observations: stored, dropped and still waiting, [R, T] each."""
    speed = storing_speed(plan, measured, have.databases, len(came), seed) * lost.left(lost.databases)
    speed = np.minimum(speed, measured["spool_out"] * have.spools)
    return _kept(came, speed, int(have.spools * have.spool_bytes / measured["spool_bytes"]))


def _in_time(came: Counts, speed: Floats) -> tuple[Counts, Counts, Counts]:
    """Scored, too late, and still waiting: [R, T] each."""
    can = speed.astype(np.int64)
    # Who has more before it than is answered within its patience gets no answer in time.
    return _queue(came, can, (PATIENCE_S * can).astype(np.int64), newest_alone=False)


def _kept(came: Counts, speed: Floats, room: int) -> tuple[Counts, Counts, Counts]:
    """Stored, dropped and still waiting: [R, T] each."""
    return _queue(came, speed.astype(np.int64), np.full_like(came, room), newest_alone=True)


def _queue(came: Counts, can: Counts, room: Counts, *, newest_alone: bool) -> tuple[Counts, Counts, Counts]:
    """Taken, lost and still waiting, [R, T] each: what has come is taken as far as it can be, and what then waits
    beyond the room is lost.

    Args:
        came: in each second.
        can: be taken.
        room: for what waits when the second is over.
        newest_alone: whether only what came in this second can be lost.
    """
    steps = np.cumsum(came - can, axis=1)
    # What waits is how far the steps are above their lowest point, as long as nothing is lost.
    left = steps - np.minimum.accumulate(np.minimum(steps, 0), axis=1)
    lost = np.zeros_like(came)
    if (left > room).any():
        waits = np.zeros(len(came), np.int64)
        for t in range(came.shape[1]):
            waits = np.maximum(waits + came[:, t] - can[:, t], 0)
            lost[:, t] = np.maximum(waits - room[:, t], 0)
            if newest_alone:
                lost[:, t] = np.minimum(lost[:, t], came[:, t])
            waits = left[:, t] = waits - lost[:, t]
    before = np.concatenate([np.zeros_like(left[:, :1]), left[:, :-1]], axis=1)
    return before + came - left - lost, lost, left


def _per_request(plan: Plan) -> int:
    """Generations in a request, of the two that were measured: the larger one where it is filled."""
    return 32 if plan.per_request >= 32 else 1


def _serve(plan: Plan) -> str:
    return f"serve_{_per_request(plan)}"
