"""The whole estimate: `python -m benchmarks.scale.run [--set NAME=NUMBER ...] [--keep]`. Two minutes of one core.

Prints what a day needs and costs. `--keep` writes `benchmarks/scale.json`, the tables of docs/a-billion-a-day.md and
its picture anew; it goes with the plan as it stands in `plan.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.paired import Spread
from benchmarks.scale import minute, promise, turns
from benchmarks.scale.by_hand import by_hand
from benchmarks.scale.day import DAY_S, PATIENCE_S, Day, Fleet, Outage, databases_needed, day, fleet
from benchmarks.scale.measured import Measured, read
from benchmarks.scale.money import KEPT_DAYS, bytes_per_generation, costs, kept_terabytes
from benchmarks.scale.plan import Plan
from sri_sdk.calibrate.plan import Traffic
from sri_sdk.files import write_text
from sri_sdk.strict_json import parse, write

KEPT = Path(__file__).parents[1] / "scale.json"
RUNS, SEED = 20, 0
MINUTE_S = 60.0
ALPHAS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
CLEAR_MINUTES = (30, 60, 120, 240)
WRITERS = (25, 50, 100, 150, 200)
SCALES = (1.0, 0.25)
"""Of the traffic and of the fleet: shares and waits must not depend on it."""


def scenarios(plan: Plan) -> dict[str, Outage | None]:
    """Name -> what is gone."""
    begin, seconds, region = plan.outage_hour * 3600, plan.outage_minutes * 60, 1 / plan.region_count
    return {
        "quiet": None,
        "region": Outage(begin, seconds, scorers=region, databases=region),
        "scorers": Outage(begin, seconds, scorers=0.5),
        "databases": Outage(begin, seconds, databases=1.0),
    }


def of_day(found: Day, outage: Outage | None, measured: Measured, spools: int) -> dict[str, Any]:
    """What a page says of a day, medians with their intervals over the runs."""
    middle, rare, worst = found.quantiles((0.5, 0.99, 1.0)).T
    most = found.waiting.max(1)
    numbers: dict[str, NDArray[Any]] = {
        "ended": found.ended.sum(1), "late_share": found.late.sum(1) / found.ended.sum(1),
        "dropped": found.dropped.sum(1), "wait_50_s": middle, "wait_99_s": rare, "wait_most_s": worst,
        "most_waiting": most, "spools_gb": most * measured["spool_bytes"] / 1e9,
        "spool_mb": most * measured["spool_bytes"] / spools / 1e6, "left": found.waiting[:, -1],
    }  # fmt: skip
    if outage is not None:
        numbers["clear_minutes"] = found.clear_s(outage) / 60
        if not np.isfinite(numbers["clear_minutes"]).all():
            del numbers["clear_minutes"]
    return {name: spread(values) for name, values in numbers.items()}


def of_minute(plan: Plan, measured: Measured, have: Fleet, scale: float, runs: int, seed: int) -> dict[str, Any]:
    """The busiest minute: a burst at the peak of the wave, split between the scoring processes at random."""
    rate, scorers = plan.peak * plan.burst_factor * scale, max(round(have.scorers * scale), 1)
    call, rows = measured.call_us[1], []
    for run in range(runs):
        chance = np.random.default_rng([seed, run, scorers])
        level = chance.choice(measured.serve_us[1])
        served = []
        for _ in range(scorers):
            at = minute.arrivals(rate / scorers, MINUTE_S, chance)
            service = np.maximum(level + chance.choice(call, len(at)) - call.mean(), 1.0) * 1e-6
            served.append(minute.inline(at, service))
        waits = np.concatenate([each.waits for each in served])
        rows.append([
            *np.quantile(1e3 * waits, [0.5, 0.99]), (waits > PATIENCE_S).mean(), np.mean([each.busy for each in served])
        ])  # fmt: skip
    names = ("wait_50_ms", "wait_99_ms", "late_share", "busy")
    return {name: spread(values) for name, values in zip(names, np.array(rows).T, strict=True)}


def of_slow(plan: Plan, measured: Measured, scorers: Sequence[int], runs: int, seed: int) -> list[dict[str, Any]]:
    """The same minute with a bundle whose calls take milliseconds, where all that waits is one call."""
    rate, found = plan.peak * plan.burst_factor, []
    for count in scorers:
        rows = []
        for run in range(runs):
            chance = np.random.default_rng([seed, run, count])
            at = minute.arrivals(rate / count, MINUTE_S, chance)
            handler = chance.choice(measured.handler_us, len(at)) * 1e-6
            served = minute.batched(at, handler, measured.slow_call_ms / 1e3, 0.0)
            known = served.waits[np.isfinite(served.waits)]
            rows.append([*np.quantile(1e3 * known, [0.5, 0.99]), served.late(PATIENCE_S), served.rows_per_call])
        names = ("wait_50_ms", "wait_99_ms", "late_share", "rows_per_call")
        values = np.array(rows).T
        found.append({"scorers": count, **{n: spread(each) for n, each in zip(names, values, strict=True)}})
    return found


def of_turns(plan: Plan, measured: Measured, runs: int, seed: int) -> dict[str, Any]:
    """How many models' processes can write into one database, and how long rows wait for their turn."""
    rate, commits, rows = plan.peak / plan.processes, turns.Commits.of(plan, measured), []
    for count in WRITERS:
        found = [turns.written(rate * count, count, MINUTE_S, commits, seed + run) for run in range(runs)]
        numbers = np.array([
            [*np.quantile(one.waits, [0.5, 0.99]), one.rows_per_commit, one.failed, one.left / one.came]
            for one in found
        ])  # fmt: skip
        names = ("wait_50_s", "wait_99_s", "rows_per_commit", "failed", "left_share")
        rows.append({"processes": count, **{n: spread(each) for n, each in zip(names, numbers.T, strict=True)}})
    return {"most": turns.most_processes(rate, MINUTE_S, commits, 3, seed), "rate": rate, "rows": rows}


