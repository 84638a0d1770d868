"""The same numbers on the back of an envelope: formulas that know nothing of the simulation, beside what it says."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.scale import minute, turns
from benchmarks.scale.day import DAY_S, Fleet, Outage, day, lengths
from benchmarks.scale.measured import Measured
from benchmarks.scale.plan import WAVE, Plan
from sri_sdk.serve.store.engines import PATIENCE_S as LOCK_S

WITHIN = 1.25
"""Factor by which they may differ."""
RUNS = 5


def by_hand(plan: Plan, measured: Measured, have: Fleet, outage: Outage, seed: int) -> list[dict[str, Any]]:
    """What, by hand, simulated: one row each.

    Args:
        plan: what is assumed.
        measured: what is not.
        have: the fleet.
        outage: of all databases.
        seed: of the simulation.
    """
    rows = [*_outage(plan, measured, have, outage, seed), _wait(plan, measured, have, seed)]
    rows.append(_turns(plan, measured, seed))
    return [{"what": what, "by_hand": float(hand), "simulated": float(found)} for what, hand, found in rows]


def _outage(plan: Plan, measured: Measured, have: Fleet, outage: Outage, seed: int) -> list[tuple[str, float, float]]:
    """Rows that wait, and minutes until they are stored: rates of whole hours, and no chance anywhere."""
    found = day(plan, measured, have, outage, RUNS, seed)
    hours = plan.generations / DAY_S * np.array(WAVE) / np.mean(WAVE)
    hour, hours_gone = int(outage.begin_s // 3600), outage.seconds / 3600
    waiting = hours[hour] * 3600 * hours_gone
    stores = have.databases * measured.rows_per_s("postgresql", plan.slower)
    left, minutes, at = waiting, 0.0, outage.begin_s + outage.seconds
    while left > 0 and minutes < 24 * 60:
        left -= (stores - hours[int(at // 3600) % 24]) * 60
        minutes, at = minutes + 1, at + 60
    return [
        ("million rows that wait at the end of the outage", waiting / 1e6, np.median(found.waiting.max(1)) / 1e6),
        ("minutes until they are stored", minutes, np.median(found.clear_s(outage)) / 60),
        ("generations that run at once, at noon (Little)", hours[12] * plan.mean_s, _running(plan)),
    ]


def _running(plan: Plan) -> float:
    """Of the simulation: those that have begun by one o'clock and not ended, by its own lengths."""
    begun, ends = plan.rate(), lengths(plan)
    # One that began within a second is half a second old when that is over, on average.
    left = 1 - np.cumsum(ends) + ends / 2
    last = 13 * 3600
    return float(begun[last - 3600 : last][::-1] @ left[:3600])


def _wait(plan: Plan, measured: Measured, have: Fleet, seed: int) -> tuple[str, float, float]:
    """Pollaczek and Khinchine's mean wait of one server with Poisson arrivals."""
    rate, call = plan.peak * plan.burst_factor / have.scorers, measured.call_us[1]
    level = float(np.median(measured.serve_us[1]))
    times = np.maximum(level + call - call.mean(), 1.0) * 1e-6
    mean, square = times.mean(), (times**2).mean()
    hand = rate * square / (2 * (1 - rate * mean)) + mean
    chance, found = np.random.default_rng([seed, 99]), []
    for _ in range(RUNS):
        at = minute.arrivals(rate, 60, chance)
        found.append(minute.inline(at, chance.choice(times, len(at))).waits.mean())
    return "milliseconds until a generation is scored, in a burst, mean", 1e3 * hand, 1e3 * float(np.mean(found))


def _turns(plan: Plan, measured: Measured, seed: int) -> tuple[str, float, float]:
    """Processes at one database: in the queue, one with rows follows one with what runs. Who asks waits for one
    transaction of each process, two seconds at most; rows come meanwhile for two such rounds."""
    commits, rate = turns.Commits.of(plan, measured), plan.peak / plan.processes
    rows = commits.empty_s + 2 * LOCK_S * rate * commits.row_s
    hand = LOCK_S / ((rows + commits.show_s) / 2)
    return "processes that can write into one database", hand, turns.most_processes(rate, 60, commits, 3, seed)
