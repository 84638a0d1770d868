"""Every page of `sri dashboard` over a large store: its time on the clock, and of the processor.

    python -m benchmarks.store.dashboard --folder out/store-benchmark --keep benchmarks/store-dashboard.json

Ten million rows unless `--rows` says otherwise; the store is that of `benchmarks.store.run` in the same folder, made
where it is missing. Monitors with replicas, generations that run, trajectories and texts are added to it. Pages are
asked for as a server asks, without a socket; one that takes longer than 300 ms is named at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from benchmarks.store.fill import END_MS, FOREVER, RARE, TENANTS, fill, made
from sri_sdk import VerdictStore
from sri_sdk.dashboard.app import build_dashboard
from sri_sdk.dashboard.gate import Gate
from sri_sdk.files import write_text
from sri_sdk.observation import Observation, Pulse, Running, SinkState, Trajectory
from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.strict_json import write

ROWS = 10_000_000
ROUNDS = 7
AIM_MS = 300.0
RECENT = 300
"""Observations with trajectory and texts, drawn for the audit sample: so that its queue has something to show."""
CELLS = 64


def main() -> None:
    """Makes what is missing, measures, prints, and with `--keep` writes."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=ROWS)
    asked.add_argument("--folder", type=Path, default=Path("out/store-benchmark"))
    asked.add_argument("--rounds", type=int, default=ROUNDS)
    asked.add_argument("--keep", type=Path, help="also write the numbers here")
    options = asked.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = measured(options.folder / f"{options.rows}.db", options.rows, options.rounds)
    text = write(found, indent=1) + "\n"
    sys.stdout.write(text)
    if options.keep:
        write_text(options.keep, text)
    slow = {name: page["median_ms"] for name, page in found["pages"].items() if page["median_ms"] > AIM_MS}
    sys.stderr.write(f"over {AIM_MS:.0f} ms: {slow or 'none'}\n")


def measured(file: Path, rows: int, rounds: int) -> dict[str, Any]:
    """The numbers of every page.

    Args:
        file: the store; made where it is missing.
        rows: how many observations it has.
        rounds: how often each page is asked for; the first is kept apart.
    """
    if not file.exists():
        half = file.with_suffix(".half")
        half.unlink(missing_ok=True)
        fill(half, rows)
        # Whoever ends it halfway finds no store, instead of half of one.
        half.rename(file)
    with VerdictStore.open(f"sqlite:///{file}", kept=FOREVER, clock=lambda: END_MS / 1000) as store:
        _add(store)
        dashboard = build_dashboard(store, hosts=None, clock=lambda: END_MS / 1000)
        pages = {path: _timed(dashboard.app, path, rounds) for path in _paths(store, rows)}
    return {"rows": rows, "rounds": rounds, "aim_ms": AIM_MS, "pages": pages}