def estimated(plan: Plan, measured: Measured, runs: int = RUNS, seed: int = SEED) -> dict[str, Any]:
    """Everything that the page and the picture show, as JSON types."""
    have, days, series, few = fleet(plan, measured), {}, {}, min(runs, 5)
    for name, outage in scenarios(plan).items():
        found = day(plan, measured, have, outage, runs, seed)
        days[name] = of_day(found, outage, measured, have.spools)
        if name == "databases":
            series = of_series(found, measured)
        del found
    outage = scenarios(plan)["databases"]
    assert outage is not None
    whole = have if have.databases % 4 == 0 else replace(have, databases=4 * -(-have.databases // 4))
    scales = []
    for scale in SCALES:
        smaller, fewer = replace(plan, generations=plan.generations * scale), replace(
            whole, scorers=max(round(whole.scorers * scale), 1), databases=round(whole.databases * scale),
            spools=round(whole.spools * scale),
        )  # fmt: skip
        found = day(smaller, measured, fewer, outage, runs, seed)
        scales.append({
            "generations": smaller.generations, "fleet": asdict(fewer),
            "of_day": of_day(found, outage, measured, fewer.spools),
            "waiting_share": spread(found.waiting.max(1) / found.ended.sum(1)),
            "minute": of_minute(plan, measured, whole, scale, runs, seed),
        })  # fmt: skip
        del found
    traffic = Traffic(int(plan.generations), plan.attacks, plan.found)
    alphas = [asdict(promise.alpha_row(alpha, traffic)) for alpha in ALPHAS]
    labels = [
        asdict(promise.labels_row(traffic, alpha, alpha * share)) for alpha in ALPHAS[:4] for share in (0.5, 0.9, 2.0)
    ]
    flagged = (1 - plan.attacks) * plan.alpha + plan.attacks * plan.found
    drawn = flagged + (1 - flagged) * plan.audit_clear
    return {
        "plan": {name: value for name, (value, _) in plan.words().items()}, "runs": runs, "seed": seed,
        "needs": {
            "peak": plan.peak, "mean": plan.generations / DAY_S, "seconds": plan.mean_s, "processes": plan.processes,
            "scorers": have.scorers, "databases": have.databases,
            "rows_per_s": measured.rows_per_s("postgresql", plan.slower),
            "rows_per_process": plan.peak / plan.processes,
            "spool_hours": have.spool_bytes / measured["spool_bytes"] / (plan.peak / plan.processes) / 3600,
            "flagged_and_drawn": drawn, "labels": plan.generations * (
                flagged * plan.audit_flagged + (1 - flagged) * plan.audit_clear
            ),
        },
        "days": days, "series": series, "scales": scales,
        "slow": of_slow(plan, measured, [max(have.scorers - less, 1) for less in (0, 2, 3)], few, seed),
        "turns": of_turns(plan, measured, few, seed),
        "clear": [
            {"minutes": each, "databases": databases_needed(plan, measured, have, outage, few, seed, 60 * each)}
            for each in CLEAR_MINUTES
        ],
        "by_hand": by_hand(plan, measured, have, outage, seed),
        "bytes": bytes_per_generation(plan, measured),
        "retention": [
            {"days": each, **{
                name: kept_terabytes(plan, measured, each, share) for name, share in (("all", 1.0), ("some", drawn))
            }} for each in KEPT_DAYS
        ],
        "alphas": alphas, "labels": labels, "costs": [asdict(each) for each in costs(plan, measured, have)],
    }  # fmt: skip


def of_series(found: Day, measured: Measured, step: int = 300) -> dict[str, Any]:
    """Of the first run, every five minutes: generations and rows a second, and gigabytes in spools."""
    at = slice(0, DAY_S)
    rates = {"ended": found.ended[0, at], "stored": found.stored[0, at]}
    means = {name: [round(float(each)) for each in row.reshape(-1, step).mean(1)] for name, row in rates.items()}
    waiting = found.waiting[0, at].reshape(-1, step).max(1) * measured["spool_bytes"] / 1e9
    return {"step_s": step, **means, "spools_gb": [round(float(each), 3) for each in waiting]}


def spread(values: NDArray[Any]) -> dict[str, float]:
    """A median with its 95 % bootstrap interval."""
    found = asdict(Spread.of(np.asarray(values, dtype=np.float64)))
    return {name: value if name == "n" else float(f"{value:.4g}") for name, value in found.items()}


def main() -> None:
    """Simulates, prints, and with `--keep` writes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help="change an assumption")
    asked.add_argument("--runs", type=int, default=RUNS)
    asked.add_argument("--keep", action="store_true", help="write scale.json, the tables of the page and the picture")
    options = asked.parse_args()
    if options.keep and options.set:
        sys.exit("--keep: keeps the plan as it stands in plan.py, and --set changes it. Leave one of them out.")
    try:
        plan = Plan.of(options.set)
    except ValueError as err:
        sys.exit(str(err))
    from benchmarks.scale import picture, tables

    text = write(estimated(plan, read(), options.runs), indent=1) + "\n"
    # As it would be read back, so that what is printed is what is kept.
    kept: Mapping[str, Any] = parse(text.encode())
    for name, (title, made) in tables.TABLES.items():
        if name not in tables.OF_THE_PAGE_ALONE:
            print(f"\n{title}\n\n" + "\n".join(made(kept)))
    if options.keep:
        write_text(KEPT, text)
        write_text(tables.PAGE, tables.written(tables.PAGE.read_text(encoding="utf-8"), kept))
        picture.PICTURE.write_bytes(picture.drawn(kept))


if __name__ == "__main__":
    main()
