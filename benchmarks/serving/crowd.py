"""200 clients at once, 100,000 requests, and a bundle that is swapped under them.

    python -m benchmarks.serving.crowd [--requests 100000] [--clients 200] [--swaps 20] [--keep benchmarks/serving.json]

First a run without swaps, then one with them. Every answer is compared with what the same bundle says in process, and
with the bundle that the answer names.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.guards import made_up_fingerprint, made_up_guard, made_up_signals
from benchmarks.serving.bare import session
from benchmarks.serving.clients import Found, busy, request
from benchmarks.serving.keep import keep
from benchmarks.serving.servers import Served, ours
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.files import replacing
from sri_sdk.strict_json import write

SIGNALS = 500
"""Different ones, of one generation each."""
PATH = "/v2/models/sri_signal/infer"


class Right:
    """What each bundle says in process: answers must be the words of one of them, and name it."""

    def __init__(self, bundles: list[Path]) -> None:
        self.signals = made_up_signals(SIGNALS, 11).sigma
        self._by_digest: dict[bytes, list[bytes]] = {}
        for path in bundles:
            run = session(path / "signal.onnx").run
            rows = [run(["score", "valid"], {"signals": row[None]}) for row in self.signals]
            words = [b"".join(array.tobytes() for array in row) for row in rows]
            self._by_digest[Bundle.read(path).digest.encode()] = words
        self.seen = dict.fromkeys(self._by_digest, 0)

    def check(self, number: int, head: bytes, body: bytes) -> bool:
        """Whether an answer is right."""
        if not head.startswith(b"http/1.1 200"):
            return False
        for digest, words in self._by_digest.items():
            if digest in body:
                self.seen[digest] += 1
                return body.endswith(words[number])
        return False


def swapping(port: int, live: Path, others: list[Path], times: int, every: float, ended: threading.Event) -> list[int]:
    """Puts another bundle in place, and asks the server to load it; statuses of the answers."""
    statuses = []
    for number in range(times):
        if ended.wait(every):
            break
        with replacing(live) as made:
            copy(others[(number + 1) % len(others)], made)
        url = f"http://127.0.0.1:{port}/v2/repository/models/sri_signal/load"
        asked = urllib.request.Request(url, data=write({}).encode(), method="POST")
        with urllib.request.urlopen(asked, timeout=60) as answer:
            statuses.append(answer.status)
    return statuses


def copy(source: Path, target: Path) -> None:
    """A bundle's files."""
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def crowd(server: Served, right: Right, given: Any, swap: Any = None) -> tuple[Found, list[dict[str, float]]]:
    """One run, and the server's memory while it lasts."""
    requests = [request(PATH, row[None]) for row in right.signals]
    ended, memory = threading.Event(), []

    def look() -> None:
        while not ended.wait(1.0):
            memory.append({"mib": server.resident_mib()})

    looking = threading.Thread(target=look)
    looking.start()
    try:
        found = asyncio.run(busy(server.port, requests, given.requests, given.clients, right.check))
    finally:
        ended.set()
        looking.join()
    return found, memory


def said(name: str, found: Found, memory: list[dict[str, float]], given: Any, **more: Any) -> dict[str, Any]:
    """A run as it is kept."""
    mib = [each["mib"] for each in memory]
    return {
        "run": name, "requests": given.requests, "clients": given.clients, "answers": len(found.seconds),
        "wrong": found.wrong, "p50_ms": found.percentile(0.5), "p99_ms": found.percentile(0.99),
        "worst_ms": found.percentile(1.0), "per_second": len(found.seconds) / found.wall,
        "mib_after_a_tenth": mib[len(mib) // 10] if mib else None, "mib_at_the_end": mib[-1] if mib else None, **more,
    }  # fmt: skip


def main() -> None:
    """Measures and keeps."""
    options = argparse.ArgumentParser()
    options.add_argument("--requests", type=int, default=100_000)
    options.add_argument("--clients", type=int, default=200)
    options.add_argument("--swaps", type=int, default=20)
    options.add_argument("--keep", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, bundles = Path(folder), []
        for width in (8, 16):
            made_up_guard(made_up_fingerprint(width), root / str(width))
            bundles.append(root / str(width) / "bundle")
        live, right, rows = root / "live", Right(bundles), []
        copy(bundles[0], live)
        with ours(live) as server:
            found, memory = crowd(server, right, given)
            rows.append(said("one bundle", found, memory, given))
            print(rows[-1], flush=True)
            ended, statuses = threading.Event(), []
            # Spread over the run, as fast as the one before was.
            every = 0.6 * found.wall / given.swaps
            swaps = threading.Thread(
                target=lambda: statuses.extend(swapping(server.port, live, bundles, given.swaps, every, ended))
            )
            right.seen = dict.fromkeys(right.seen, 0)
            swaps.start()
            found, memory = crowd(server, right, given)
            ended.set()
            swaps.join()
            by_bundle = sorted(right.seen.values())
            rows.append(
                said("swapped", found, memory, given, swaps=statuses.count(200), answers_by_bundle=by_bundle)
            )  # fmt: skip
            print(rows[-1], flush=True)
    assert np.isfinite(rows[-1]["p99_ms"])
    if given.keep is not None:
        keep(given.keep, "crowd", rows)


if __name__ == "__main__":
    main()