def _paths(store: VerdictStore, rows: int) -> Iterator[str]:
    """Every page and every part of one that is asked for again, with the filters that cost it most."""
    some = store.stream(StreamQuery(before=rows // 2, limit=1)).rows[0].observation
    windows = ("24h", "7d", "30d")
    yield from (f"/?since={name}" for name in windows)
    yield f"/?since=30d&deployment=chat&bundle={'a' * 64}"
    yield from ("/now", "/live", "/live/rows", "/live?deployment=chat")
    filters = (
        "", "status=flagged", "status=unmonitored", "reason=non_finite_signal", "kind=canary", f"deployment={RARE}",
        f"deployment={RARE}&status=flagged", "deployment=chat&consequence=would_withhold", f"bundle={'a' * 64}",
        f"bundle={'a' * 64}&status=flagged", "label=unlabelled", "label=any", "label=benign&status=flagged",
        f"tenant=tenant-{TENANTS - 1}", f"tenant=tenant-{TENANTS - 1}&status=flagged&time=30d", "tenant=nobody",
        "time=1h", "time=24h&status=flagged", "time=7d&kind=canary", "time=30d", "q=chat-0000",
        f"q={some.id[:6]}", f"before={rows // 3}", f"before={rows // 3}&time=30d",
    )  # fmt: skip
    yield from (f"/verdicts?{each}" if each else "/verdicts" for each in filters)
    yield from ("/verdicts/rows", f"/verdicts/{some.id}", f"/verdicts/{_id(0)}", f"/verdicts/{some.request_id}")
    yield from (f"/audit?since={name}" for name in ("24h", "7d", "30d", "90d"))
    yield from ("/audit?deployment=chat&base=0.5", f"/audit?deployment={RARE}", "/audit/promises?since=90d")
    yield from (f"/health?since={name}" for name in windows)
    yield "/health?since=30d&deployment=chat"


def _timed(app: Gate, path: str, rounds: int) -> dict[str, float]:
    """Milliseconds of the first call, and medians of the others; characters of the page."""
    clock, processor, size = [], [], 0
    for _ in range(rounds + 1):
        begun, used = time.perf_counter(), time.process_time()
        size = asyncio.run(_asked(app, path))
        clock.append((time.perf_counter() - begun) * 1000)
        processor.append((time.process_time() - used) * 1000)
    return {
        "first_ms": round(clock[0], 1),
        "median_ms": round(statistics.median(clock[1:]), 1),
        "processor_ms": round(statistics.median(processor[1:]), 1),
        "bytes": size,
    }


async def _asked(app: Gate, path: str) -> int:
    """Bytes of a page, which must be there."""
    place, _, query = path.partition("?")
    status, size = 0, 0

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, size
        status = message.get("status", status)
        size += len(message.get("body", b""))

    scope = {
        "type": "http", "method": "GET", "path": place, "raw_path": place.encode(), "query_string": query.encode(),
        "headers": [(b"host", b"127.0.0.1:8200")], "client": ("127.0.0.1", 1), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    if status != 200:
        sys.exit(f"{path}: the dashboard answers {status}, so its time says nothing.")
    return size


def _add(store: VerdictStore) -> None:
    """What `fill` does not make. Delivered twice, it is there once."""
    store.observe(list(_recent()))
    sinks = (SinkState("sql", 10**7, 10**7, 0, 0, 0), SinkState("webhook", 10**7, 10**7 - 9, 2, 0, 7, "HTTP 503"))
    for place, name in enumerate(("chat", "code", "search")):
        for replica in range(3):
            pulse = Pulse(
                name, END_MS - 2_000, END_MS - (9 - replica) * 86_400_000, 100 * place + replica, "observe",
                "model-8b", "abc"[place] * 64, 0.01, 10**6, 9 * 10**5, 20_000, 30_000, 50_000, 10_000, sinks=sinks,
                canary_at=END_MS - 60_000, canary_every_s=600.0, canaries_wanted=3, canaries_proven=(3, 3),
                drift_looked=500,
            )  # fmt: skip
            store.pulse(pulse).result()
    running = [
        Running(f"live-{each}", "chat", END_MS - 900, 20, CELLS, (0.5,) * 20, CELLS, "It depends. " * 30)
        for each in range(30)
    ]
    store.show(running, "benchmark").result()


def _recent() -> Iterator[Observation]:
    chance, numbers = random.Random(1), np.random.default_rng(1)
    text = "It depends on what is asked, and on who asks for it. " * 20
    for number in range(RECENT):
        cells = numbers.normal(size=(CELLS, 2)).astype(np.float32)
        yield replace(
            made(number, chance, END_MS - 1_000), id=_id(number), kind="traffic", consequence="released",
            deployment="chat", audited=True, audit_rate=0.01, prompt=text, response=text,
            drafts=tuple(text[: 16 * step] for step in range(CELLS)),
            trajectory=Trajectory(("sri@final", "request"), cells, CELLS),
        )  # fmt: skip


def _id(number: int) -> str:
    return UUID(int=number + 1).hex


if __name__ == "__main__":
    main()
