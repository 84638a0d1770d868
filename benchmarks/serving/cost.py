"""Processor time per request of `sri serve`, beside the bare call of onnxruntime and beside the barest handler.

    python -m benchmarks.serving.cost [--rounds 5] [--keep benchmarks/serving.json]

All three take turns within a round; tables show medians over rounds. `share` = time of the bare call / time of the
server's process per request, user and system, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.guards import made_up_fingerprint, made_up_guard, made_up_signals
from benchmarks.serving.bare import session
from benchmarks.serving.clients import busy, request
from benchmarks.serving.keep import keep
from benchmarks.serving.servers import Served, ours, started

CLIENTS = 16
COUNTS = {1: 20_000, 32: 15_000}
"""Rows of a request -> requests of one turn."""


def in_process(graph: Path, signals: np.ndarray, count: int) -> float:
    """Microseconds of processor time of one bare call."""
    run = session(graph).run
    for _ in range(100):
        run(["score", "valid"], {"signals": signals})
    before = time.process_time()
    for _ in range(count):
        run(["score", "valid"], {"signals": signals})
    return 1e6 * (time.process_time() - before) / count


def over_http(server: Served, path: str, signals: np.ndarray, count: int, right: bytes) -> float:
    """Microseconds of processor time of the server's process for one request; every answer is compared."""
    whole = [request(path, signals)]

    def check(_: int, head: bytes, body: bytes) -> bool:
        return head.startswith(b"http/1.1 200") and body.endswith(right)

    asyncio.run(busy(server.port, whole, 200, CLIENTS, check))
    before = server.cpu_seconds()
    found = asyncio.run(busy(server.port, whole, count, CLIENTS, check))
    spent = server.cpu_seconds() - before
    assert found.wrong == 0, f"{found.wrong} of {count} answers are wrong"
    return 1e6 * spent / count


def measured(bundle: Path, rounds: int) -> list[dict[str, Any]]:
    """One row per round and batch."""
    graph, rows = bundle / "signal.onnx", []
    run = session(graph).run
    with ours(bundle) as server, started("benchmarks.serving.bare", str(graph)) as bare:
        for number in range(rounds):
            for batch, count in COUNTS.items():
                signals = made_up_signals(batch, 7, {}).sigma
                right = b"".join(array.tobytes() for array in run(["score", "valid"], {"signals": signals}))
                turns = {
                    "call": lambda s=signals, n=count: in_process(graph, s, 3 * n),
                    "bare": lambda s=signals, n=count, r=right: over_http(bare, "/", s, n, r),
                    "ours": lambda s=signals, n=count, r=right: over_http(
                        server, "/v2/models/sri_signal/infer", s, n, r
                    ),
                }
                order = [str(n) for n in np.random.default_rng([number, batch]).permutation(sorted(turns))]
                rows.append({"round": number, "batch": batch, **{name: turns[name]() for name in order}})
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measures and keeps."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--keep", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made_up_guard(made_up_fingerprint(8), Path(folder))
        rows = measured(Path(folder) / "bundle", given.rounds)
    for batch in COUNTS:
        of = [row for row in rows if row["batch"] == batch]
        share = np.median([row["call"] / row["ours"] for row in of])
        least = np.median([row["bare"] / row["ours"] for row in of])
        print(f"B = {batch}: share {share:.3f}, of the bare handler {least:.2f}")
    if given.keep is not None:
        keep(given.keep, "cost", rows)


if __name__ == "__main__":
    main()
