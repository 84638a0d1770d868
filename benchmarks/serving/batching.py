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
from sri_exporter_onnx.exporter import OnnxExporter

from benchmarks.guards import made_up_anchors, made_up_fingerprint, made_up_guard, made_up_signals
from benchmarks.serving.bare import session
from benchmarks.serving.clients import busy, request
from benchmarks.serving.cost import CLIENTS, in_process
from benchmarks.serving.keep import keep
from benchmarks.serving.servers import Served, ours
from benchmarks.serving.slow_detector import SlowDetector
from sri_sdk.fitting.build import fit_guard

COUNTS = {"cheap": 6000, "slow": 600}


def slow_guard(folder: Path) -> None:
    """A guard whose call takes milliseconds."""
    fingerprint = made_up_fingerprint(8)
    anchors, printed = made_up_anchors(fingerprint), fingerprint.to_dict()
    anchors.save(folder / "anchors.npz")
    folds = [made_up_signals(n, seed, printed) for n, seed in ((30, 1), (30, 2), (40, 3))]
    fit_guard(
        SlowDetector(), "slow", *folds, anchors=anchors, exporter=OnnxExporter(), alpha=0.05, target=folder / "bundle"
    )


def per_second(server: Served, graph: Path, count: int) -> float:
    """Answers per second, each compared."""
    signals = made_up_signals(50, 7, {}).sigma
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
        folders = {"cheap": Path(made) / "cheap", "slow": Path(made) / "slow"}
        made_up_guard(made_up_fingerprint(8), folders["cheap"])
        slow_guard(folders["slow"])
        for name, folder in folders.items():
            graph = folder / "bundle" / "signal.onnx"
            alone = in_process(graph, made_up_signals(1, 7, {}).sigma, 200)
            with ours(folder / "bundle") as batched, ours(folder / "bundle", "--inline") as inline:
                turns = {"batched": batched, "inline": inline}
                for number in range(given.rounds):
                    order = [str(n) for n in np.random.default_rng(number).permutation(sorted(turns))]
                    found = {each: per_second(turns[each], graph, COUNTS[name]) for each in order}
                    rows.append({"bundle": name, "call_us": alone, "round": number, **found})
                    print(rows[-1], flush=True)
            ratio = np.median([row["batched"] / row["inline"] for row in rows if row["bundle"] == name])
            print(f"{name}: a call takes {alone:.0f} us; {ratio:.2f} times as many answers with batching")
    if given.keep is not None:
        keep(given.keep, "batching", rows)


if __name__ == "__main__":
    main()
