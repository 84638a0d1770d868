"""What a spool costs: `python -m benchmarks.spool FOLDER`, with a folder on the disk in question. Prints a table.

Observations carry the signal of 64 cells and no texts. Two sinks take them: one takes all at once, the other is down.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sri_sdk.files import canonical_json
from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.observation import Observation, Trajectory
from sri_sdk.records import Verdict
from sri_sdk.sink import Sink

COUNT, CELLS, THREADS = 5_000, 64, 16


class Takes(Sink):
    """Takes all there is."""

    def emit(self, verdict: Verdict) -> None:
        """Is not called: `deliver` is."""

    def deliver(self, observations: Sequence[Observation]) -> None:
        """Takes them."""


class Down(Takes):
    """Takes nothing."""

    def deliver(self, observations: Sequence[Observation]) -> None:
        """Fails."""
        raise ConnectionRefusedError


def made(number: int, rng: np.random.Generator) -> Observation:
    """One observation as the lab's monitor makes it."""
    logit = rng.normal(size=(CELLS, 1)).astype(np.float32)
    verdict = Verdict(f"request-{number}", "clear", (), 0.1, 0.5, 0.7, None, CELLS, CELLS, bundle="b" * 64)
    return Observation(
        verdict, 1_790_000_000_000 + number, deployment="chat", model="lab diffusion", audit_rate=0.01,
        generation_s=1.25, scoring_s=0.0125, trajectory=Trajectory(("sri@final",), logit, CELLS),
    )  # fmt: skip


def put_each(spool: Spool, observations: Sequence[Observation]) -> list[float]:
    """Seconds that each takes until it is on disk, put one by one."""
    seconds = []
    for each in observations:
        start = time.perf_counter()
        spool.put([each]).result()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure(folder: Path) -> dict[str, float]:
    """The numbers, by what they are."""
    rng = np.random.default_rng(0)
    observations = [made(number, rng) for number in range(COUNT)]
    found = {"bytes of an observation": statistics.mean(len(canonical_json(each.to_dict())) for each in observations)}
    file = folder / "spool.db"
    with Spool.open(file, {"takes": Takes(), "down": Down()}) as spool:
        start = time.perf_counter()
        done = [spool.put([each]) for each in observations]
        found["microseconds of one put"] = 1e6 * (time.perf_counter() - start) / COUNT
        for each in done:
            each.result()
        found["on disk per second, put without waiting"] = COUNT / (time.perf_counter() - start)
        alone = put_each(spool, observations[:500])
        found["milliseconds until one is on disk, alone: median"] = 1e3 * statistics.median(alone)
        found["the same, 99 of 100"] = 1e3 * statistics.quantiles(alone, n=100)[-1]
        share = COUNT // THREADS
        threads = [
            threading.Thread(target=put_each, args=[spool, observations[at * share : (at + 1) * share]])
            for at in range(THREADS)
        ]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found[f"on disk per second, {THREADS} threads that wait"] = share * THREADS / (time.perf_counter() - start)
        waiting = spool.states()[1].waiting
    found["bytes of the file per observation that waits"] = file.stat().st_size / waiting
    start = time.perf_counter()
    with Spool.open(file, {"takes": Takes(), "down": Takes()}) as spool:
        found["seconds to open it again"] = time.perf_counter() - start
        spool.flush(600)
        found["delivered per second, of what waited"] = waiting / (time.perf_counter() - start)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as made_here:
        for name, number in measure(Path(made_here)).items():
            print(f"| {name} | {number:.4g} |")
