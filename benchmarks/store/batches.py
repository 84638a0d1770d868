"""What batches gain: a hundred observations in a commit against one, through the sink `sql`, on a real disk.

    python -m benchmarks.store.batches --folder out/store-batches --keep benchmarks/store-batches.json

SQLite, and PostgreSQL where its server is installed: one of its own, started for this and gone afterwards. In every
round, for each database, commits of one and of a hundred take turns in an order drawn anew; a round gives one ratio
of seconds per observation. A bare write that is synced stands beside it: it is what the disk takes for a commit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sri_plugin_sinks.sql import SqlSink

from benchmarks.paired import Floats, Spread
from benchmarks.store.fill import END_MS, made
from sri_sdk.files import write_text
from sri_sdk.observation import Observation
from sri_sdk.strict_json import write
from tests.postgres import cluster, programs

ROUNDS = 40
BATCH = 100
SINGLES = 10
"""Commits of one observation in a round."""
MEMORY = ("tmpfs", "ramfs", "overlay")
"""File systems that say nothing of a disk: in memory a commit costs nothing, and below an overlay may be anything."""
Deliver = Callable[[Sequence[Observation]], None]


def main() -> None:
    """Measures, prints, and with `--keep` writes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--folder", type=Path, default=Path("out/store-batches"), help="on the disk in question")
    asked.add_argument("--rounds", type=int, default=ROUNDS)
    asked.add_argument("--keep", type=Path, help="also write the numbers here")
    options = asked.parse_args()
    text = write(measured(options.folder, options.rounds), indent=1) + "\n"
    sys.stdout.write(text)
    if options.keep:
        write_text(options.keep, text)


def measured(folder: Path, rounds: int, *, memory: bool = False) -> dict[str, Any]:
    """The numbers of every database that is there.

    Args:
        folder: where SQLite's file is made; a server of PostgreSQL is made below /tmp, which its own user may enter.
        rounds: how often each is measured.
        memory: whether a file system without a disk is allowed, as for a test.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        places = {"sqlite": folder}
        urls = {"sqlite": f"sqlite:///{folder}/batches.db"}
        for each in folder.glob("batches.db*"):
            each.unlink()
        if programs() is not None:
            server = stack.enter_context(cluster())
            places["postgresql"], urls["postgresql"] = server.folder, server.url
        systems = {name: file_system(place) for name, place in places.items()}
        if not memory and (wrong := {name: each for name, each in systems.items() if each in MEMORY}):
            sys.exit(f"--folder: {wrong} says nothing of a disk. Name a folder on one (and TMPDIR does not move /tmp).")
        sinks: dict[str, Deliver] = {}
        for name, url in urls.items():
            sink = SqlSink(SqlSink.Config(url=url, keep_days=None, keep_rows=None))
            stack.callback(sink.close)
            sinks[name] = sink.deliver
        found = race(sinks, rounds, folder / "sync")
    return {
        "rounds": rounds,
        "batch": BATCH,
        "singles": SINGLES,
        "file_systems": systems,
        "synced_write_ms": _spread(found.pop("sync"), 1e3),
        "databases": {name: _database(*np.array(seconds).T) for name, seconds in found.items()},
    }


def race(sinks: dict[str, Deliver], rounds: int, probe: Path) -> dict[str, list[Any]]:
    """Seconds per observation and round of each database, on the clock and of this process's processors: two of single
    commits, two of batched ones. And `sync`: seconds of a synced write alone."""
    some, order = _observations(), random.Random(0)
    found: dict[str, list[Any]] = {name: [] for name in (*sinks, "sync")}
    for deliver in sinks.values():
        # The first commits make connections, statements and pages.
        deliver([next(some) for _ in range(BATCH)])
    for _ in range(rounds):
        turns = [(name, size) for name in sinks for size in (1, BATCH)]
        took: dict[tuple[str, int], tuple[float, float]] = {}
        for name, size in order.sample(turns, len(turns)):
            took[name, size] = _seconds(sinks[name], some, size)
        for name in sinks:
            found[name].append((*took[name, 1], *took[name, BATCH]))
        found["sync"].append(_synced(probe))
    return found


def file_system(place: Path) -> str:
    """The kind of file system that a folder is on, as the kernel says."""
    where, kind = "", "not known"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mounted, found, *_ = line.split(" ")
        inside = place.resolve().is_relative_to(mounted)
        if inside and len(mounted) >= len(where):
            where, kind = mounted, found
    return kind


def _seconds(deliver: Deliver, some: Iterator[Observation], size: int) -> tuple[float, float]:
    commits = [[next(some) for _ in range(size)] for _ in range(SINGLES if size == 1 else 1)]
    count = size * len(commits)
    begun, used = time.perf_counter(), time.process_time()
    for each in commits:
        deliver(each)
    return (time.perf_counter() - begun) / count, (time.process_time() - used) / count


def _synced(probe: Path) -> float:
    with probe.open("ab") as file:
        begun = time.perf_counter()
        for _ in range(SINGLES):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - begun) / SINGLES


def _observations() -> Iterator[Observation]:
    chance, number = random.Random(), 0
    while True:
        yield made(number, chance, END_MS + number)
        number += 1


def _database(single: Floats, single_used: Floats, batched: Floats, batched_used: Floats) -> dict[str, Any]:
    return {
        "single_ms": _spread(single, 1e3),
        "single_processor_ms": _spread(single_used, 1e3),
        "batched_ms": _spread(batched, 1e3),
        "batched_processor_ms": _spread(batched_used, 1e3),
        "gain": _spread(single / batched),
        "processor_gain": _spread(single_used / batched_used),
    }


def _spread(values: Any, scale: float = 1.0) -> dict[str, float]:
    """Median, and its 95 % interval over the rounds; milliseconds of one observation, or a ratio."""
    found = asdict(Spread.of(np.asarray(values, dtype=np.float64) * scale))
    return {name: value if name == "n" else float(f"{value:.4g}") for name, value in found.items()}


if __name__ == "__main__":
    main()
