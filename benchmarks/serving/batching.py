"""What micro-batching brings: a bundle that answers in microseconds, and one whose call takes milliseconds.

    python -m benchmarks.serving.batching [--rounds 5] [--keep benchmarks/serving.json]

The same server with and without it takes turns; answers per second of 16 clients with one generation per request.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.guards import made_up_fingerprint, made_up_guard, made_up_signals
from benchmarks.serving.bare import session
from benchmarks.serving.clients import busy, request
from benchmarks.serving.cost import CLIENTS
from benchmarks.serving.keep import keep
from benchmarks.serving.servers import Served, ours

COUNTS = {"cheap": 6000, "slow": 600}


def per_second(server: Served, graph: Path, count: int) -> float:
    """Answers per second, each compared."""
    signals = made_up_signals(50, 7).sigma
    run = session(graph).run
    right = [b"".join(a.tobytes() for a in run(["score", "valid"], {"signals": row[None]})) for row in signals]
    whole = [request("/v2/models/sri_signal/infer", row[None]) for row in signals]

    def near(number: int, head: bytes, body: bytes) -> bool:
        # Rows of one call may differ from single ones in the last bits of the sum.
        found, wanted = (np.frombuffer(words[-5:-1], "<f4")[0] for words in (body, right[number]))
        return head.startswith(b"http/1.1 200") and bool(abs(found - wanted) <= 1e-5 * max(1, abs(wanted)))

    found = asyncio.run(busy(server.port, whole, count, CLIENTS, near))
    assert found.wrong == 0, f"{found.wrong} of {count} answers are wrong"
    return count / found.wall


def main() -> None:
    """Measures and keeps."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--keep", type=Path)
    given = options.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made:
        made_up_guard(made_up_fingerprint(8), Path(made))
        bundle = Path(made) / "bundle"
        for name, more in (("cheap", ()), ("slow", ("--slow",))):
            with ours(bundle, *more) as batched, ours(bundle, "--inline", *more) as inline:
                turns = {"batched": batched, "inline": inline}
                for number in range(given.rounds):
                    order = [str(n) for n in np.random.default_rng(number).permutation(sorted(turns))]
                    found = {each: per_second(turns[each], bundle / "signal.onnx", COUNTS[name]) for each in order}
                    rows.append({"bundle": name, "round": number, **found})
                    print(rows[-1], flush=True)
            ratio = np.median([row["batched"] / row["inline"] for row in rows if row["bundle"] == name])
            print(f"{name}: {ratio:.2f} times as many answers with batching")
    if given.keep is not None:
        keep(given.keep, "batching", rows)


if __name__ == "__main__":
    main()
