"""Measures the pages of a large store, what a row takes, and what a commit costs.

python -m benchmarks.store.run --rows 10000000 --keep benchmarks/store.json
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.store.fill import END_MS, FOREVER, fill, made
from benchmarks.store.pages import pages
from sri_sdk import VerdictStore
from sri_sdk.files import write_text
from sri_sdk.observation import Trajectory
from sri_sdk.strict_json import write

ROUNDS = 7
BATCH = 100
SAMPLE = 10_000
"""Observations that are written through the SDK, to see what each takes on disk."""


def main() -> None:
    """Makes the store where it is missing, measures, and prints; `--keep` also writes."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--folder", type=Path, default=Path("out/store-benchmark"))
    asked.add_argument("--keep", type=Path, help="also write the numbers here")
    options = asked.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / f"{options.rows}.db"
    if not file.exists():
        fill(file, options.rows)
    found: dict[str, Any] = {"rows": options.rows, "bytes_per_row": round(file.stat().st_size / options.rows)}
    with VerdictStore.open(f"sqlite:///{file}", kept=FOREVER) as store:
        found["pages"] = {name: timed(ask) for name, ask in pages(store, options.rows).items()}
        found["commits"] = commits(store)
    found["sizes"] = sizes(options.folder)
    text = write(found, indent=1)
    sys.stdout.write(text + "\n")
    if options.keep:
        write_text(options.keep, text + "\n")


def timed(ask: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds of the first call, and medians of the others: on the clock, and of the processor."""
    clock, processor = [], []
    for _ in range(ROUNDS):
        begun, used = time.perf_counter(), time.process_time()
        ask()
        clock.append((time.perf_counter() - begun) * 1000)
        processor.append((time.process_time() - used) * 1000)
    return {
        "first_ms": round(clock[0], 1),
        "median_ms": round(statistics.median(clock[1:]), 1),
        "processor_ms": round(statistics.median(processor[1:]), 1),
    }


def commits(store: VerdictStore) -> dict[str, float]:
    """Observations a second that reach the disk of the large store, one and a hundred in a commit."""
    chance, number = random.Random(), 10**9
    rates = {}
    for batch in (1, BATCH):
        begun, stored = time.perf_counter(), 0
        while time.perf_counter() - begun < 5:
            stored += store.observe([made(number + each, chance, END_MS) for each in range(batch)]).stored
            number += batch
        rates[f"batch_{batch}"] = round(stored / (time.perf_counter() - begun), 1)
    return rates


def sizes(folder: Path) -> dict[str, float]:
    """Bytes on disk that an observation takes: alone, with a trajectory, with texts."""
    cells = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    draft = "It depends on what is asked, and on who asks for it. " * 10
    variants: dict[str, dict[str, Any]] = {
        "alone": {},
        "trajectory of 64 cells and 2 columns": {"trajectory": Trajectory(("sri@final", "request"), cells, 64)},
        "texts of 500 characters and 64 drafts": {
            "prompt": draft, "response": draft, "drafts": tuple(draft[: 8 * step] for step in range(64)),
        },
    }  # fmt: skip
    found: dict[str, float] = {}
    for name, more in variants.items():
        file, chance = folder / "sizes.db", random.Random(0)
        for each in folder.glob("sizes.db*"):
            each.unlink()
        with VerdictStore.open(f"sqlite:///{file}", kept=FOREVER) as store:
            for start in range(0, SAMPLE, 1_000):
                observations = [made(start + each, chance, END_MS) for each in range(1_000)]
                store.observe([replace(each, **more) for each in observations])
        found[name] = round(file.stat().st_size / SAMPLE)
    return found


if __name__ == "__main__":
    main()
