"""What the simulation draws from, measured: processor time of scoring, and how long commits and deletions take.

    OMP_NUM_THREADS=1 python -m benchmarks.scale.samples --folder out/scale --keep benchmarks/scale-samples.json

Three minutes. Scoring: `Scorer.score` on the guard of `benchmarks/guards.py`, time of the thread, one number per call.
The store: SQLite on the disk of `--folder`, and PostgreSQL where its server is installed. A round is ten commits of 100
observations and the deletion of the oldest 1,000, so that the store keeps its size; and, in an order drawn anew, ten
commits of one observation, of what runs right now, and of a pulse. It gives one ratio of each kind.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.guards import made_up_fingerprint, made_up_guard, made_up_signals
from benchmarks.paired import Spread
from benchmarks.store.batches import BATCH, MEMORY, file_system
from benchmarks.store.fill import END_MS, made
from sri_sdk import VerdictStore
from sri_sdk.files import write_text
from sri_sdk.observation import Observation, Pulse, Running
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.serve.store.engines import open_engines
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.retention import AT_ONCE, prune_some
from sri_sdk.strict_json import write
from tests.postgres import cluster, programs

CALLS = {1: 400, 32: 300, 1024: 100}
"""Generations in a call -> how many calls are timed."""
WARM, SINGLES = 20, 10
ROUNDS, ROWS = 40, 10_000
SHOWN = tuple(Running(f"r{i}", "chat", END_MS, 20, 64, tuple([0.5] * 20), 64) for i in range(32))
"""What one process shows of what runs."""


def scoring(calls: dict[int, int]) -> dict[str, list[float]]:
    """Generations in a call -> microseconds of processor time of each call."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        bundle, _ = made_up_guard(made_up_fingerprint(8), Path(folder))
        scorer = Scorer.open(bundle.path)
        for rows, count in calls.items():
            signals = made_up_signals(rows, 7, bundle.manifest.fingerprint)
            times = [_seconds(lambda s=signals: scorer.score(s), time.thread_time) for _ in range(WARM + count)]
            found[str(rows)] = [round(1e6 * each, 1) for each in times[WARM:]]
    return found


def store(url: str, rounds: int, rows: int) -> dict[str, Any]:
    """Milliseconds of every commit of `BATCH`, and what takes how long beside what.

    Args:
        url: of an empty database.
        rounds: how often.
        rows: that the store has when a round begins.
    """
    chance, number, commits = random.Random(0), 0, list[float]()
    ratios: dict[str, list[float]] = {"delete_beside_insert": [], "show_beside_one": [], "pulse_beside_one": []}

    def some(count: int) -> list[Observation]:
        nonlocal number
        number += count
        return [made(number - count + i, chance, END_MS + number - count + i) for i in range(count)]

    kept = Retention(keep_days=None, keep_rows=rows)
    with VerdictStore.open(url, kept=Retention(keep_days=None, keep_rows=None)) as opened:
        while number < rows:
            opened.observe(some(BATCH))
        engine = open_engines(url).writing
        for each in range(rounds):
            batches = [some(BATCH) for _ in range(AT_ONCE // BATCH)]
            commits += (mine := [_seconds(lambda b=batch: opened.observe(b), time.perf_counter) for batch in batches])

            def delete() -> None:
                with engine.begin() as connection:
                    assert prune_some(connection, kept, 0) >= AT_ONCE

            ratios["delete_beside_insert"].append(_seconds(delete, time.perf_counter) / sum(mine))
            turns = {
                "one": lambda: [opened.observe(some(1)) for _ in range(SINGLES)],
                "show": lambda: [opened.show(SHOWN, "host/1/1").result() for _ in range(SINGLES)],
                "pulse": lambda: [opened.pulse(Pulse("chat", 0, 0, 1, "observe")).result() for _ in range(SINGLES)],
            }
            order = [str(name) for name in np.random.default_rng(each).permutation(sorted(turns))]
            took = {name: _seconds(turns[name], time.perf_counter) for name in order}
            for name in ("show", "pulse"):
                ratios[f"{name}_beside_one"].append(took[name] / took["one"])
        engine.dispose()
    spreads = {name: asdict(Spread.of(np.array(values))) for name, values in ratios.items()}
    return {
        "commits_ms": [round(1e3 * each, 3) for each in commits],
        **{
            name: {each: v if each == "n" else float(f"{v:.4g}") for each, v in s.items()}
            for name, s in spreads.items()
        },
    }


def stores(folder: Path, rounds: int, rows: int) -> dict[str, Any]:
    """The same of each database that is there: SQLite in the folder, and a PostgreSQL of its own below /tmp."""
    for each in folder.glob("samples.db*"):
        each.unlink()
    found = {"sqlite": store(f"sqlite:///{folder}/samples.db", rounds, rows)}
    if programs() is not None:
        with cluster() as server:
            found["postgresql"] = store(server.url, rounds, rows)
    return found


def main() -> None:
    """Measures, and with `--keep` writes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--folder", type=Path, default=Path("out/scale"), help="on the disk in question")
    asked.add_argument("--rounds", type=int, default=ROUNDS)
    asked.add_argument("--keep", type=Path, help="write the numbers here")
    options = asked.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if (kind := file_system(options.folder)) in MEMORY:
        sys.exit(f"--folder: {kind} says nothing of a disk. Name a folder on one.")
    load = os.getloadavg()[0]
    found = {"scoring_us": scoring(CALLS), "stores": stores(options.folder, options.rounds, ROWS)}
    more = {"rows": ROWS, "rounds": options.rounds, "batch": BATCH, "file_system": kind}
    text = write({**found, **more, "load": [round(load, 1), round(os.getloadavg()[0], 1)]}) + "\n"
    for rows, times in found["scoring_us"].items():
        print(f"{rows} generations: {np.median(times):.0f} microseconds, {np.quantile(times, 0.99):.0f} for 99 of 100")
    for database, each in found["stores"].items():
        print(database, {name: value for name, value in each.items() if name != "commits_ms"})
    if options.keep:
        write_text(options.keep, text)


def _seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    begun = clock()
    call()
    return clock() - begun


if __name__ == "__main__":
    main()
