"""Verdicts posted at full load to a server that is killed, or whose PostgreSQL is: is anything lost, or there twice?

    python -m benchmarks.serving.kills [--kills 10] [--clients 32] [--store sqlite] [--keep benchmarks/serving.json]

With `sqlite` and `postgresql`, the server is killed (SIGKILL) and started again. With `postgresql-stopped`,
the server stays, and its database ends without finishing anything (`pg_ctl stop -m immediate`) and comes back. After
every kill, a verdict that had just been acknowledged is looked up; at the end every id is read back over HTTP, and
compared with what was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.keep import keep
from benchmarks.serving.posting import Load, looked_up, names, stored
from sri_sdk.files import write_text
from sri_sdk.strict_json import write
from tests.postgres import Postgres, cluster

STORES = "sqlite", "postgresql", "postgresql-stopped"
BETWEEN = 0.5, 3.0
"""Seconds of load before a kill: any number between these."""
PATIENCE_S = 60.0
"""A server that has not acknowledged anything for so long does not come back."""


class Service:
    """`sri serve` with a verdict store, in a process of its own, always on the same port."""

    def __init__(self, folder: Path, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._config = folder / "serve.yaml"
        write_text(self._config, write({"version": 1, "port": self.port, "store": {"url": url}}))
        self.start()

    def start(self) -> None:
        """Starts it; it answers when this returns."""
        command = [sys.executable, "-m", "sri_sdk.cli", "serve", "--config", str(self._config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert b"serving on" in self.process.stdout.readline(), "the server does not start"

    def end(self, how: signal.Signals) -> None:
        """Sends a signal, and waits until the process is gone."""
        self.process.send_signal(how)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def database(name: str, folder: Path) -> Iterator[tuple[str, Postgres | None]]:
    """Its address, and the server behind it."""
    if name == "sqlite":
        yield f"sqlite:///{folder}/verdicts.db", None
        return
    with cluster() as server:
        yield server.url, server


async def progress(load: Load, seconds: float) -> None:
    """Lets the load run so long, from the next post that is acknowledged."""
    before, until = load.posts, time.monotonic() + PATIENCE_S
    while load.posts == before:
        assert time.monotonic() < until, "nothing is acknowledged any more"
        await asyncio.sleep(0.02)
    await asyncio.sleep(seconds)


async def run(service: Service, postgres: Postgres | None, given: argparse.Namespace) -> dict[str, Any]:
    """The load, the kills, and what was found afterwards."""
    draw, load, missing_at_once = np.random.default_rng(given.seed), Load(service.port), 0
    clients = [asyncio.create_task(load.client(name)) for name in names(given.clients)]
    started, down = time.perf_counter(), 0.0
    for number in range(given.kills):
        await progress(load, float(draw.uniform(*BETWEEN)))
        before = time.perf_counter()
        last = await asyncio.to_thread(kill, service, postgres if given.store == "postgresql-stopped" else None, load)
        down += time.perf_counter() - before
        missing_at_once += not await looked_up(service.port, last)
        print(f"kill {number + 1}: {len(load.acknowledged):,} acknowledged, {dict(load.again)}", flush=True)
    await progress(load, BETWEEN[0])
    wall, load.ended = time.perf_counter() - started, True
    await asyncio.gather(*clients)
    found = await stored(service.port)
    return {
        "store": given.store, "kills": given.kills, "clients": given.clients, "posts": load.posts,
        "acknowledged": len(load.acknowledged), "missing": len(load.acknowledged - found.keys()) + missing_at_once,
        "twice": sum(each > 1 for each in found.values()), "never_sent": len(found.keys() - load.sent),
        "delivered_again": dict(load.again), "known_before": load.known,
        "per_second": len(load.acknowledged) / (wall - down),
    }  # fmt: skip


def kill(service: Service, postgres: Postgres | None, load: Load) -> str:
    """Ends the server, or its database, and starts it again; returns an id that was acknowledged right before."""
    if postgres is None:
        service.end(signal.SIGKILL)
        last = load.last[-1]
        service.start()
    else:
        postgres.stop("immediate")
        last = load.last[-1]
        postgres.start()
        assert service.process.poll() is None, "the server ended with its database"
    return last


def main() -> None:
    """Measures and keeps."""
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--clients", type=int, default=32)
    options.add_argument("--store", choices=STORES, action="append", help="repeat for several; default: all of them")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", type=Path)
    given = options.parse_args()
    rows = []
    for name in given.store or STORES:
        with tempfile.TemporaryDirectory() as made, database(name, Path(made)) as (url, postgres):
            service = Service(Path(made), url)
            try:
                rows.append(asyncio.run(run(service, postgres, argparse.Namespace(**{**vars(given), "store": name}))))
            finally:
                service.end(signal.SIGTERM)
        print(rows[-1], flush=True)
        assert not any(rows[-1][each] for each in ("missing", "twice", "never_sent"))
    if given.keep is not None:
        keep(given.keep, "kills", rows)


if __name__ == "__main__":
    main()
