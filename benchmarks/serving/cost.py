"""Processor time per request of `sri serve`, beside the bare call of onnxruntime, the barest handler, and Triton.

    python -m benchmarks.serving.cost [--rounds 5] [--triton TRITONSERVER] [--keep benchmarks/serving.json]

With `--triton`, two servers of NVIDIA's take turns with them: one with the queue of the exporter `triton`, in which a
request waits for others, and one that waits for nobody. That run is kept beside the other one, as `triton`.
All take turns within a round; tables show medians over rounds. `share` = time of the bare call / time of the
server's process per request, user and system, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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


def measured(bundle: Path, rounds: int, tritonserver: Path | None = None) -> list[dict[str, Any]]:
    """One row per round and batch."""
    graph, rows, path = bundle / "signal.onnx", [], "/v2/models/sri_signal/infer"
    run = session(graph).run
    with contextlib.ExitStack() as stack:
        servers = {
            "bare": (stack.enter_context(started("benchmarks.serving.bare", str(graph))), "/"),
            "ours": (stack.enter_context(ours(bundle)), path),
        }
        if tritonserver is not None:
            from benchmarks.serving.triton import triton

            for name, delay in (("triton", 200), ("triton_at_once", 0)):
                servers[name] = stack.enter_context(triton(tritonserver, bundle, delay)), path
        for number in range(rounds):
            for batch, count in COUNTS.items():
                signals = made_up_signals(batch, 7).sigma
                right = b"".join(array.tobytes() for array in run(["score", "valid"], {"signals": signals}))
                turns = {
                    name: lambda x=(server, path), s=signals, n=count, r=right: over_http(*x, s, n, r)
                    for name, (server, path) in servers.items()
                }
                turns["call"] = lambda s=signals, n=count: in_process(graph, s, 3 * n)
                order = [str(n) for n in np.random.default_rng([number, batch]).permutation(sorted(turns))]
                rows.append({"round": number, "batch": batch, **{name: turns[name]() for name in order}})
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measures and keeps."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--triton", type=Path, help="the program `tritonserver`, with a backend for onnxruntime")
    options.add_argument("--keep", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made_up_guard(made_up_fingerprint(8), Path(folder))
        rows = measured(Path(folder) / "bundle", given.rounds, given.triton)
    for batch in COUNTS:
        of = [row for row in rows if row["batch"] == batch]
        for name in sorted(of[0].keys() - {"round", "batch", "call"}):
            share, beside = (np.median([row[base] / row[name] for row in of]) for base in ("call", "bare"))
            print(f"B = {batch}, {name}: share {share:.3f}, of the bare handler {beside:.2f}")
    if given.keep is not None:
        keep(given.keep, "cost" if given.triton is None else "triton", rows)


if __name__ == "__main__":
    main()
